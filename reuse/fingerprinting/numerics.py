"""The settings of torch by which the same layers compute other numbers: how exact float32 products are."""

from collections.abc import Callable
from operator import attrgetter

import torch

Setting = Callable[[], object]

EVERYWHERE: dict[str, Setting] = {
    "float32_matmul_precision": torch.get_float32_matmul_precision,
    "fp32_precision": lambda: attrgetter("fp32_precision")(torch.backends),
}
BY_DEVICE: dict[str, dict[str, Setting]] = {
    "cpu": {
        "mkldnn.matmul": lambda: attrgetter("mkldnn.matmul.fp32_precision")(torch.backends),
        "mkldnn.conv": lambda: attrgetter("mkldnn.conv.fp32_precision")(torch.backends),
        "mkldnn.rnn": lambda: attrgetter("mkldnn.rnn.fp32_precision")(torch.backends),
    },
    "cuda": {
        "cuda.matmul.allow_tf32": lambda: torch.backends.cuda.matmul.allow_tf32,
        "cudnn.allow_tf32": lambda: torch.backends.cudnn.allow_tf32,
        "cuda.matmul": lambda: attrgetter("cuda.matmul.fp32_precision")(torch.backends),
        "cudnn.conv": lambda: attrgetter("cudnn.conv.fp32_precision")(torch.backends),
        "cudnn.rnn": lambda: attrgetter("cudnn.rnn.fp32_precision")(torch.backends),
    },
}


def numerics(device: str) -> dict[str, str]:
    """Return the settings that change results on a kind of device, as components of a prefix key."""
    settings = EVERYWHERE | BY_DEVICE.get(device, {})
    return {f"numerics/{name}": _read(setting) for name, setting in settings.items()}


def _read(setting: Setting) -> str:
    # Old torch lacks the new settings; new torch refuses to read an old one that the new ones contradict, and these
    # then say what holds.
    try:
        return str(setting())
    except (AttributeError, RuntimeError):
        return "unknown"
