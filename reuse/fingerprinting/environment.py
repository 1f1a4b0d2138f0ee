"""Everything outside a model that changes its results: versions of packages, and how exactly torch computes."""

import sys
import warnings
from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from operator import attrgetter
from types import ModuleType

import torch

from reuse.fingerprinting.digests import Import, find_package, load_import

UNKNOWN = "unknown"
OURS = __name__.partition(".")[0]
Setting = Callable[[], object]


def _products(name: str) -> Setting:
    """Return a setting of `torch.backends` by its name: `none`, which follows no other setting here, is exact too."""
    return lambda: "none" if (found := attrgetter(name)(torch.backends)) == "ieee" else found


RESULTS_DEPEND_ON = ("torch", "torchvision", "timm", "numpy", "pillow")
# Import names whose distribution has another name.
DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn", "skimage": "scikit-image", "cv2": "opencv-python"}
# How exact float32 products are: the same layers compute other numbers with other settings.
EVERYWHERE: dict[str, Setting] = {
    "float32_matmul_precision": torch.get_float32_matmul_precision,
    "fp32_precision": _products("fp32_precision"),
}
# What is part of a key where it is not as torch has it: no key of an ordinary setting changes for it.
UNUSUAL: dict[str, tuple[Setting, object]] = {
    "deterministic_algorithms": (torch.are_deterministic_algorithms_enabled, False),
    "default_dtype": (torch.get_default_dtype, torch.float32),
    "flush_denormal": (lambda: not bool(torch.tensor(1e-310, dtype=torch.float64).mul(0.5)), False),
    "mha_fastpath": (torch.backends.mha.get_fastpath_enabled, True),
    "mkldnn.enabled": (lambda: torch.backends.mkldnn.enabled, True),
    "mkldnn.deterministic": (lambda: torch.backends.mkldnn.deterministic, False),
}
UNUSUAL_ON_CUDA: dict[str, tuple[Setting, object]] = {
    "cudnn.enabled": (lambda: torch.backends.cudnn.enabled, True),
    "cudnn.deterministic": (lambda: torch.backends.cudnn.deterministic, False),
    "flash_sdp": (torch.backends.cuda.flash_sdp_enabled, True),
    "math_sdp": (torch.backends.cuda.math_sdp_enabled, True),
    "mem_efficient_sdp": (torch.backends.cuda.mem_efficient_sdp_enabled, True),
    "fp16_reduced_precision": (lambda: torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction, True),
    "bf16_reduced_precision": (lambda: torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction, True),
}
BY_DEVICE: dict[str, dict[str, Setting]] = {
    "cpu": {
        "mkldnn.matmul": _products("mkldnn.matmul.fp32_precision"),
        "mkldnn.conv": _products("mkldnn.conv.fp32_precision"),
        "mkldnn.rnn": _products("mkldnn.rnn.fp32_precision"),
    },
    "cuda": {
        "cuda.matmul.allow_tf32": lambda: torch.backends.cuda.matmul.allow_tf32,
        "cudnn.allow_tf32": lambda: torch.backends.cudnn.allow_tf32,
        "cuda.matmul": _products("cuda.matmul.fp32_precision"),
        "cudnn.conv": _products("cudnn.conv.fp32_precision"),
        "cudnn.rnn": _products("cudnn.rnn.fp32_precision"),
    },
}


@cache
def distribution_version(name: str) -> str | None:
    """Return the installed version of a distribution, None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def base_versions(cache_format: int) -> dict[str, str]:
    """Return the versions that are part of every prefix key, that of the format of the cache's files among them."""
    versions = {name: distribution_version(name) or "absent" for name in RESULTS_DEPEND_ON}
    return versions | {"python": f"{sys.version_info.major}.{sys.version_info.minor}", "cache": str(cache_format)}


@cache
def pinned_version(package: str) -> str | None:
    """Return what pins the code of a top-level package: its version, or Python's for the standard library.

    None for the user's own code: what is not installed as a distribution, or is installed but edited in place. That of
    this package is taken for it too, so that keys change with what the code does and with no version.
    """
    if package == OURS:
        return None
    if package in sys.stdlib_module_names and package != "__main__":
        return "python"
    if not _is_installed(package):
        return None
    found = distribution_version(DISTRIBUTIONS.get(package, package)) or getattr(_loaded(package), "__version__", None)
    return None if found is None else str(found)


def is_users(module: str) -> bool:
    """Return whether a module, by its dotted name, is the user's own, and neither installed nor of this package."""
    package = module.split(".")[0]
    return package != OURS and pinned_version(package) is None


def numerics(device: str) -> dict[str, str]:
    """Return the settings that change results on a kind of device, as components of a prefix key."""
    settings = EVERYWHERE | BY_DEVICE.get(device, {})
    unusual = {**UNUSUAL, **(UNUSUAL_ON_CUDA if device == "cuda" else {})}
    found = {name: _read(setting) for name, (setting, usual) in unusual.items() if _read(setting) != str(usual)}
    return {f"numerics/{name}": value for name, value in found.items() if value != UNKNOWN} | {
        f"numerics/{name}": _read(setting) for name, setting in settings.items()
    }


def _is_installed(package: str) -> bool:
    if package in sys.modules:
        module = sys.modules[package]
        places = [getattr(module, "__file__", None) or "", *getattr(module, "__path__", [])]
    else:  # a function imports it when it runs
        spec = find_package(package)
        places = [] if spec is None else [spec.origin or "", *(spec.submodule_search_locations or [])]
    return any(folder in str(place) for place in places for folder in ("site-packages", "dist-packages"))


def _loaded(package: str) -> ModuleType | None:
    return sys.modules.get(package) or load_import(Import(package, None, 0), {})


def _read(setting: Setting) -> str:
    # Old torch lacks the new settings; new torch refuses to read an old one that the new ones contradict, and these
    # then say what holds.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch 2.9 warns whoever reads an old setting
            return str(setting())
    except (AttributeError, RuntimeError):
        return UNKNOWN
