"""Augmentation: random changes to a batch that leave its labels true, drawn anew for every row of every batch.

Everything is drawn from torch's global random state on the batch's own device: a seeded epoch repeats, and nothing
waits for the device. torchvision's transforms draw once for all images of a batch, and its functions take one number
for all; where these do the same to one image as those here, a test holds them together.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from reuse.augmenting.colours import COLOURS, recolour
from reuse.augmenting.columns import SEQUENCE_STEPS, swapping
from reuse.augmenting.pixels import Pixels
from reuse.augmenting.positions import MOVES, WARPS, warp
from reuse.augmenting.values import IMAGE_VALUES, TABLE_VALUES
from reuse.data.preprocessing import Preprocessing
from reuse.errors import UsageError
from reuse.menus import Named, is_number, lookup, parse_several

Change = Callable[[Tensor], Tensor]

IMAGE_MENU = {**MOVES, **WARPS, **COLOURS, **IMAGE_VALUES}
TABLE_MENU = TABLE_VALUES
SEQUENCE_MENU = {**TABLE_MENU, **SEQUENCE_STEPS}
SWAP = "swap"  # of columns, whose widths the preprocessing knows
WITHOUT_NUMBER = {"mirror": 0.5, "flip": 0.5}
"""Names that may stand alone, with the number that they then have."""


@dataclass(frozen=True)
class Augmentation:
    """Changes to a batch, one after the other.

    Attributes:
        changes: each from a batch to a new batch of the same shape; the batch given is not written to.
    """

    changes: tuple[Change, ...]

    def __call__(self, batch: Tensor) -> Tensor:
        """Return a changed copy of `batch`."""
        for change in self.changes:
            batch = change(batch)
        return batch


def parse_augmentation(
    text: str, input_shape: Sequence[int], preprocessing: Preprocessing | None = None
) -> Augmentation:
    """Return the augmentation that a text such as `shift:2,mirror,rotate:10` describes.

    Images `(batch, channels, height, width)`; what comes in from outside the frame is black:

    - `shift:PIXELS`: by whole pixels, up to so many in each direction, exactly.
    - `mirror`, `flip`: left and right, or top and bottom, exchanged in half of the images; `mirror:0.2` in fewer.
    - `rotate:DEGREES`, `shear:DEGREES`: by an angle up to this, either way.
    - `zoom:SHARE`: 0.1 shows things 0.9 to 1.1 times as large.
    - `crop:SHARE`: a window of this share of the area or more, 3:4 to 4:3 in shape, enlarged to the whole.
    - `brightness:SHARE`, `contrast:SHARE`, `saturation:SHARE`: 0.2 multiplies by 0.8 to 1.2, as torchvision does.
    - `hue:TURNS`: the colour circle turned by up to this share of it, at most 0.5.
    - `noise:DEVIATION`: normal noise, of this deviation where pixels reach from 0 to 1.
    - `erase:SHARE`: a grey rectangle of up to this share of the area.

    Tables and vectors `(batch, features)`, and sequences of vectors:

    - `noise:DEVIATION`: normal noise in the units of the inputs, which are standard deviations once standardised.
    - `mask:SHARE`: each value set to 0, the mean once standardised, with this probability.
    - `swap:SHARE`, of tables and vectors: each column's value that of another row of the batch, with this probability.
    - `crop:SHARE`, of sequences: a stretch of this share of the steps or more, the others 0.
    - `steps:SHARE`, of sequences: each step set to 0 with this probability.

    They happen in the order given, but that all of rotate, shear, zoom and crop are one resampling, at the place of the
    first of them, and all colours are changed at the place of the first of those.

    Args:
        text: names with a number each, separated by commas.
        input_shape: of one row.
        preprocessing: how the inputs were made: standardised pixels are changed as the pixels that they were. None: as
            they are. Colours are for pixels from 0 to 1, and are cut off there.

    Raises:
        UsageError: a name that is unknown or not for inputs of this shape, or a number out of its range.

    Example:
        >>> import torch
        >>> augment = parse_augmentation("shift:2,mirror", (1, 28, 28))
        >>> augment(torch.rand(32, 1, 28, 28)).shape
        torch.Size([32, 1, 28, 28])
    """
    chosen = {named.name: _number(named) for named in parse_several(text, "augmentation")}
    kind = "" if preprocessing is None else preprocessing.kind
    if kind in ("tokens", "text"):
        raise UsageError(f"augmentation {text!r}: the inputs are {kind}, whose numbers are names; leave it out")
    if len(input_shape) != 3:
        menu = _menu(input_shape, preprocessing)
        for name in chosen:
            _check_for_tables(name, menu)
        return Augmentation(tuple([menu[name](number) for name, number in chosen.items()]))
    for name in chosen:
        lookup(IMAGE_MENU, name, "augmentation of images")
    return Augmentation(tuple(_changes(chosen, Pixels.of(input_shape, preprocessing))))


def _number(named: Named) -> float:
    """Return the number behind a name, or the one that it has when it stands alone."""
    if named == Named(named.name):
        if named.name in WITHOUT_NUMBER:
            return WITHOUT_NUMBER[named.name]
        lookup({**IMAGE_MENU, **SEQUENCE_MENU, SWAP: swapping}, named.name, "augmentation")
        raise UsageError(f"augmentation {named.name!r} needs a number: write for example {named.name}:0.1")
    number = named.positions[0] if len(named.positions) == 1 and not named.keywords else None
    if not (is_number(number) and 0 <= number < math.inf):
        raise UsageError(f"augmentation {named.text!r}: give one number of 0 or more after the colon")
    return float(number)


def _menu(input_shape: Sequence[int], preprocessing: Preprocessing | None) -> Mapping[str, Callable[[float], Change]]:
    """Return the changes to inputs that are no images: sequences of vectors, or columns."""
    if len(input_shape) > 1:
        return SEQUENCE_MENU
    columns = () if preprocessing is None else preprocessing.columns
    widths = [column.width for column in columns] or [1] * math.prod(input_shape)
    return {**TABLE_MENU, SWAP: partial(swapping, widths=widths)}


def _check_for_tables(name: str, menu: Mapping[str, Callable[[float], Change]]) -> None:
    if name in IMAGE_MENU and name not in menu:
        known = ", ".join(menu)
        raise UsageError(f"augmentation {name!r} is for images, and the inputs are none: choose from {known}")
    lookup(menu, name, "augmentation of tables")


def _changes(chosen: dict[str, float], pixels: Pixels) -> list[Change]:
    """Return the changes to images, those that are done at once as one."""
    warps = [WARPS[name](number) for name, number in chosen.items() if name in WARPS]
    colours = [COLOURS[name](number, pixels) for name, number in chosen.items() if name in COLOURS]
    joined = {"warp": warp(warps, pixels), "recolour": recolour(colours, pixels)}
    changes: list[Change] = []
    for name, number in chosen.items():
        if name in WARPS or name in COLOURS:
            once = joined.pop("warp" if name in WARPS else "recolour", None)
            changes += [] if once is None else [once]
        else:
            changes.append((MOVES | IMAGE_VALUES)[name](number, pixels))
    return changes
