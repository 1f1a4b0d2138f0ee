"""Loading: from a spec string or arrays to splits of rows with digests."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from reuse.data.assembling import assemble
from reuse.data.dataset import Dataset
from reuse.data.labels import ALL_LABELS, few_labels, keep_classes, labelled_rows
from reuse.data.preprocessing import Preprocessing
from reuse.data.raw import NO_TARGET, Options, RawData
from reuse.data.reading import read
from reuse.data.sequences import StepSamples, TokenSamples
from reuse.data.splitting import Parts, check_parts, split_rows
from reuse.data.tables import TableSamples
from reuse.data.text import TextSamples
from reuse.data.tokenizers import Tokenizing
from reuse.errors import UsageError
from reuse.hints import Hints
from reuse.reporting import Reporter
from reuse.settings.calling import carried, takes
from reuse.settings.data import DataSettings
from reuse.settings.setting import settings_of
from reuse.units import format_count, verb_of


@dataclass(frozen=True, kw_only=True)
class LoadArguments(DataSettings):
    """Arguments of `reuse.load`.

    Attributes:
        data: a name ("digits"), "openml:NAME", a data frame of pandas, polars or another library, a file
            (.npz .h5 .csv .parquet .tar), a folder (class folders of images,
            or IDX files), an image, a dict of arrays (`x`, `y`, or `x_train`, `y_train`, …), the pair `(x, y)`, y
            None for no targets, or `x` alone. `x` may be a list of images' files or of Pillow's images, which may also
            stand alone. A Dataset of torch is read once, whole.
        labels: how many labelled rows in all (or "N/class"), a fifth of them for validation; the test split stays.
        classes: the classes to keep: "0-7", "5,6", names, a number.
        target: a table's target column, several separated by commas; "none": no targets, for any data but a
            table with a column called none.
        group_by: a column (or array) whose groups never straddle splits; it is no feature.
        image_size: pixels, one number or height and width; images are resized to it.
        channels: 1 or 3; images are converted.
        valid_fraction: share of the rows left after the test split; 0 for none; None: 0.2.
        test_fraction: share of all rows; 0 for none. Both are for splits that the data set does not bring. None: 0.2,
            and none where it brings a training and a validation split: its training rows are the user's choice.
        seed: what labelled rows are drawn with.
        split_seed: what the test and validation rows are drawn with; None: `seed`.
        preprocessing: used as it is, nothing is fitted: a source run's, or `image_preprocessing(...)`.
        skip_bad: set broken images aside, and name them in the notes.
        max_pixels: most pixels of an image that is read; None: 178,956,970.
        supervised: False, for pretraining without targets: rows without a label are kept, no column is guessed to be
            the target, and labels that cannot be read are no error.
        transductive: for pretraining without targets: test rows' inputs, never their targets, are trained on too.
        text: the column of a table that holds texts, which are then the inputs; arrays of strings are texts anyway.
        vocabulary: of texts, how many words are told apart (the most frequent; None: 10,000); of arrays, how many
            tokens there are, padding among them, which makes whole numbers `(rows, time)` tokens.
        sequence_length: tokens a row, which is cut or filled up; None: as many as 95 % of the training texts have, or
            as an array has columns.
        sequences: take arrays for sequences: whole numbers `(rows, time)` for tokens (None told: up to the largest),
            numbers `(rows, time, features)` for steps, standardised by feature, and not for vectors and images.
        hints: what earlier runs found out about files, so that those that did not change are not read to know them;
            None: all are read.
        tokenizing: how a model reads texts, by its own tokenizer; None: as words of the training split.
        decode_late: decode images when they are asked for, and not to see whether they can be; one that cannot is an
            error then. With `skip_bad` all are decoded at once.
        reporter: told of images that are read; None: nobody is.
    """

    data: Any = field(kw_only=False)
    seed: int = 0
    preprocessing: Preprocessing | None = None
    transductive: bool = False
    sequences: bool = False
    supervised: bool = True
    hints: Hints | None = None
    tokenizing: Tokenizing | None = None
    decode_late: bool = False
    reporter: Reporter | None = None


@takes(LoadArguments)
def load(arguments: LoadArguments) -> Dataset:
    """Return a data set, split and preprocessed.

    Without a `preprocessing`, tables and feature vectors are standardised by the mean and standard deviation of the
    training split alone, and images scaled to [0, 1]. Texts become tokens: the numbers of their lower-case words, 0 for
    padding, 1 for a word that is rare or does not occur in the training split.

    Returns:
        The training, validation and test split, with notes worth printing.

    Raises:
        UsageError: a setting that cannot be taken.
        DataError: data that cannot be read, split or learned from; the message names file, row or column.

    Example:
        >>> data = load("digits", labels="10/class")
        >>> data.sizes
        {'train': 80, 'valid': 20, 'test': 360}
    """
    return load_rows(arguments)


def load_rows(arguments: LoadArguments) -> Dataset:
    """Return a data set, split and preprocessed; `load` with its arguments in one object."""
    options = carried(arguments, settings_of(LoadArguments), Options)
    _refuse_two_sizes(options)
    source = read(arguments.data, options)
    _refuse_unused(source, options)
    _refuse_other_targets(source, arguments)
    # Split first: the test rows of some classes, of few labels or without targets are test rows of the whole data set,
    # so that nothing pretrained on one selection has seen the test rows of another.
    split_seed = arguments.seed if arguments.split_seed is None else arguments.split_seed
    test_fraction = arguments.test_fraction if arguments.test_data is None else 0
    parts = split_rows(source, arguments.valid_fraction, test_fraction, split_seed)
    if arguments.target == NO_TARGET and not _is_table(source):  # of a table it may be a column's name
        source = source.without_targets()
    source = _with_wanted_labels(source, arguments)
    source = keep_classes(source, arguments.classes)
    parts = with_only(parts, source.rows)
    if arguments.labels not in (None, ALL_LABELS):
        parts = few_labels(source, parts, arguments.labels, arguments.seed)
    if arguments.transductive:
        source, parts = source.without_targets(), _with_test_inputs(parts, arguments.labels)
    check_parts(source, parts)
    return assemble(source, parts, options, arguments.test_data)


def _is_table(source: RawData) -> bool:
    samples = source.samples
    return isinstance(samples, TableSamples) or (isinstance(samples, TextSamples) and samples.column != "")


def _refuse_unused(source: RawData, options: Options) -> None:
    """Raise where a setting for tokens is given though there are none."""
    if isinstance(source.samples, TextSamples | TokenSamples | StepSamples):
        return
    for name in ("text", "vocabulary", "sequence_length"):
        if (given := getattr(options, name)) is not None:
            raise UsageError(f"{name}={given!r} is for texts and tokens, and {source.name} holds none: leave it out")


def _refuse_other_targets(source: RawData, arguments: LoadArguments) -> None:
    """Raise where another task is asked for than the data have, or test rows though they bring their own."""
    if arguments.task is not None and source.targets is not None and source.task != arguments.task:
        raise UsageError(f"task={arguments.task!r}: {source.name} holds targets for {source.task}: leave it out")
    if arguments.test_data is not None and "test" in source.parts:
        raise UsageError(f"test_data={arguments.test_data!r}: {source.name} brings its own test rows: leave it out")


def _refuse_two_sizes(options: Options) -> None:
    """Raise where the given preprocessing and the settings ask for different inputs."""
    for name in ("image_size", "channels", "vocabulary", "sequence_length"):
        asked, given = getattr(options, name), getattr(options.preprocessing, name, None)
        if name == "image_size":
            asked = options.size
        if asked is not None and options.preprocessing is not None and asked != given:
            raise UsageError(f"{name}={asked} and a preprocessing made for {given}: the model takes only the latter")


def _with_wanted_labels(source: RawData, arguments: LoadArguments) -> RawData:
    """Return a data set without the rows that have no label, or, where no labels are learned from, without labels."""
    if source.targets is None or source.is_labelled[source.rows].all():
        return source
    if arguments.supervised or arguments.classes is not None or arguments.labels is not None:
        return labelled_rows(source)
    count = int(source.is_labelled[source.rows].sum())
    note = (
        f"{count} of {format_count(len(source.rows), 'row')} {verb_of(count, 'has', 'have')} a label: all are "
        "learned from, and no label is looked at"
    )
    return replace(source.without_targets(), notes=(*source.notes, note))


def with_only(parts: Parts, rows: np.ndarray) -> Parts:
    """Return `parts` without rows that are not among `rows`."""
    train, valid, test = (
        part[np.isin(part, rows, assume_unique=True)] for part in (parts.train, parts.valid, parts.test)
    )
    return Parts(train, valid, test, parts.notes)


def _with_test_inputs(parts: Parts, labels: int | str | None) -> Parts:
    """Return parts whose training rows include the test rows, for training without targets."""
    if labels not in (None, ALL_LABELS):
        raise UsageError("transductive pretraining takes no targets, so labels cannot be counted: give one of the two")
    note = (
        f"transductive: the inputs of {format_count(len(parts.test), 'test row')} are trained on too, "
        "without any targets"
    )
    return replace(parts, train=np.union1d(parts.train, parts.test), notes=(*parts.notes, note))
