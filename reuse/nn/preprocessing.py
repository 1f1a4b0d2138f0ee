"""Preparation of images as a pretrained model expects it."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from reuse.nn.hf_specs import FAMILY, images_of
from reuse.nn.outputs import is_timm

KEYS = ("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")


def preprocessing_of(model: nn.Module | str, channels: int | None = None) -> dict[str, Any] | None:
    """Return how images are prepared for a timm model, or None for any other.

    Args:
        model: a model, or a spec such as `timm:resnet18`, for which nothing is built.
        channels: of the images; None: those that the model takes.

    Returns:
        `input_size` `(channels, height, width)`, `mean` and `std` of each channel (of pixels from 0 to 1),
        `interpolation`, `crop_pct` and `crop_mode`. Where the images have another number of channels, each of them has
        the mean over timm's own.
    """
    if isinstance(model, str):
        return _of_spec(model, channels)
    if not is_timm(model) or not hasattr(model, "pretrained_cfg"):
        return None
    import timm.data  # a model of timm is there, so this costs nothing

    resolved = timm.data.resolve_model_data_config(model)
    return _for_channels(resolved, channels or _channels_of(model))


def _channels_of(model: nn.Module) -> int | None:
    """Return how many channels a model of timm takes, as it says itself, or its first layer where it does not."""
    first = next((layer.in_channels for layer in model.modules() if isinstance(layer, nn.Conv2d)), None)
    said: int | None = getattr(model, "in_chans", first)
    return said


def _of_spec(spec: str, channels: int | None) -> dict[str, Any] | None:
    family, _, name = spec.partition(":")
    if family == FAMILY:
        return images_of(spec, channels)
    if family != "timm":
        return None
    import timm.data  # heavy, and of use to timm's models only

    config = timm.get_pretrained_cfg(name)
    return _for_channels(timm.data.resolve_data_config(pretrained_cfg=config.to_dict()), channels) if config else None


def _for_channels(resolved: dict[str, Any], channels: int | None) -> dict[str, Any]:
    kept = {key: resolved[key] for key in KEYS}
    if channels is None or channels == len(kept["mean"]):
        return kept
    _, height, width = kept["input_size"]
    return kept | {
        "input_size": (channels, height, width),
        "mean": _repeated(kept["mean"], channels),
        "std": _repeated(kept["std"], channels),
    }


def _repeated(values: Sequence[float], count: int) -> tuple[float, ...]:
    return (sum(values) / len(values),) * count
