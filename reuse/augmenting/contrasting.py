"""Changes that make two views of a row differ and leave what it is: by name, or what suits the data.

Digits are no toys that may stand on their heads: grey images are neither mirrored nor turned far, which would make a 9
of a 6. Made on the device of the batch, anew for each row: see `augmentation`.
"""

from reuse.augmenting.augmentation import Augmentation, parse_augmentation
from reuse.data.dataset import Dataset
from reuse.errors import UsageError

CHANGES = {
    "colours": "crop:0.3,mirror,brightness:0.4,contrast:0.4,saturation:0.2,hue:0.1",
    "images": "crop:0.5,rotate:10,noise:0.05",
    "sequences": "crop:0.6,steps:0.2,noise:0.1",
    "columns": "swap:0.3,noise:0.1",
}
"""Changes by the kind of the rows, as `reuse.augmenting` reads them."""

Views = str | tuple[str, ...] | None
"""Changes, one text or several; None: what suits the data."""


def kind_of(data: Dataset) -> str:
    """Return the kind of the rows, a name of `CHANGES`.

    Raises:
        UsageError: the rows are tokens.
    """
    if data.num_tokens is not None:
        raise UsageError(
            "changed views of a row are compared, and tokens cannot be changed a little: pretrain on texts by "
            "masked_step, or on labels (supervised)"
        )
    shape = data.input_shape
    if len(shape) == 3:
        return "colours" if shape[0] == 3 else "images"
    return "sequences" if len(shape) == 2 else "columns"


def parse_views(views: Views, data: Dataset) -> Augmentation:
    """Return what makes a view of each row of a batch.

    Args:
        views: changes, such as `crop:0.3,mirror`.
        data: whose rows are changed.

    Raises:
        UsageError: changes that are not for such rows, or the rows are tokens.
    """
    kind = kind_of(data)
    text = CHANGES[kind] if views is None else views if isinstance(views, str) else ",".join(views)
    return parse_augmentation(text, data.input_shape, data.preprocessing)
