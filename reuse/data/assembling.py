"""Assembling: from raw data and its parts to prepared splits, with what a user should know of them."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from reuse.data.dataset import SPLITS, Dataset, Split
from reuse.data.images import ImageSamples
from reuse.data.inputs import Inputs
from reuse.data.labels import labelled_rows
from reuse.data.matching import Found, targets_for
from reuse.data.preprocessing import Preprocessing
from reuse.data.raw import Options, RawData
from reuse.data.reading import read
from reuse.data.row_weights import fitted_scale, relative_weights
from reuse.data.splitting import Parts
from reuse.data.tables import TableSamples
from reuse.units import format_count, verb_of

LISTED_FEATURES = 30
# Kinds whose rows are digested when they are loaded; images would be read for it.
DIGESTED = ("table", "vectors", "text", "tokenized")


def assemble(source: RawData, parts: Parts, options: Options, test_data: str | None) -> Dataset:
    """Return a data set.

    Args:
        source: what was read.
        parts: its rows, split.
        options: of the readers; with a `preprocessing`, nothing is fitted.
        test_data: another file or folder, whose rows are the test rows; None: those of `parts` are.

    Raises:
        DataError: rows that cannot be prepared, or read.
    """
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
    weights = None if source.weights is None else relative_weights(source.weights, parts.train)
    splits = {}
    for name, (inputs, split_notes) in _inputs(source, parts, preprocessing).items():
        splits[name] = _split(source, getattr(parts, name), inputs, weights)
        notes += [f"{name}: {note}" for note in split_notes]
    if test_data is not None:
        splits["test"], split_notes = _other_test(source, replace(options, preprocessing=preprocessing), test_data)
        notes += [f"test: {note}" for note in split_notes]
    notes += _repeated(splits) if preprocessing.kind in DIGESTED else []
    scale = None
    if source.task == "regression" and source.targets is not None:
        scale = fitted_scale(source.targets, parts.train, weights)
        notes.append(scale.note)
        notes += _constant(source.targets[parts.train])
    return Dataset(
        source.name,
        **splits,
        task=source.task,
        classes=source.classes,
        preprocessing=preprocessing,
        notes=tuple(notes),
        target_scale=scale,
    )


def _constant(targets: np.ndarray) -> list[str]:
    """Return a note where a target `(rows, targets)` is the same in all rows."""
    alike = np.flatnonzero((targets == targets[:1]).all(0))
    which = "the target is" if targets.shape[1] == 1 else "target {place} (from 0) is"
    return [
        f"{which.format(place=place)} {targets[0, place]:g} in every training row: there is nothing to learn"
        for place in alike
    ]


def _features(preprocessing: Preprocessing) -> str:
    names = [repr(column.name) for column in preprocessing.columns]
    listed = ", ".join(names[:LISTED_FEATURES]) + (", …" if len(names) > LISTED_FEATURES else "")
    return f"{format_count(len(names), 'feature')}: {listed}"


def _inputs(source: RawData, parts: Parts, preprocessing: Preprocessing) -> dict[str, tuple[Inputs, tuple[str, ...]]]:
    """Return the preprocessed samples of each split, and notes on them; a table is empty afterwards."""
    rows = {name: getattr(parts, name) for name in SPLITS}
    if isinstance(source.samples, TableSamples):
        return source.samples.splits(rows, preprocessing)
    return {name: source.samples.inputs(some, preprocessing) for name, some in rows.items()}


def _split(source: RawData, rows: np.ndarray, inputs: Inputs, weights: np.ndarray | None = None) -> Split:
    targets = None if source.targets is None else torch.from_numpy(source.targets[rows])
    return Split(inputs, targets, rows, None if weights is None else torch.from_numpy(weights[rows]))


def _other_test(source: RawData, options: Options, test_data: str) -> tuple[Split, tuple[str, ...]]:
    """Return the rows of another file or folder as test rows, numbered on from those of the data, and notes."""
    task = None if source.targets is None else source.task
    given = read(
        test_data, replace(options, task=task, group_by=None, split_column=None, sample_weight=None, ignore=())
    )
    given = labelled_rows(given) if task else given.without_targets()
    inputs, notes = given.samples.inputs(given.rows, _given(options.preprocessing))
    split = _split(given, given.rows, inputs)
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
    return [
        (
            f"{count} of {format_count(len(splits['test']), 'test row')} {verb_of(count, 'stands', 'stand')} in "
            "the training split too, with the same inputs"
        )
    ]
