"""The rows of a map of features: some that the run did not learn from, in groups by what is true of them."""

from dataclasses import dataclass

import numpy as np

from reuse.data.inputs import Inputs
from reuse.inference.selecting import DataRequest, run_rows
from reuse.reports.spacing import spread
from reuse.reports.subject import Subject

MOST_ROWS = 500
FIFTHS = ("lowest fifth", "second fifth", "third fifth", "fourth fifth", "highest fifth")
ALIKE: tuple[str, ...] = ("",)
"""The names of groups where there is but one."""


@dataclass(frozen=True)
class MappedRows:
    """The rows of a map.

    Attributes:
        inputs: as the model is given them.
        places: which of them are drawn.
        groups: the group of each that is drawn, int64.
        names: of the groups.
        titles: what each row is called.
        split: that they are of.
    """

    inputs: Inputs
    places: np.ndarray
    groups: np.ndarray
    names: tuple[str, ...]
    titles: tuple[str, ...]
    split: str


def find_mapped_rows(subject: Subject) -> MappedRows:
    """Return rows that a run did not learn from: those that it predicts for, or its own.

    Raises:
        ReuseError: they cannot be read.
    """
    outcome, manifest = subject.outcome, subject.record.manifest
    if outcome is not None:
        return _mapped(outcome.inputs, outcome.targets, outcome.task, outcome.classes, outcome.names, outcome.split)
    assert manifest.preprocessing is not None
    given = subject.arguments
    request = DataRequest(given.data, given.target, given.skip_bad)
    found = run_rows(subject.record.folder, manifest.preprocessing, request, given.split)
    names = found.inputs.names() or [f"row {number}" for number in found.numbers.tolist()]
    targets = None if found.targets is None else found.targets.numpy()
    return _mapped(found.inputs, targets, found.task, found.classes, names, found.split)


def _mapped(
    inputs: Inputs,
    targets: np.ndarray | None,
    task: str,
    classes: tuple[str, ...],
    names: list[str],
    split: str,
) -> MappedRows:
    places = np.array(spread(len(inputs), MOST_ROWS))
    groups, called = (np.zeros(len(places), np.int64), ALIKE)
    if targets is not None and task == "classification":
        groups, called = targets[places].astype(np.int64), classes
    elif targets is not None and task == "regression":
        ranks = targets[places].reshape(len(places), -1)[:, 0].argsort().argsort()
        groups, called = ranks * len(FIFTHS) // len(ranks), FIFTHS
    return MappedRows(inputs, places, groups, called, tuple(names[place] for place in places), split)
