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
    own = preprocessing_of(spec, channels)
    if own is None:
        return None
    count, *size = own["input_size"]
    pixels = image_size or size
    look = (own["mean"], own["std"], own["interpolation"], own["crop_pct"], pixels, count)
    return image_preprocessing(*look, crop_mode=own["crop_mode"])
