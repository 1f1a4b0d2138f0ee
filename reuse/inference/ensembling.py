"""Ensembles: several trained models that predict together, by the mean of their predictions or by a fitted mix."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from reuse.data.rows import Resident
from reuse.data.targets import TargetScale
from reuse.errors import UsageError
from reuse.inference.members import Member, find_members, find_rows, own_data
from reuse.inference.metrics import FurtherMetrics
from reuse.inference.pooling import SMALLEST, average_predictions, fit_weights, shares_of
from reuse.inference.predicting import Evaluation, Predictions
from reuse.inference.selecting import DataRequest
from reuse.objectives.supervised import supervised
from reuse.settings.calling import takes
from reuse.settings.uses import EnsembleArguments
from reuse.training.evaluation import evaluate
from reuse.units import format_count


@dataclass(frozen=True)
class EnsembleResult(Evaluation):
    """Metrics of an ensemble, whose `run` names all members, and of each member on the same rows.

    Attributes:
        members: `run`, `weight` and `metrics` of each.
    """

    members: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Ensemble:
    """Several models that predict together, each with a weight.

    Attributes:
        members: the models.
        weights: one a member, from 0, of sum 1.
        batch_size: rows at a time.
    """

    members: tuple[Member, ...]
    weights: tuple[float, ...]
    batch_size: int = 256

    @property
    def task(self) -> str:
        """Classification, multilabel or regression."""
        return self.members[0].model.task

    @property
    def name(self) -> str:
        """The names of the members."""
        return " + ".join(member.name for member in self.members)

    def evaluate(
        self,
        data: Any = None,
        *,
        target: str | None = None,
        split: str | None = None,
        skip_bad: bool = False,
        metrics: Sequence[str] = (),
    ) -> EnsembleResult:
        """Measure the ensemble and each member; arguments as `evaluate_run`.

        Runs that were split differently are measured on the rows that belong to the split for all of them.

        Raises:
            DataError: there are no such rows, or data that does not fit the runs.
        """
        first = self.members[0].model
        more = FurtherMetrics.named((metrics,) if isinstance(metrics, str) else metrics, self.task, first.classes)
        rows = find_rows(self.members, DataRequest(data, target, skip_bad), split)
        predicted, targets = rows.predict_all(self.members, self.batch_size), rows.targets(self.members)

        def measured(values: Tensor) -> dict[str, float]:
            return measure(self.task, values, targets, first.target_scale) | more.measured(values, targets)

        each = [
            {"run": member.name, "weight": weight, "metrics": measured(values)}
            for member, weight, values in zip(self.members, self.weights, predicted, strict=True)
        ]
        selected, found = rows.selected[0], measured(average_predictions(predicted, self.weights))
        where = (self.name, selected.name, selected.split, len(rows.numbers))
        return EnsembleResult(*where, found, (*rows.notes, *more.notes(targets)), tuple(each))

    def predict(self, data: Any, *, split: str = "all", skip_bad: bool = False) -> Predictions:
        """Return what the ensemble predicts for rows of `data`; arguments as `predict_run`."""
        outside = DataRequest(data, skip_bad=skip_bad, without_targets=split == "all")
        rows = find_rows(self.members, outside, split)
        values = average_predictions(rows.predict_all(self.members, self.batch_size), self.weights)
        values = values if self.task == "regression" else values.float()
        shown = (self.name, rows.selected[0].name, split, self.task, self.members[0].model.classes, rows.numbers)
        return Predictions(*shown, values, rows.names, rows.notes)


def ensemble_runs(
    runs: Sequence[Any],
    *,
    weights: Sequence[float] | None = None,
    mix: bool = False,
    data: Any = None,
    batch_size: int = 256,
    device: str = "auto",
    trust: bool = False,
) -> Ensemble:
    """Return an ensemble that predicts the mean of the probabilities or numbers of several trained models.

    Their settings, seeds and kinds may differ; task and classes may not.

    Args:
        runs: run folders, folders `snapshots` of runs, which stand for all that are in them, and fitted scikit-learn
            models with `predict_proba` (for numbers, `predict`), which are given what the first run's preprocessing
            makes of a row, flattened.
        weights: how much each counts; None: all alike.
        mix: fit the weights on the validation rows, which belong to that split for all runs (see `fit_weights`).
        data: the arrays that the runs were trained on, for `mix`; a run keeps none.
        batch_size: rows at a time.
        device: auto, cpu, cuda, cuda:N or mps.
        trust: let runs that name a `package.module:callable` import and call it.

    Raises:
        UsageError: fewer than two members, tasks or classes that differ, or weights beside `mix`.
        RunError: a run that is damaged or predicts nothing.

    Example:
        >>> ensemble = ensemble_runs(["runs/a", "runs/b"], mix=True)  # doctest: +SKIP
        >>> ensemble.evaluate().metrics["accuracy"]  # doctest: +SKIP
    """
    if batch_size < 1:
        raise UsageError(f"batch size is {batch_size}: give a whole number of 1 or more")
    if mix and weights is not None:
        raise UsageError("weights and mix exclude each other: mix fits the weights")
    members = tuple(find_members(runs, device, trust))
    if len(members) < 2:
        raise UsageError(
            f"an ensemble of {format_count(len(members), 'member')}: give two runs or more, or a run's folder snapshots"
        )
    if mix:
        rows = find_rows(members, own_data(members, data), "valid")
        fitted = fit_weights(rows.predict_all(members, batch_size), rows.targets(members), members[0].model.task)
        return Ensemble(members, fitted, batch_size)
    return Ensemble(members, shares_of(weights, len(members)), batch_size)


@takes(EnsembleArguments)
def evaluate_ensemble(arguments: EnsembleArguments) -> EnsembleResult:
    """Measure several trained runs together: the mean of their probabilities or numbers.

    Raises:
        UsageError: fewer than two runs, or tasks or classes that differ.
        RunError: a run that is damaged or predicts nothing.
        DataError: no row belongs to the split for all runs, or data that does not fit them.
    """
    ensemble = ensemble_runs(
        arguments.runs,
        mix=arguments.mix,
        data=arguments.data,
        batch_size=arguments.batch_size,
        device=arguments.device,
        trust=arguments.trust,
    )
    return ensemble.evaluate(
        arguments.data,
        target=arguments.target,
        split=arguments.split,
        skip_bad=arguments.skip_bad,
        metrics=arguments.metrics,
    )


def measure(task: str, predictions: Tensor, targets: Tensor, scale: TargetScale | None = None) -> dict[str, float]:
    """Return the metrics of probabilities or numbers `(rows, outputs)`, as the objective of the task has them.

    Args:
        task: "classification", "multilabel" or "regression".
        predictions: numbers in their own units.
        targets: as `targets_for` returns them.
        scale: in which the loss of numbers is measured; None: in their own units.
    """
    outputs = predictions
    if task == "classification":
        outputs = predictions.clamp(min=SMALLEST).log()
    elif task == "multilabel":
        outputs = predictions.logit(SMALLEST)
    elif scale is not None:
        outputs, targets = scale.standardised(predictions), scale.standardised(targets)
    objective = supervised(task, predictions.shape[1], scale=scale)
    return evaluate(lambda rows: rows, objective, Resident(outputs), targets, batch_size=4096)
