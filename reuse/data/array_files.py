"""Named arrays `x`, `y`, or `x_train`, `y_train`, `x_valid`, …, from memory, .npz, HDF5 or an IDX folder."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reuse.data.array_containers import arrays_of_npz
from reuse.data.arrays import CHANNEL_COUNTS, ArraySamples, as_samples
from reuse.data.dataset import SPLITS
from reuse.data.file_digests import state_of
from reuse.data.frame_pairs import read_frames
from reuse.data.frames import is_frame
from reuse.data.h5_files import arrays_of_h5
from reuse.data.image_reading import read_images
from reuse.data.images import ImageSamples
from reuse.data.known_rows import FileRows
from reuse.data.picture_lists import are_pictures, as_image_files
from reuse.data.raw import IN_ORDER, NO_TARGET, Options, RawData, Samples
from reuse.data.sequence_arrays import (
    NO_PICTURES,
    are_no_pictures,
    are_tokens,
    as_steps,
    as_tokens,
    joined_tokens,
    read_vocabulary,
)
from reuse.data.sequences import StepSamples, TokenSamples
from reuse.data.several import gathered, rows_of_several, several_samples
from reuse.data.split_names import CELL_NAMES
from reuse.data.table_files import table_of_array
from reuse.data.tables import TableSamples
from reuse.data.targets import Targets, encode_targets
from reuse.data.text import TextSamples, are_texts, as_texts_of
from reuse.errors import DataError, UsageError
from reuse.units import format_count

ROLES = {f"{role}{suffix}" for role in "xy" for suffix in ("", *(f"_{part}" for part in SPLITS))}
IMAGE_DIMENSIONS = 3  # of one picture: height, width, channels
EXPECTED = "x and y, or x_train, y_train and, where you split yourself, x_valid, y_valid, x_test, y_test"


def read_npz(path: Path, options: Options) -> RawData:
    """Return the arrays of a .npz file as a data set; what an earlier run has read stays in the file till needed."""
    known = FileRows(path, options.hints, time.time_ns(), state_of(path))
    arrays = arrays_of_npz(path, EXPECTED, mapped=known.is_known)
    source = source_of_arrays(arrays, str(path), options)
    if options.hints is None or not isinstance(source.samples, ArraySamples):
        return source
    return replace(source, samples=replace(source.samples, known=known))


def read_h5(path: Path, options: Options) -> RawData:
    """Return the arrays of an HDF5 file as a data set: at its top, or in groups called as splits are."""
    return source_of_arrays(arrays_of_h5(path), str(path), options)


def source_of_arrays(
    arrays: Mapping[str, Any],
    name: str,
    options: Options,
    *,
    class_names: tuple[str, ...] = (),
    divisor: float | None = None,
    notes: tuple[str, ...] = (),
) -> RawData:
    """Return named arrays as a data set.

    Args:
        arrays: `x` and `y`, or one pair a split; without any `y` the data set has no targets. Rows are numbered through
            training, validation and test. One text a row, or with `options.sequences`, a vocabulary, or an array
            `vocabulary`, sequences: tokens `(n, time)` or numbers `(n, time, features)`. An `x` may be a dictionary or
            a tuple of arrays (see `reuse.data.several`).
        name: what the user called it.
        options: `group_by` names an array of groups, one a row.
        class_names: names of the classes 0, 1, … where the targets are their numbers.
        divisor: the largest raw value of an image, where it is known.
        notes: what the reader has to say.

    Raises:
        DataError: names, lengths or values that cannot be a data set.
    """
    arrays = gathered(arrays)
    masked = [called for called, array in arrays.items() if np.ma.is_masked(array)]
    if masked:
        raise DataError(f"{name}: {', '.join(masked)} has masked values: fill them in, or leave their rows out")
    pairs = _pairs({called: _without_torch(array) for called, array in arrays.items()}, name)
    parts = {} if "" in pairs else _numbered({suffix[1:]: _num_rows(x, suffix) for suffix, (x, _) in pairs.items()})
    if all(is_frame(x) for x, _ in pairs.values()):
        return read_frames({suffix[1:]: pair for suffix, pair in pairs.items()}, parts, options)
    _refuse_columns(options, name)
    samples, num_rows = _samples(arrays, pairs, name, options, divisor)
    if isinstance(samples, StepSamples) and not options.sequences and options.kind is None:
        notes = (*notes, NO_PICTURES)
    if options.kind == "table" and isinstance(samples, TableSamples):
        notes = (*notes, IN_ORDER.format(", ".join(map(repr, samples.columns))))
    used = {f"{role}{suffix}" for suffix in pairs for role in "xy"} | {options.group_by}
    used |= {"vocabulary"} if isinstance(samples, TokenSamples) else set()
    ignored = sorted({_fold(given) for given in arrays} - {str(u).lower() for u in used})
    if ignored:
        notes = (*notes, f"arrays left aside: {', '.join(ignored)}")
    encoded, note = _wanted(pairs, name, options)
    targets, task, classes = (encoded.values, encoded.task, encoded.classes) if encoded else (None, "unlabelled", ())
    notes = (*notes, *note)
    if class_names and task == "classification" and all(n.isdigit() and int(n) < len(class_names) for n in classes):
        classes = tuple(class_names[int(number)] for number in classes)
    rows = np.arange(num_rows)
    if isinstance(samples, ImageSamples):
        rows, more = samples.usable()
        notes = (*notes, *more)
    groups = _groups(arrays, options.group_by, num_rows)
    return RawData(name, samples, targets, task, classes, rows, parts, groups, notes)


def _refuse_columns(options: Options, name: str) -> None:
    """Raise where a column is named though there are arrays."""
    if options.text is not None:
        raise UsageError(f"text={options.text!r} names a column, and {name} holds arrays: leave it out, texts are seen")
    if options.target not in (None, NO_TARGET):
        raise UsageError(
            f"target={options.target!r} names a column, and {name} holds arrays: leave it out, or give 'none'"
        )
    for setting in ("ignore", "split_column", "sample_weight"):
        if given := getattr(options, setting):
            raise UsageError(f"{setting}={given!r} names a column, and {name} holds arrays: leave it out")


def _samples(
    arrays: Mapping[str, Any], pairs: Mapping[str, tuple[Any, Any]], name: str, options: Options, divisor: float | None
) -> tuple[Samples, int]:
    """Return the samples of all splits, one after the other, and how many there are."""
    given = {f"x{suffix}": x for suffix, (x, _) in pairs.items()}
    if options.kind == "table" and len(given) == 1 and (table := table_of_array(given.get("x"), options, name)):
        return table, len(next(iter(table.columns.values())))
    if any(isinstance(x, Mapping) for x in given.values()):
        several = several_samples(given, name)
        return several, len(next(iter(several.arrays.values())))
    if all(map(are_pictures, given.values())):
        files = [file for x in given.values() for file in as_image_files(x)]
        return read_images(files, name, options), len(files)
    if all(map(are_texts, given.values())):
        texts = np.concatenate([as_texts_of(x) for x in given.values()])
        return TextSamples(texts, name), len(texts)
    could_be_tokens = options.kind != "sequences" and all(map(are_tokens, given.values()))
    named = _folded(arrays, name).get("vocabulary") if could_be_tokens else None
    meant = named is not None or options.sequences or options.kind == "tokens"
    if options.vocabulary is not None or (could_be_tokens and meant):
        vocabulary, words = read_vocabulary(named, name)
        tokens = joined_tokens([as_tokens(x, called) for called, x in given.items()])
        return TokenSamples(tokens, vocabulary, words, name), len(tokens)
    if options.sequences or options.kind == "sequences" or are_no_pictures(given, options):
        steps = _joined([as_steps(x, called) for called, x in given.items()], name)
        return StepSamples(steps, name), len(steps)
    raw = _joined([as_samples(_as_rows(x, options), called) for called, x in given.items()], name)
    return ArraySamples(raw, divisor, name), len(raw)


def _pairs(arrays: Mapping[str, Any], name: str) -> dict[str, tuple[Any, Any]]:
    """Return (x, y or None) by suffix: "" or "_train", "_valid", "_test"."""
    folded = _folded(arrays, name)
    pairs = {s: (folded[f"x{s}"], folded.get(f"y{s}")) for s in ("", *(f"_{p}" for p in SPLITS)) if f"x{s}" in folded}
    if not pairs or ("" not in pairs and "_train" not in pairs):
        raise DataError(f"{name} holds arrays {', '.join(arrays) or '(none)'}: expected {EXPECTED}")
    if "" in pairs and len(pairs) > 1:
        raise DataError(f"{name} holds both x and x_train, x_valid or x_test: give one or the other")
    for suffix, (x, y) in pairs.items():
        num_rows = _num_rows(x, f"x{suffix}")
        if y is not None and num_rows != (num_targets := _num_rows(y, f"y{suffix}")):
            raise DataError(
                f"{name}: x{suffix} has {format_count(num_rows, 'row')} and y{suffix} has {num_targets}: give "
                "one target a row"
            )
    return pairs


def _without_torch(array: Any) -> Any:
    """Return tensors as arrays; numpy knows nothing of gradients, devices and bfloat16."""
    if isinstance(array, Mapping):
        return {name: _without_torch(value) for name, value in array.items()}
    if not isinstance(array, Tensor):
        return array
    plain = array.detach().cpu()
    return (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()


def _as_rows(x: Any, options: Options) -> Any:
    """Return images as rows of images, also where one alone is given to a model of images.

    Raises:
        DataError: it could be one picture as well as grey ones.
    """
    shape: tuple[int, ...] = getattr(x, "shape", ()) if options.kind == "images" else ()
    if len(shape) != IMAGE_DIMENSIONS:
        return x
    first, second, third = shape
    if third in (3, 4) and min(first, second) > max(CHANNEL_COUNTS):
        return np.asarray(x)[None]
    channels = options.preprocessing.channels if options.preprocessing else None
    if first == channels and first in (3, 4):
        raise DataError(
            f"an array of shape {tuple(shape)} is one picture or {first} grey ones: give x[None] for one, x[:, None] "
            "for several"
        )
    return x


def _num_rows(array: Any, name: str) -> int:
    if isinstance(array, Mapping):
        return rows_of_several(array, name)
    try:
        return len(array)
    except TypeError as error:
        raise DataError(f"{name} is {array!r}, a single value: expected an array with one entry a row") from error


def _folded(arrays: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the arrays by folded name."""
    folded: dict[str, str] = {}
    for given in arrays:
        other = folded.setdefault(_fold(given), given)
        if other != given and _fold(given) in ROLES:
            raise DataError(f"{name} holds both {other} and {given}, which mean the same: leave one out or rename it")
    return {short: arrays[given] for short, given in folded.items()}


def _fold(name: str) -> str:
    """Return a name in lower case; `x_val` and `x_dev` are called `x_valid`, and so on."""
    role, _, part = name.lower().partition("_")
    return f"{role}_{CELL_NAMES[part]}" if role in ("x", "y") and part in CELL_NAMES else name.lower()


def _joined(samples: list[np.ndarray], name: str) -> np.ndarray:
    if len(samples) == 1:
        return samples[0]
    shapes = {x.shape[1:] for x in samples}
    if len(shapes) > 1:
        raise DataError(
            f"{name}: rows have different shapes in different splits: {', '.join(map(str, sorted(shapes)))}"
        )
    kinds: dict[str, str] = {}
    for x in samples:
        kinds.setdefault("bytes" if x.dtype == np.uint8 else x.dtype.kind, str(x.dtype))
    if len(kinds) > 1:  # bytes go up to 255 and other types to anything: there is no scale for both
        raise DataError(f"{name}: splits hold different types ({', '.join(kinds.values())}): give all in one type")
    return np.concatenate(samples)


def _wanted(
    pairs: Mapping[str, tuple[Any, Any]], name: str, options: Options
) -> tuple[Targets | None, tuple[str, ...]]:
    """Return the targets and a note; where none are learned from, what is wrong with them is a note."""
    if options.without_targets:
        return None, ()
    try:
        encoded = _encoded(pairs, name, options.task)
    except DataError as error:
        if options.supervised and options.target != NO_TARGET:
            raise
        return None, (f"labels are not looked at: {error}",)
    return encoded, (encoded.note,) if encoded and encoded.note else ()


def _encoded(pairs: Mapping[str, tuple[Any, Any]], name: str, task: str | None) -> Targets | None:
    missing = [suffix for suffix, (_, y) in pairs.items() if y is None]
    if len(missing) == len(pairs):
        return None
    if missing:
        raise DataError(
            f"{name}: {', '.join(f'x{s}' for s in missing)} without y: give targets for every split or none"
        )
    try:
        joined = np.concatenate([np.asarray(y) for _, y in pairs.values()])
    except ValueError as error:
        raise DataError(f"{name}: y is not one array ({error}): give every row and split targets alike") from error
    return encode_targets(joined, task=task)


def _numbered(lengths: Mapping[str, int]) -> dict[str, np.ndarray]:
    ends = np.cumsum(list(lengths.values()))
    return {part: np.arange(end - lengths[part], end) for part, end in zip(lengths, ends, strict=True)}


def _groups(arrays: Mapping[str, Any], group_by: str | None, num_rows: int) -> np.ndarray | None:
    if group_by is None:
        return None
    if group_by not in arrays:
        raise DataError(f"group_by={group_by!r}: there is no such array, only {', '.join(arrays)}")
    groups = np.asarray(arrays[group_by])
    if groups.shape != (num_rows,):
        raise DataError(f"group_by={group_by!r} has shape {groups.shape}: expected one group a row, ({num_rows},)")
    return groups
