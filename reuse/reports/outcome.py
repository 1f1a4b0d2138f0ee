"""What a run predicts for rows that it did not learn from, computed anew, beside what is true."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from reuse.data.dataset import SPLITS, Dataset
from reuse.data.inputs import Inputs
from reuse.data.matching import targets_for
from reuse.inference.metrics import FurtherMetrics, Metric
from reuse.inference.selecting import DataRequest, load_own, own_rows, run_rows
from reuse.reporting import Reporter
from reuse.reports.record import RunRecord
from reuse.runs.models import LIKELY, SavedModel
from reuse.settings.uses import ReportArguments

SPLIT_WORDS = {"train": "training", "valid": "validation", "test": "test", "all": "all"}


@dataclass(frozen=True)
class Outcome:
    """Predictions of a run for rows of one split.

    Attributes:
        data: name of the data.
        split: test, valid, train or all.
        task: "classification", "multilabel" or "regression".
        classes: names of classes or labels in the order of the outputs; empty for numbers.
        numbers: the rows' numbers in the data set, ascending.
        inputs: the rows as the model is given them.
        values: probabilities, or numbers in their own units, float64 `(rows, outputs)`.
        targets: class numbers int64 `(rows,)`; zeros and ones, or numbers, float64 `(rows, outputs)`.
        counts: rows of each class or label by split, where all splits were read.
        notes: lines worth reading on the data.
        further: metrics that are asked for beside the usual ones, by name.
    """

    data: str
    split: str
    task: str
    classes: tuple[str, ...]
    numbers: np.ndarray
    inputs: Inputs
    values: np.ndarray
    targets: np.ndarray
    counts: dict[str, dict[str, int]]
    notes: tuple[str, ...]
    further: Mapping[str, Metric] = field(default_factory=dict)

    @cached_property
    def predicted(self) -> np.ndarray:
        """The likeliest class of each row, int64 `(rows,)`."""
        return np.asarray(self.values.argmax(1))

    @cached_property
    def right(self) -> np.ndarray:
        """Which rows are given their own class, or just the labels that they have, bool `(rows,)`."""
        if self.task == "multilabel":
            return np.asarray(((self.values > LIKELY) == (self.targets > 0)).all(1))
        return np.asarray(self.predicted == self.targets)

    @cached_property
    def names(self) -> list[str]:
        """What each row is called: its file, or its number."""
        return self.inputs.names() or [f"row {number}" for number in self.numbers.tolist()]


def predict_rows(record: RunRecord, model: SavedModel, arguments: ReportArguments, further: FurtherMetrics) -> Outcome:
    """Return what a run predicts for its test rows, or for those that are asked for.

    Raises:
        ReuseError: there are no rows, or they cannot be read.
    """
    request = DataRequest(arguments.data, arguments.target, arguments.skip_bad)
    loaded: Dataset | None = None
    if arguments.data is None:
        loaded = load_own(record.folder, model.preprocessing, request)
        selected = own_rows(loaded, arguments.split)
    else:
        selected = run_rows(record.folder, model.preprocessing, request, arguments.split)
    targets = targets_for(selected, model.task, model.classes)
    with (arguments.reporter or Reporter()).rows(len(selected.numbers), "predict") as progress:
        values = model.values(selected.inputs, arguments.batch_size, progress)
    return Outcome(
        selected.name,
        selected.split,
        model.task,
        model.classes,
        selected.numbers,
        selected.inputs,
        values.double().numpy(),
        targets.numpy() if model.task == "classification" else targets.double().numpy(),
        {} if loaded is None else _counts(loaded),
        (*selected.notes, *further.notes(targets)),
        further.chosen,
    )


def _counts(data: Dataset) -> dict[str, dict[str, int]]:
    """Return rows of each class or label by split; empty of numbers."""
    targets = {split: getattr(data, split).targets for split in SPLITS}
    if data.task == "classification":
        counts = {split: some.bincount(minlength=len(data.classes)) for split, some in targets.items()}
    else:
        counts = {split: (some > 0).sum(0) for split, some in targets.items() if data.task == "multilabel"}
    return {split: dict(zip(data.classes, some.tolist(), strict=True)) for split, some in counts.items()}
