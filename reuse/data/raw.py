"""Raw samples with encoded targets, as readers hand them over: not yet split or preprocessed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from reuse.data.inputs import Inputs
from reuse.data.preprocessing import Preprocessing, as_image_size
from reuse.data.tokenizers import Tokenizing
from reuse.errors import DataError, UsageError
from reuse.hints import Hints
from reuse.reporting import Reporter
from reuse.settings.data import ReaderSettings

NO_TARGET = "none"
IN_ORDER = "columns have no names on both sides: they are taken in their order, {}"
# For messages, by kind: what data is or holds, such data in short, and what a model is made for.
WORDS = {
    "table": ("is a table", "a table", "tables"),
    "images": ("holds images", "images", "images"),
    "vectors": ("holds feature vectors", "vectors", "feature vectors"),
    "sequences": ("holds sequences of numbers", "sequences", "sequences of numbers"),
    "tokens": ("holds sequences of tokens", "tokens", "sequences of tokens"),
    "text": ("holds texts", "texts", "texts"),
    "tokenized": ("holds texts", "texts", "texts"),
    "several": ("holds several inputs a row", "inputs", "several inputs a row"),
}
FORMS = {"vectors": "(rows, features)", "images": "(rows, [channels,] height, width)"}  # which arrays alone tell apart


@dataclass(frozen=True, kw_only=True)
class Options(ReaderSettings):
    """Settings that readers heed, and what only code gives them; see `reuse.load`.

    Attributes:
        preprocessing: of a model that is there; None: it is fitted.
        sequences: whether arrays are sequences.
        supervised: whether labels are learned from: without, no column is guessed to be the target, and labels that
            cannot be read are no error.
        without_targets: goes before `target`: targets are not read at all, and no column is taken for one. `target`
            "none" is the users' way to say so for a table without a column of that name.
        hints: what earlier runs found out about files; None: nothing.
        tokenizing: how the model reads texts; None: as words that the training rows are made of.
        decode_late: whether images may be decoded when they are asked for, and what is wrong with one be said then.
        reporter: told of files that are read; None: nobody is.
    """

    preprocessing: Preprocessing | None = None
    sequences: bool = False
    supervised: bool = True
    without_targets: bool = False
    hints: Hints | None = None
    tokenizing: Tokenizing | None = None
    decode_late: bool = False
    reporter: Reporter | None = None

    @property
    def size(self) -> tuple[int, int] | None:
        """The height and width of images, in pixels, where they are asked for."""
        return None if self.image_size is None else as_image_size(self.image_size)

    @property
    def text_column(self) -> str | None:
        """The column of a table whose texts are the inputs, as asked for or as a model expects it."""
        expected = self.preprocessing.text if self.preprocessing is not None else None
        return self.text if self.text is not None else expected

    @property
    def kind(self) -> str | None:
        """The kind of the preprocessing that is given."""
        return self.preprocessing.kind if self.preprocessing is not None else None


class Samples(Protocol):
    """Raw samples of a whole data set."""

    def fit(self, rows: np.ndarray, options: Options) -> tuple[Preprocessing, tuple[str, ...]]:
        """Return the preprocessing whose statistics come from `rows` alone, and notes on it."""

    def inputs(self, rows: np.ndarray, preprocessing: Preprocessing) -> tuple[Inputs, tuple[str, ...]]:
        """Return `rows` preprocessed, and notes on them."""


@dataclass(frozen=True)
class RawData:
    """A data set as it was read.

    Attributes:
        name: what the user called it.
        samples: the raw samples, `n` of them.
        targets: int64 `(n,)`, -1 for a row without a label; float32 or float64 `(n, outputs)`, NaN there; or None.
        task: "classification", "multilabel", "regression" or "unlabelled".
        classes: names of the classes or labels.
        rows: int64, the rows that may be used; the others are set aside.
        parts: the user's own splits, rows by "train", "valid", "test"; those that are not there are drawn.
        groups: `(n,)`; rows of one group never straddle splits.
        weights: float64 `(n,)`, how much each row counts in the loss; None: all alike.
        notes: lines worth printing.
    """

    name: str
    samples: Samples
    targets: np.ndarray | None
    task: str
    classes: tuple[str, ...]
    rows: np.ndarray
    parts: Mapping[str, np.ndarray] = field(default_factory=dict)
    groups: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    weights: np.ndarray | None = None

    @property
    def is_labelled(self) -> np.ndarray:
        """Which rows have a label, bool `(n,)`, of a data set with targets."""
        assert self.targets is not None
        known: np.ndarray = self.targets >= 0 if self.targets.dtype.kind == "i" else ~np.isnan(self.targets).any(1)
        return known

    def without_targets(self) -> "RawData":
        """Return the same rows, of which no target is looked at."""
        return replace(self, targets=None, task="unlabelled", classes=())


def refuse_other_kind(preprocessing: Preprocessing, kind: str, name: str) -> None:
    """Raise where a model's `preprocessing` is for other data than those of `kind`, which the user calls `name`."""
    if preprocessing.kind == kind:
        return
    subject = "what was given" if name in ("", "arrays") else name
    given, alike, _ = WORDS[kind]
    *_, made_for = WORDS[preprocessing.kind]
    is_array = name in ("", "arrays") and {kind, preprocessing.kind} <= FORMS.keys()
    arrays = f"give arrays {FORMS[preprocessing.kind]}, or " if is_array else ""
    raise DataError(
        f"{subject} {given}, and the model was made for {made_for}: {arrays}choose a source trained on such {alike}"
        + ("" if arrays else ", or other data")
    )


def refuse_table_options(options: Options, what: str) -> None:
    """Raise where a column is named though `what` has none."""
    if options.text is not None:
        raise UsageError(f"text={options.text!r} names a column, and {what} has none: leave it out")
    if options.target not in (None, NO_TARGET):
        raise UsageError(f"target={options.target!r} names a column, and {what} has none: leave it out, or give 'none'")
    for name in ("group_by", "split_column", "sample_weight", "ignore"):
        if given := getattr(options, name):
            raise UsageError(f"{name}={given!r} names a column, and {what} has none: leave it out")


def refuse_image_options(options: Options, what: str) -> None:
    """Raise where an image size or channels are asked for though `what` holds no images."""
    if options.image_size is not None or options.channels is not None:
        raise UsageError(f"image_size and channels are for images, and {what} holds none: leave them out")
