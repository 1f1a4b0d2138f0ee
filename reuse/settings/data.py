"""The settings of data: how they are read, and which rows are drawn."""

from dataclasses import dataclass
from typing import Any

from reuse.settings.group import Classes, Columns, Count, ImageSize, LabelCount, Settings


@dataclass(frozen=True, kw_only=True)
class ReaderSettings(Settings):
    """The reading of a file, a folder or arrays.

    Attributes:
        target: the target column of a table, several separated by commas, or `none`: no target at all; None: a column
            called target, label, class or y, else the last for objectives that learn from labels. Fine-tuning takes the
            source run's where none is given.
        task: `classification`, `regression` or `multilabel`, where what the targets look like is not what they are.
        ignore: columns of a table that are left out.
        group_by: a column whose groups never straddle splits; fine-tuning takes the source run's where none is given.
        split_column: a column that says of each row whether it is for training, validation or test.
        sample_weight: a column that says how much each row counts in the loss; metrics count all rows alike.
        image_size: pixels, one number or height and width; fine-tuning takes the source's where none is given.
        channels: of images, 1 or 3; fine-tuning takes the source's where none are given.
        skip_bad: set broken images aside instead of stopping.
        max_pixels: most pixels of an image that is read; None: 178,956,970, as larger ones may be made to fill memory.
        text: the column of a table that holds texts, which are then the inputs; models of transformers find it where
            there is one.
        vocabulary: how many words of texts are told apart, or how many tokens arrays have.
        sequence_length: tokens a row of text or of tokens, cut or filled up; None: what 95 % of the texts have, for a
            model's own tokenizer the power of two from there on.
    """

    target: str | None = None
    task: str | None = None
    ignore: Columns = ()
    group_by: str | None = None
    split_column: str | None = None
    sample_weight: str | None = None
    image_size: ImageSize = None
    channels: Count | None = None
    skip_bad: bool = False
    max_pixels: int | None = None
    text: str | None = None
    vocabulary: Count | None = None
    sequence_length: Count | None = None


@dataclass(frozen=True, kw_only=True)
class ReadingSettings(ReaderSettings):
    """The reading and splitting of data.

    Attributes:
        data: a data spec or arrays (see `reuse.load`).
        test_data: a file or folder whose rows are the test rows; none are drawn from `data` then.
        classes: which classes to keep, such as `5,6` or `0-7`.
        split_seed: of the test and validation rows; None: the source run's where its data are the same, so that it has
            never trained on these test rows, else `seed`.
        test_fraction: share of all rows that is drawn for the test split where the data bring none, 0 for no such
            split; None: the source run's where its data are the same, else 0.2, and 0 where the data bring a training
            and a validation split.
        valid_fraction: share of the rows left after the test split that is drawn for the validation split where the
            data bring none, 0 for no such split; None: the source run's where its data are the same, else 0.2.
    """

    data: Any = None
    test_data: str | None = None
    classes: Classes = None
    split_seed: int | None = None
    test_fraction: float | None = None
    valid_fraction: float | None = None


@dataclass(frozen=True, kw_only=True)
class DataSettings(ReadingSettings):
    """The rows of one training.

    Attributes:
        labels: how many labelled rows in all, a fifth of them for validation; `10/class` too, or `all`.
    """

    labels: LabelCount = None
