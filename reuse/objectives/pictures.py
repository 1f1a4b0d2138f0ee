"""Images as objectives see them: refused where there are none."""

from reuse.data.dataset import Dataset
from reuse.errors import UsageError


def image_shape(data: Dataset, does: str) -> tuple[int, int, int]:
    """Return the shape of the images that are learned from, `(channels, height, width)`.

    Args:
        data: what is learned from.
        does: what the objective does to them, for the message: "rotation turns".

    Raises:
        UsageError: the inputs are no images.
    """
    shape = data.input_shape
    if len(shape) != 3:
        kind = "tokens" if data.num_tokens is not None else f"of shape {shape}"
        raise UsageError(
            f"{does} images (channels, height, width), and these inputs are {kind}: give images, or pretrain otherwise "
            "(denoising_autoencoder)"
        )
    return (shape[0], shape[1], shape[2])
