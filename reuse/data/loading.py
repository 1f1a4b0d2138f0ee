"""Loading: from a spec string or arrays to splits of rows with digests."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from reuse.data.array_files import read_h5, read_npz, source_of_arrays
from reuse.data.catalogue import NAMED, read_openml
from reuse.data.csv_files import COMPRESSIONS
from reuse.data.dataset import SPLITS, Dataset, Split
from reuse.data.frame_pairs import FRAME
from reuse.data.frames import is_frame
from reuse.data.idx import find_idx, read_idx_folder
from reuse.data.image_files import read_image_archive, read_image_files, read_image_folder
from reuse.data.image_formats import is_image
from reuse.data.images import ImageSamples
from reuse.data.labels import few_labels, keep_classes, labelled_rows
from reuse.data.matching import Found, targets_for
from reuse.data.picture_lists import are_pictures
from reuse.data.preprocessing import Preprocessing
from reuse.data.raw import NO_TARGET, Options, RawData
from reuse.data.sequences import StepSamples, TokenSamples
from reuse.data.several import are_rows_of_several
from reuse.data.splitting import Parts, check_parts, split_rows
from reuse.data.table_files import read_csv, read_parquet, source_of_table
from reuse.data.tables import TableSamples
from reuse.data.targets import TargetScale
from reuse.data.text import TextSamples
from reuse.data.tokenizers import Tokenizing
from reuse.data.torch_datasets import is_dataset, read_dataset
from reuse.errors import DataError, UnknownNameError, UsageError
from reuse.hints import Hints
from reuse.menus import suggest
from reuse.reporting import Reporter
from reuse.settings.calling import carried, takes
from reuse.settings.data import DataSettings
from reuse.settings.setting import settings_of

ALL_LABELS = "all"

READERS: dict[str, Callable[[Path, Options], RawData]] = {
    ".npz": read_npz,
    ".h5": read_h5,
    ".hdf5": read_h5,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet,
    ".tar": read_image_archive,
    ".tgz": read_image_archive,
    ".gz": read_image_archive,
    ".xz": read_image_archive,
    ".bz2": read_image_archive,
}
OPENML = "openml:"
LISTED_FEATURES = 30
# Kinds whose rows are digested when they are loaded; images would be read for it.
DIGESTED = ("table", "vectors", "text", "tokenized")


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
        source = _without_targets(source)
    source = _with_wanted_labels(source, arguments)
    source = keep_classes(source, arguments.classes)
    parts = _with_only(parts, source.rows)
    if arguments.labels not in (None, ALL_LABELS):
        parts = few_labels(source, parts, arguments.labels, arguments.seed)
    if arguments.transductive:
        source, parts = _without_targets(source), _with_test_inputs(parts, arguments.labels)
    check_parts(source, parts)
    return _assemble(source, parts, options, arguments.test_data)


def read(spec: Any, options: Options) -> RawData:
    """Return what `spec` names or holds, neither split nor preprocessed."""
    if not isinstance(spec, (str, Path)):
        return _read_rows(spec, options)
    if str(spec) in NAMED:
        return NAMED[str(spec)](options)
    if str(spec).startswith(OPENML):
        return read_openml(str(spec).removeprefix(OPENML), options)
    return _read_path(str(spec), options)


def _read_rows(given: Any, options: Options) -> RawData:
    """Return rows that are in memory: arrays, frames or images."""
    if is_frame(given):
        return source_of_table(given, FRAME, options)
    if is_dataset(given):
        return read_dataset(given, options)
    if isinstance(given, Image):
        given = [given]
    if options.kind == "several" and are_rows_of_several(given):
        given = {"x": given}
    if isinstance(given, np.ndarray | Tensor) or _are_inputs(given, options):
        given = given, None
    if isinstance(given, tuple):
        if len(given) != 2:
            raise UsageError(f"a tuple of {len(given)} as data: give the pair (x, y), or a dict of arrays")
        given = {name: array for name, array in zip("xy", given, strict=True) if array is not None}
    if isinstance(given, Mapping):
        return source_of_arrays(given, "arrays", options)
    kind = type(given).__name__
    raise UsageError(
        f"data of type {kind}: give a name or path, a pair (x, y), a data frame, a torch Dataset, or a dict of arrays"
    )


def _are_inputs(given: Any, options: Options) -> bool:
    """Return whether a sequence is one of inputs alone, and not the pair `(x, y)`."""
    if not isinstance(given, Sequence) or isinstance(given, tuple):
        return False
    return options.without_targets or are_pictures(given)


def _read_path(spec: str, options: Options) -> RawData:
    path = Path(spec).expanduser()
    if path.is_dir():
        if not any(path.iterdir()):
            raise DataError(f"{path} is an empty folder: expected class folders of images, or IDX files")
        if "x_train" in find_idx(path):
            return source_of_arrays(read_idx_folder(path), spec, options)
        return read_image_folder(path, options)
    if not path.exists() and ("/" in spec or path.suffix.lower() in READERS):
        raise DataError(f"there is no file or folder {path.absolute()}")
    if not path.exists():
        if spec == ALL_LABELS:
            raise UnknownNameError("'all' names no data: name the data set, and leave --labels out or say --labels all")
        raise UnknownNameError(
            f"unknown data set {spec!r}: {suggest(spec, NAMED)}; there is no file or folder {path.absolute()} either"
        )
    inner = Path(path.stem).suffix.lower()  # table.csv.gz
    if path.suffix.lower() in COMPRESSIONS and READERS.get(inner) is read_csv:
        return read_csv(path, options)
    if path.suffix.lower() not in READERS and is_image(path.name, path):
        return read_image_files([path], options, name=spec)
    if path.suffix.lower() not in READERS:
        raise DataError(f"{path}: a file of this kind is not read; expected {', '.join(READERS)} or a folder")
    return READERS[path.suffix.lower()](path, options)


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


def _without_targets(source: RawData) -> RawData:
    return replace(source, targets=None, task="unlabelled", classes=())


def _with_wanted_labels(source: RawData, arguments: LoadArguments) -> RawData:
    """Return a data set without the rows that have no label, or, where no labels are learned from, without labels."""
    if source.targets is None or source.is_labelled[source.rows].all():
        return source
    if arguments.supervised or arguments.classes is not None or arguments.labels is not None:
        return labelled_rows(source)
    count = int(source.is_labelled[source.rows].sum())
    note = f"{count} of {len(source.rows)} rows have a label: all are learned from, and no label is looked at"
    return replace(_without_targets(source), notes=(*source.notes, note))


def _with_only(parts: Parts, rows: np.ndarray) -> Parts:
    train, valid, test = (
        part[np.isin(part, rows, assume_unique=True)] for part in (parts.train, parts.valid, parts.test)
    )
    return Parts(train, valid, test, parts.notes)


def _with_test_inputs(parts: Parts, labels: int | str | None) -> Parts:
    """Return parts whose training rows include the test rows, for training without targets."""
    if labels not in (None, ALL_LABELS):
        raise UsageError("transductive pretraining takes no targets, so labels cannot be counted: give one of the two")
    note = f"transductive: the inputs of {len(parts.test)} test rows are trained on too, without any targets"
    return replace(parts, train=np.union1d(parts.train, parts.test), notes=(*parts.notes, note))


def _assemble(source: RawData, parts: Parts, options: Options, test_data: str | None) -> Dataset:
    notes = [*source.notes, *parts.notes]
    preprocessing = options.preprocessing
    if preprocessing is None:
        preprocessing, fit_notes = source.samples.fit(parts.train, options)
        notes += fit_notes
    elif isinstance(source.samples, ImageSamples):  # a model's own, with the white of these pictures
        preprocessing = source.samples.preprocessing
    elif preprocessing.kind in ("text", "tokenized") and options.text is not None:  # in a column of another name
        preprocessing = replace(preprocessing, text=options.text)
    if preprocessing.columns:
        notes.append(_features(preprocessing))
    splits = {}
    for name in SPLITS:
        splits[name], split_notes = _split(source, getattr(parts, name), preprocessing)
        notes += [f"{name}: {note}" for note in split_notes]
    if test_data is not None:
        splits["test"], split_notes = _other_test(source, replace(options, preprocessing=preprocessing), test_data)
        notes += [f"test: {note}" for note in split_notes]
    notes += _repeated(splits) if preprocessing.kind in DIGESTED else []
    scale = None
    if source.task == "regression" and source.targets is not None:
        scale = TargetScale.fit(source.targets[parts.train])
        notes.append(scale.note)
    return Dataset(
        source.name,
        **splits,
        task=source.task,
        classes=source.classes,
        preprocessing=preprocessing,
        notes=tuple(notes),
        target_scale=scale,
    )


def _features(preprocessing: Preprocessing) -> str:
    names = [repr(column.name) for column in preprocessing.columns]
    listed = ", ".join(names[:LISTED_FEATURES]) + (", …" if len(names) > LISTED_FEATURES else "")
    return f"{len(names)} feature{'s' if len(names) > 1 else ''}: {listed}"


def _split(source: RawData, rows: np.ndarray, preprocessing: Preprocessing) -> tuple[Split, tuple[str, ...]]:
    inputs, notes = source.samples.inputs(rows, preprocessing)
    targets = None if source.targets is None else torch.from_numpy(source.targets[rows])
    weights = None if source.weights is None else torch.from_numpy(source.weights[rows])
    return Split(inputs, targets, rows, weights), notes


def _other_test(source: RawData, options: Options, test_data: str) -> tuple[Split, tuple[str, ...]]:
    """Return the rows of another file or folder as test rows, numbered on from those of the data, and notes."""
    task = None if source.targets is None else source.task
    given = read(
        test_data, replace(options, task=task, group_by=None, split_column=None, sample_weight=None, ignore=())
    )
    given = labelled_rows(given) if task else _without_targets(given)
    split, notes = _split(given, given.rows, _given(options.preprocessing))
    targets = None
    if task is not None:
        found = Found(given.name, split.targets, given.task, given.classes)
        targets = targets_for(found, source.task, source.classes)
    first = max(len(source.rows), int(source.rows.max(initial=-1)) + 1)
    return Split(split.inputs, targets, split.rows + first), (*given.notes, *notes)


def _given(preprocessing: Preprocessing | None) -> Preprocessing:
    assert preprocessing is not None
    return preprocessing


def _repeated(splits: Mapping[str, Split]) -> list[str]:
    """Return a note where test rows stand in the training split too: what they measure is memory."""
    digests = {name: split.inputs.digests().copy().view(np.uint64).reshape(-1, 2) for name, split in splits.items()}
    count = int(np.isin(digests["test"][:, 0], digests["train"][:, 0]).sum())
    if not count:
        return []
    return [f"{count} of {len(splits['test'])} test rows stand in the training split too, with the same inputs"]
