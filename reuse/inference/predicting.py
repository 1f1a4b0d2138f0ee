"""Predictions of a trained run, and its metrics on any data."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reuse.data.inputs import ReadInputs
from reuse.data.rows import Converted
from reuse.devices import choose_device
from reuse.errors import UsageError
from reuse.inference.sampling import sample_predictions
from reuse.inference.selecting import DataRequest, run_rows, targets_for
from reuse.objectives.supervised import supervised
from reuse.runs.folder import RunFolder
from reuse.runs.models import SavedModel, load_model
from reuse.training.evaluation import evaluate


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a run on some rows.

    Attributes:
        run: the run folder.
        data: name of the data.
        split: train, valid, test or all.
        rows: their number.
        metrics: `loss` and `accuracy`, `macro_f1`, or `mse`, `r2`; without penalties.
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

    def lines(self) -> Iterator[list[Any]]:
        """Yield a list of cells a row: number, file, what is predicted, the probability of each class, uncertainty."""
        uncertain = [[]] * len(self.numbers) if self.uncertainty is None else self.uncertainty.tolist()
        for place, (number, values) in enumerate(zip(self.numbers.tolist(), self.values.tolist(), strict=True)):
            cells = [number, self.files[place]] if self.files else [number]
            predicted = [] if self.task == "regression" else [self._named(values)]
            yield [*cells, *predicted, *(float(f"{value:.7g}") for value in (*values, *uncertain[place]))]

    def _named(self, values: list[float]) -> str:
        if self.task == "classification":
            return self.classes[int(np.argmax(values))]
        return ";".join(name for name, value in zip(self.classes, values, strict=True) if value > 0.5)  # noqa: PLR2004, RUF100


def evaluate_run(
    run: str | Path,
    *,
    data: Any = None,
    target: str | None = None,
    split: str | None = None,
    batch_size: int = 256,
    device: str = "auto",
    skip_bad: bool = False,
    trust: bool = False,
) -> Evaluation:
    """Measure a trained run.

    Args:
        run: the run folder.
        data: a data spec or arrays; None: the run's own data, split as it was for the run.
        target: the target column of a table; None: the run's.
        split: test, valid, train or all; None: test for the run's own data and for data that brings its own test split,
            else all.
        batch_size: rows at a time.
        device: auto, cpu, cuda, cuda:N or mps.
        skip_bad: set broken images aside instead of stopping.
        trust: let a run that names a `package.module:callable` import and call it.

    Raises:
        RunError: the run is damaged, of another version, or predicts nothing.
        DataError: data that cannot be read or that the run was not made for; classes that it does not know are named.

    Example:
        >>> evaluate_run("runs/finetune-20261121-090000").metrics["accuracy"]  # doctest: +SKIP
    """
    model, folder = _open(run, device, batch_size, trust)
    selected = run_rows(folder, model.preprocessing, DataRequest(data, target, skip_bad), split)
    targets = targets_for(selected, model.task, model.classes)
    dtype = _dtype(model)
    source = Converted(ReadInputs(selected.inputs), (dtype,))
    objective = supervised(model.task, len(model.classes) or targets.shape[1])
    targets = targets.to(dtype) if targets.is_floating_point() else targets
    precision = folder.settings().precision
    metrics = evaluate(model, objective, source, targets, batch_size=batch_size, precision=precision)
    return Evaluation(str(run), selected.name, selected.split, len(selected.numbers), metrics, selected.notes)


def predict_run(
    run: str | Path,
    *,
    data: Any,
    split: str = "all",
    batch_size: int = 256,
    device: str = "auto",
    skip_bad: bool = False,
    mc_dropout: int = 0,
    seed: int = 0,
    trust: bool = False,
) -> Predictions:
    """Return what a trained run predicts for the rows of `data`, in the order of the data set.

    Args:
        run: the run folder.
        data: a data spec or arrays; labels are not needed and not looked at.
        split: all, or test, valid, train: the user's own, or drawn as for a training, for which labels are needed.
        batch_size: rows at a time.
        device: auto, cpu, cuda, cuda:N or mps.
        skip_bad: set broken images aside instead of stopping.
        mc_dropout: how many times to predict with dropout at work (Monte-Carlo dropout, Gal & Ghahramani 2016): the
            mean is predicted, and a column says how uncertain it is, by entropy of classes or by standard deviation of
            numbers; 0 predicts once without dropout.
        seed: of what is dropped.
        trust: let a run that names a `package.module:callable` import and call it.

    Raises:
        RunError: the run is damaged, of another version, or predicts nothing.
        DataError: data that cannot be read or that the run was not made for.
        UsageError: Monte-Carlo dropout with one pass or without a dropout in the model.
    """
    model, folder = _open(run, device, batch_size, trust)
    outside = DataRequest(data, skip_bad=skip_bad, without_targets=split == "all")
    selected = run_rows(folder, model.preprocessing, outside, split)
    uncertainty = None
    if mc_dropout:
        sampled = sample_predictions(model, selected.inputs, mc_dropout, batch_size=batch_size, seed=seed)
        values, uncertainty = sampled.mean, sampled.uncertainty.float()
    else:
        values = model.predict(selected.inputs, batch_size)
    names, notes = selected.inputs.names(), selected.notes
    shown = (str(run), selected.name, split, model.task, model.classes, selected.numbers)
    return Predictions(*shown, values.float(), names, notes, uncertainty)


def _numbered(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name} {i + 1}" for i in range(count)]


def _open(run: str | Path, device: str, batch_size: int, trust: bool) -> tuple[SavedModel, RunFolder]:
    if batch_size < 1:
        raise UsageError(f"batch size is {batch_size}: give a whole number of 1 or more")
    chosen = choose_device(device)
    model = load_model(run, trust=trust)
    return model.to(chosen), RunFolder.open(run)


def _dtype(model: SavedModel) -> torch.dtype:
    return next((p.dtype for p in model.parameters()), torch.float32)
