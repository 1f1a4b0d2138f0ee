"""Predictions of a trained run, and its metrics on any data."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reuse.data.inputs import ReadInputs
from reuse.data.matching import targets_for
from reuse.data.rows import Converted
from reuse.devices import choose_device
from reuse.escaping import spreadsheet_cell
from reuse.inference.metrics import FurtherMetrics
from reuse.inference.sampling import sample_predictions
from reuse.inference.selecting import DataRequest, run_rows
from reuse.nn.by_name import by_position
from reuse.objectives.supervised import supervised
from reuse.reporting import Reporter
from reuse.runs.folder import RunFolder
from reuse.runs.models import LIKELY, SavedModel, load_model
from reuse.settings.calling import takes
from reuse.settings.uses import EvaluateArguments, PredictArguments
from reuse.training import evaluation


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a run on some rows.

    Attributes:
        run: the run folder.
        data: name of the data.
        split: train, valid, test or all.
        rows: their number.
        metrics: `loss` and `accuracy`, `macro_f1`, or `mse`, `r2`, and those asked for; without penalties.
        notes: lines worth reading on the data.
    """

    run: str
    data: str
    split: str
    rows: int
    metrics: dict[str, float]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Predictions:
    """Predictions of a run for some rows.

    Attributes:
        run: the run folder.
        data: name of the data.
        split: train, valid, test or all.
        task: "classification", "multilabel" or "regression".
        classes: names of the classes or labels; empty for regression.
        numbers: the rows' numbers in the data set, from 0, ascending.
        values: probabilities of classes or labels, or predicted numbers, `(rows, outputs)`.
        files: the images' files; None for other data.
        notes: lines worth reading on the data.
        uncertainty: of Monte-Carlo dropout (see `reuse.inference.sampling.SampledPredictions`); None without it.
    """

    run: str
    data: str
    split: str
    task: str
    classes: tuple[str, ...]
    numbers: np.ndarray
    values: Tensor
    files: list[str] | None
    notes: tuple[str, ...]
    uncertainty: Tensor | None = None

    @property
    def header(self) -> list[str]:
        """The names of the columns of `lines`."""
        first = ["row", "file"] if self.files else ["row"]
        uncertain = [] if self.uncertainty is None else _numbered("uncertainty", self.uncertainty.shape[1])
        if self.task == "regression":
            return [*first, *_numbered("prediction", self.values.shape[1]), *uncertain]
        return [*first, "prediction", *(f"probability {name}" for name in self.classes), *uncertain]

    def table(self, *, raw: bool = False) -> Iterator[list[Any]]:
        """Yield the header and the lines as they are written as CSV.

        Args:
            raw: leave names of files and classes as they are; else those that a spreadsheet would compute, or that a
                terminal would act upon, are written so that they do not.
        """
        for cells in chain([self.header], self.lines()):
            yield [spreadsheet_cell(cell) if isinstance(cell, str) and not raw else cell for cell in cells]

    @property
    def labels(self) -> list[str]:
        """The class that is predicted for each row, or its labels joined by ";"; empty for numbers."""
        return [] if self.task == "regression" else [self._named(values) for values in self.values.tolist()]

    def lines(self) -> Iterator[list[Any]]:
        """Yield a list of cells a row: number, file, what is predicted, the probability of each class, uncertainty."""
        uncertain = [[]] * len(self.numbers) if self.uncertainty is None else self.uncertainty.tolist()
        digits = 12 if self.values.dtype == torch.float64 else 7
        for place, (number, values) in enumerate(zip(self.numbers.tolist(), self.values.tolist(), strict=True)):
            cells = [number, self.files[place]] if self.files else [number]
            predicted = [] if self.task == "regression" else [self._named(values)]
            yield [*cells, *predicted, *(float(f"{value:.{digits}g}") for value in (*values, *uncertain[place]))]

    def _named(self, values: list[float]) -> str:
        if self.task == "classification":
            return self.classes[int(np.argmax(values))]
        return ";".join(name for name, value in zip(self.classes, values, strict=True) if value > LIKELY)


@takes(EvaluateArguments)
def evaluate_run(arguments: EvaluateArguments) -> Evaluation:
    """Measure a trained run.

    Raises:
        RunError: the run is damaged, of another version, or predicts nothing.
        DataError: data that cannot be read or that the run was not made for; classes that it does not know are named.
        UsageError: a metric that the task has not.

    Example:
        >>> evaluate_run("runs/finetune-20261121-090000").metrics["accuracy"]  # doctest: +SKIP
    """
    model, folder = _open(arguments.run, arguments.device, arguments.trust)
    request = DataRequest(arguments.data, arguments.target, arguments.skip_bad, max_pixels=arguments.max_pixels)
    selected = run_rows(folder, model.preprocessing, request, arguments.split)
    targets = targets_for(selected, model.task, model.classes)
    more = FurtherMetrics.named(arguments.metrics, model.task, model.classes)
    dtype = _dtype(model)
    source = Converted(ReadInputs(selected.inputs), (dtype,) * len(selected.inputs.layout))
    objective = supervised(model.task, len(model.classes) or targets.shape[1], scale=model.target_scale)
    # The network, not the model: where numbers are learned in a standard scale they are measured in it.
    scaled = model.target_scale.standardised(targets) if model.target_scale else targets
    precision = folder.settings().precision
    with (arguments.reporter or Reporter()).rows(len(source), "measuring") as progress:
        metrics = evaluation.evaluate(
            by_position(model.network, model.layout),
            objective,
            source,
            scaled,
            batch_size=arguments.batch_size,
            precision=precision,
            progress=progress,
        )
    if more.chosen:
        metrics |= more.measured(model.values(selected.inputs, arguments.batch_size), targets)
    notes = (*selected.notes, *more.notes(targets))
    return Evaluation(str(arguments.run), selected.name, selected.split, len(selected.numbers), metrics, notes)


@takes(PredictArguments)
def predict_run(arguments: PredictArguments) -> Predictions:
    """Return what a trained run predicts for the rows of `data`, in the order of the data set.

    Of images, all are rows, wherever they lie: `data` may be one file, a folder of any shape, a list of files, arrays.

    Raises:
        RunError: the run is damaged, of another version, or predicts nothing.
        DataError: data that cannot be read or that the run was not made for.
        UsageError: Monte-Carlo dropout with one pass or without a dropout in the model.
    """
    model, folder = _open(arguments.run, arguments.device, arguments.trust)
    batch_size, split = arguments.batch_size, arguments.split
    request = DataRequest(
        arguments.data,
        skip_bad=arguments.skip_bad,
        without_targets=split == "all",
        max_pixels=arguments.max_pixels,
    )
    selected = run_rows(folder, model.preprocessing, request, split)
    uncertainty = None
    passes, listener = arguments.mc_dropout, arguments.reporter or Reporter()
    with listener.rows(len(selected.inputs) * (passes or 1), "predicting") as progress:
        if passes:
            how: dict[str, Any] = {"batch_size": batch_size, "seed": arguments.seed, "progress": progress}
            sampled = sample_predictions(model, selected.inputs, passes, **how)
            values, uncertainty = sampled.mean, sampled.uncertainty.float()
        else:
            values = model.values(selected.inputs, batch_size, progress)
    names, notes = selected.inputs.names(), selected.notes
    shown = (str(arguments.run), selected.name, split, model.task, model.classes, selected.numbers)
    values = values if model.target_scale else values.float()
    return Predictions(*shown, values, names, notes, uncertainty)


predict, evaluate = predict_run, evaluate_run  # as `reuse` has them


def _numbered(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name} {i + 1}" for i in range(count)]


def _open(run: str | Path, device: str, trust: bool) -> tuple[SavedModel, RunFolder]:
    chosen = choose_device(device)
    model = load_model(run, trust=trust)
    return model.to(chosen), RunFolder.open(run)


def _dtype(model: SavedModel) -> torch.dtype:
    return next((p.dtype for p in model.parameters()), torch.float32)
