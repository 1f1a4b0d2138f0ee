"""The preprocessing that a model brings along."""

from collections.abc import Sequence

from reuse.data.preprocessing import Preprocessing, image_preprocessing
from reuse.nn.preprocessing import preprocessing_of


def preprocessing_for(spec: str, image_size: int | Sequence[int] | None, channels: int | None) -> Preprocessing | None:
    """Return what a timm model does to its images, None for any other model.

    Args:
        spec: a model spec.
        image_size: pixels, where not those that the model was trained with.
        channels: where not those that the model was trained with.
    """
    own = preprocessing_of(spec)
    if own is None:
        return None
    own_channels, *size = own["input_size"]
    count = channels or own_channels
    mean, std = (_for_channels(own[name], count) for name in ("mean", "std"))
    return image_preprocessing(mean, std, own["interpolation"], own["crop_pct"], image_size or size, count)


def _for_channels(values: Sequence[float], count: int) -> list[float]:
    """Return one value a channel: the model's own, or their mean for each."""
    return list(values) if len(values) == count else [sum(values) / len(values)] * count
