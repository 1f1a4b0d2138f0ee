"""Rows that a run is used on: its own, split as they were for the run, or those of other data."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reuse.data.dataset import SPLITS, Dataset
from reuse.data.inputs import Inputs, JoinedInputs
from reuse.data.labels import ALL_LABELS, few_labels, keep_classes, labelled_rows
from reuse.data.loading import LoadArguments, load_rows, with_only
from reuse.data.preprocessing import Preprocessing
from reuse.data.raw import Options, RawData
from reuse.data.reading import read
from reuse.data.scales import with_white
from reuse.data.splitting import split_rows
from reuse.errors import DataError, RunError, UsageError
from reuse.menus import suggest
from reuse.paths import real_path
from reuse.runs.folder import RunFolder
from reuse.settings.calling import carried
from reuse.settings.files import ARRAYS

CHOICES = (*SPLITS, "all")
# Settings of a run by which its rows are found again; how they look, its preprocessing says.
OF_A_RUN = ("data", "test_data", "labels", "classes", "task", "ignore", "group_by", "split_column", "sample_weight",
           "text", "seed", "split_seed", "test_fraction", "valid_fraction")  # fmt: skip


@dataclass(frozen=True)
class DataRequest:
    """Data that the user asks for.

    Attributes:
        spec: a data spec or arrays; None for the run's own.
        target: a table's target column; None for the run's.
        skip_bad: set broken images aside.
        without_targets: look for none, and take every column of a table for a feature.
        max_pixels: most pixels of an image; None: as for the run.
    """

    spec: Any = None
    target: str | None = None
    skip_bad: bool = False
    without_targets: bool = False
    max_pixels: int | None = None


@dataclass(frozen=True)
class SelectedRows:
    """Rows of one split, preprocessed.

    Attributes:
        name: of the data.
        inputs: the samples.
        targets: as they are encoded in the data; None without any.
        task: of the data.
        classes: names of classes or labels in the data.
        numbers: the rows' numbers in the data set, ascending; all rows of the run's own data come split by split.
        notes: lines worth printing.
        split: train, valid, test or all.
    """

    name: str
    inputs: Inputs
    targets: Tensor | None
    task: str
    classes: tuple[str, ...]
    numbers: np.ndarray
    notes: tuple[str, ...]
    split: str


def run_rows(run: RunFolder, preprocessing: Preprocessing, data: DataRequest, split: str | None) -> SelectedRows:
    """Return the rows of `split`, preprocessed as for the run.

    Args:
        run: whose settings say how its data was split.
        preprocessing: the run's.
        data: the data.
        split: train, valid, test or all; None: the test rows of the run's own data, where it has any, else its
            validation rows; the test rows of data that brings such a split, else all. A run that was trained on arrays
            takes arrays for its own.

    Raises:
        UsageError: an unknown split, or the run was trained on arrays and none are given.
        DataError: data that cannot be read or does not fit.
    """
    check_split(split)
    is_own = _is_own(run, data.spec)
    is_whole = isinstance(data.spec, str | Path) and split != "all" and run.settings().classes is None
    if data.spec is None or (is_own and is_whole):
        selected = own_rows(load_own(run, preprocessing, data), split)
    else:
        selected = _other(run, preprocessing, data, "test" if split is None and is_own else split)
    return _not_empty(selected)


def check_split(split: str | None) -> None:
    """Raise a UsageError where rows of a split are asked for that there is not."""
    if split is not None and split not in CHOICES:
        raise UsageError(f"split {split!r} is not there: {suggest(split, CHOICES)}")


def _not_empty(selected: SelectedRows) -> SelectedRows:
    if len(selected.numbers) == 0:
        raise DataError(f"{selected.name} has no rows in its {selected.split} split: choose another split, such as all")
    return selected


def _is_own(run: RunFolder, spec: Any) -> bool:
    """Return whether `spec` names what the run was trained on, also where it may be: a run does not keep arrays."""
    if spec is None:
        return True
    own = run.settings().data
    if not isinstance(spec, str | Path):
        return bool(own == ARRAYS)
    return own is not None and (str(spec) == own or real_path(spec) == real_path(own))


def load_own(run: RunFolder, preprocessing: Preprocessing, data: DataRequest) -> Dataset:
    """Return all rows of a run's own data, split and preprocessed as for the run.

    Args:
        run: whose settings say which data that is, and how it was split.
        preprocessing: the run's.
        data: what else is asked for; its spec is not looked at.

    Raises:
        UsageError: the run was trained on arrays.
        DataError: the data cannot be read.
    """
    settings = run.settings()
    if settings.data is None:
        raise RunError(f"{run.path / 'settings.toml'} does not say on which data the run was trained: give --data")
    if settings.data == ARRAYS:
        raise UsageError(f"{run.path} was trained on arrays, which a run does not keep: give data")
    return load_rows(
        replace(
            carried(settings, OF_A_RUN, LoadArguments),
            target=settings.target if data.target is None else data.target,
            preprocessing=preprocessing,
            skip_bad=data.skip_bad or settings.skip_bad,
            max_pixels=data.max_pixels or settings.max_pixels,
        )
    )


def own_rows(loaded: Dataset, split: str | None) -> SelectedRows:
    """Return the rows of a split of a run's own data; `split` as `run_rows` takes it.

    Raises:
        DataError: there are none.
    """
    split = split or ("test" if len(loaded.test) else "valid")  # who splits into two chose without a test
    parts = [getattr(loaded, name) for name in (SPLITS if split == "all" else (split,))]
    inputs = parts[0].inputs if len(parts) == 1 else JoinedInputs([part.inputs for part in parts])
    targets = None if parts[0].targets is None else torch.cat([part.targets for part in parts])
    rows = np.concatenate([part.rows for part in parts])
    return _not_empty(
        SelectedRows(loaded.name, inputs, targets, loaded.task, loaded.classes, rows, loaded.notes, split)
    )


def _other(run: RunFolder, preprocessing: Preprocessing, data: DataRequest, split: str | None) -> SelectedRows:
    settings = run.settings()
    is_table = preprocessing.kind == "table" or preprocessing.text is not None
    target = data.target or (settings.target if is_table else None)
    drawn = split not in (None, "all")
    preprocessing = with_white(preprocessing)
    options = Options(
        target=target,
        task=None if data.without_targets else run.manifest().task,
        group_by=settings.group_by if drawn else None,
        split_column=settings.split_column if drawn else None,
        preprocessing=preprocessing,
        skip_bad=data.skip_bad,
        max_pixels=data.max_pixels or settings.max_pixels,
        without_targets=data.without_targets,
    )
    source = read(data.spec, options)
    if split is None:
        split = "test" if "test" in source.parts else "all"
    source, rows, notes = _rows_of(source, split, run, _is_own(run, data.spec))
    inputs, more = source.samples.inputs(rows, preprocessing)
    targets = None if source.targets is None else torch.from_numpy(source.targets[rows])
    notes = (*source.notes, *notes, *more)
    return SelectedRows(source.name, inputs, targets, source.task, source.classes, rows, notes, split)


def _rows_of(source: RawData, split: str, run: RunFolder, is_own: bool) -> tuple[RawData, np.ndarray, tuple[str, ...]]:
    """Return the labelled rows, those of `split`, the user's own or drawn as for a training, and notes on the drawing.

    As for a training, rows are drawn among all, those without a label too: of the labelled ones alone others would be
    drawn, and the run may have been trained on them. Rows of classes that a run left out stay: who names data has them
    measured, or is told that the run does not know them.
    """
    labelled, settings = labelled_rows(source), run.settings()
    if split == "all":
        return labelled, labelled.rows, ()
    if split != "train" and split in source.parts:
        return labelled, np.intersect1d(source.parts[split], labelled.rows), ()
    seed = settings.seed if settings.split_seed is None else settings.split_seed
    test_fraction = settings.test_fraction if settings.test_data is None else 0
    parts = with_only(split_rows(source, settings.valid_fraction, test_fraction, seed), labelled.rows)
    if is_own and split != "test" and settings.labels not in (None, ALL_LABELS):
        labelled = keep_classes(labelled, None if settings.classes is None else run.manifest().classes)
        parts = few_labels(labelled, with_only(parts, labelled.rows), settings.labels, settings.seed)
    rows: np.ndarray = getattr(parts, split)
    if source.parts.keys() >= {"valid", "test"}:  # nothing had to be drawn from the training rows
        return labelled, rows, parts.notes
    note = f"{len(rows)} of {len(labelled.rows)} rows: the {split} split drawn with seed {seed}"
    return labelled, rows, (*parts.notes, note)
