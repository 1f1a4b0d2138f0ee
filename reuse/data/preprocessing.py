"""Preprocessing of raw samples before a model sees them, as plain values: saved with a run, part of the cache key."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from reuse.data.letters import composed, composed_if_apart
from reuse.errors import DataError, UsageError
from reuse.layout import Layout, RowTensor
from reuse.menus import is_number
from reuse.settings.group import MOST_PIXELS

CROP_MODES = ("center", "squash", "border")
MOST_CROP = 2.0  # some models of timm see images that are drawn larger than their frame
KINDS = ("vectors", "images", "table", "sequences", "tokens", "text", "several", "tokenized")


@dataclass(frozen=True)
class Column:
    """One feature column of a table.

    Attributes:
        name: the column's name.
        fill: number in place of a missing one (the training split's median).
        categories: the categories of a column of strings, each of which becomes one input of 0 or 1; none: numbers.
        others: whether all other categories share one more input.
        is_time: whether the numbers are times, in days since 1970.
    """

    name: str
    fill: float = 0.0
    categories: tuple[str, ...] = ()
    others: bool = False
    is_time: bool = False

    @property
    def is_numeric(self) -> bool:
        """Whether the column holds numbers."""
        return not self.categories

    @property
    def width(self) -> int:
        """The number of inputs that the column becomes."""
        return len(self.categories) + self.others if self.categories else 1


@dataclass(frozen=True)
class Preprocessing:
    """Steps from raw samples to inputs: sized images or encoded columns, then `(x / divisor - mean) / std`; or tokens.

    Attributes:
        kind: "vectors" (rows of an array), "images", "table", "sequences" (of feature vectors), "tokens", "text", or
            "several" (arrays that are taken as they are) or "tokenized" (texts by a model's own tokenizer).
        divisor: number by which raw values are divided first, e.g. 255.
        mean: one value a feature or image channel; empty: nothing is subtracted or divided by.
        std: one value a feature or image channel.
        image_size: height and width in pixels.
        channels: image channels: 1 grey, 3 RGB, 4 RGBA.
        interpolation: "bilinear", "bicubic", "nearest" or another of Pillow's names.
        crop_pct: None: resized to exactly `image_size`. A number: as timm evaluates: resized to
            `image_size / crop_pct`, then the centre is cut out.
        signed: whether images had values below 0 and were taken as they are; None: they had not.
        white: value of white in pictures deeper than 8 bits; None: there were none.
        crop_mode: timm's "center", "squash" or "border"; used where there is a `crop_pct`.
        columns: a table's feature columns, in the order of the inputs.
        vocabulary: how many tokens there are; of texts, how many words were asked for.
        words: names of tokens: of all, or of texts those from 2 on (0 is padding, 1 an unknown word).
        sequence_length: to how many tokens each row is cut or filled up.
        text: the column of a table that holds the texts.
        tensors: the tensors of a row, where there are several.
        tokenizer: the folder of a model's own tokenizer, or its name on the hub; a run keeps it, whatever it is called.
    """

    kind: str
    divisor: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    image_size: tuple[int, int] | None = None
    channels: int | None = None
    interpolation: str = "bilinear"
    crop_pct: float | None = None
    crop_mode: str = "center"
    columns: tuple[Column, ...] = ()
    vocabulary: int | None = None
    words: tuple[str, ...] = ()
    sequence_length: int | None = None
    text: str | None = None
    white: float | None = None
    signed: bool | None = None
    tensors: Layout = ()
    tokenizer: str | None = field(default=None, compare=False)

    @property
    def computing(self) -> dict[str, Any]:
        """Plain values of all that decides what a model is given of a row, beside what the row's digest is taken of."""
        given = self.to_dict()
        return {"kind": "several", "tensors": given["tensors"]} if self.kind in ("several", "tokenized") else given

    @property
    def num_tokens(self) -> int | None:
        """The number of different tokens, padding among them; None where inputs are no tokens."""
        return len(self.token_names) if self.kind == "text" else self.vocabulary

    @property
    def token_names(self) -> tuple[str, ...]:
        """The name of each token, "" for those that are no words; empty where nothing says so."""
        return ("", "", *self.words) if self.kind == "text" else self.words

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DataError(f"preprocessing of kind {self.kind!r}: expected one of {', '.join(KINDS)}")
        if len(self.mean) != len(self.std):
            raise DataError(f"preprocessing with {len(self.mean)} means and {len(self.std)} standard deviations")
        for name, values in (("mean", self.mean), ("divisor", (self.divisor,)), ("std", self.std)):
            if not all(is_number(value) and math.isfinite(value) and (name == "mean" or value > 0) for value in values):
                raise DataError(f"preprocessing whose {name} is {values}: expected finite numbers, divisors above 0")
        for name, size in (("image_size", self.image_size), ("channels", self.channels)):
            pair = name == "image_size" and size is not None
            sizes = size if isinstance(size, tuple) else (size,)
            fits = all(type(n) is int and 0 < n <= MOST_PIXELS for n in sizes) and len(sizes) == 1 + pair
            if size is not None and not fits:
                raise DataError(f"preprocessing whose {name} is {size!r}: expected whole numbers above 0")
        share = self.crop_pct
        if share is not None and not (is_number(share) and 0 < share <= MOST_CROP):
            raise DataError(f"preprocessing whose crop_pct is {share!r}: expected a share above 0")
        if self.crop_mode not in CROP_MODES:
            raise DataError(f"preprocessing whose crop_mode is {self.crop_mode!r}: expected {', '.join(CROP_MODES)}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for TOML or JSON; what is None or empty is left out, as TOML has no null."""
        values = asdict(self)
        values["columns"] = [{**column, "categories": list(column["categories"])} for column in values["columns"]]
        values["tensors"] = [{**tensor, "shape": list(tensor["shape"])} for tensor in values["tensors"]]
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return {name: value for name, value in values.items() if value is not None and value != []}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """Return the preprocessing that `to_dict` described.

        Raises:
            DataError: an entry is unknown or of another kind.
        """
        if not isinstance(values, Mapping):
            raise DataError(f"a preprocessing was expected, and {values!r} was found")
        unknown = set(values) - {own.name for own in fields(cls)}
        if unknown or "kind" not in values:
            entries = ", ".join(sorted(values))
            raise DataError(
                f"a preprocessing with entries {entries}: expected kind and {', '.join(cls.__annotations__)}"
            )
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        try:
            columns = [_column_values(column) for column in values.get("columns", ())]
            plain["columns"] = tuple(Column(**column) for column in columns)
            tensors = [{**t, "shape": tuple(t["shape"])} for t in values.get("tensors", ())]
            plain["tensors"] = tuple(RowTensor(**tensor) for tensor in tensors)
            return cls(**plain)
        except (TypeError, AttributeError, KeyError) as error:
            raise DataError(f"a preprocessing with an entry of another kind than expected: {error}") from error

    def normalise(self, raw: Tensor) -> Tensor:
        """Return `(raw / divisor - mean) / std`.

        Args:
            raw: `(n, features)`, or `(n, channels, height, width)` for images.

        Returns:
            float32 of the same shape. Columns are computed in float64, as a year or a coordinate has a small spread
            around a large mean; images in float32, as torchvision's `ToTensor` and `Normalize` do.
        """
        precision = torch.float32 if self.kind == "images" else torch.float64
        values = raw.to(precision)
        if self.divisor != 1.0:
            values = values / self.divisor
        if self.mean:
            tail = (1, 1) if self.kind == "images" else ()
            mean, std = (torch.tensor(v, dtype=precision).view(-1, *tail) for v in (self.mean, self.std))
            values = (values - mean) / std
        return values.to(torch.float32)


def _column_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a column as runs of any version keep them, letters composed as those of tables are now."""
    named = {"name": composed(values["name"])} if isinstance(values.get("name"), str) else {}
    return {**values, **named, "categories": composed_if_apart(tuple(values.get("categories", ())))}


def image_preprocessing(
    mean: Sequence[float],
    std: Sequence[float],
    interpolation: str,
    crop_pct: float | None,
    image_size: int | Sequence[int],
    channels: int = 3,
    *,
    crop_mode: str = "center",
) -> Preprocessing:
    """Return the preprocessing that a pretrained image model (timm's `pretrained_cfg`) was trained with.

    Args:
        mean: one value a channel, for pixels in [0, 1].
        std: one value a channel.
        interpolation: "bilinear", "bicubic", …
        crop_pct: the share of the resized image that the central crop keeps; None: resized without a crop.
        image_size: pixels, one number for square images or height and width.
        channels: 1, 3 or 4.
        crop_mode: timm's name for how the crop is taken.

    Raises:
        UsageError: a size or a number of channels that no image has.
    """
    size = as_image_size(image_size)
    if len(mean) != channels or len(std) != channels:
        raise UsageError(
            f"{channels} channels with {len(mean)} means and {len(std)} standard deviations: give one a channel"
        )
    plain_mean, plain_std = tuple(map(float, mean)), tuple(map(float, std))
    crop = None if crop_pct is None else float(crop_pct)
    return Preprocessing("images", 255.0, plain_mean, plain_std, size, channels, interpolation, crop, crop_mode)


def as_image_size(size: int | Sequence[int]) -> tuple[int, int]:
    """Return height and width.

    Raises:
        UsageError: `size` is not one or two whole numbers above 0.
    """
    pair = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(pair) != 2 or not all(type(n) is int and n > 0 for n in pair):
        raise UsageError(f"image size {size!r}: give one whole number above 0, or height and width")
    return (pair[0], pair[1])
