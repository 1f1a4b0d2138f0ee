"""Targets of other data in the numbering of a model: its classes and labels are found by name."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from reuse.errors import DataError


class Labelled(Protocol):
    """Rows with targets, as they are encoded in their own data.

    Attributes:
        name: what the user calls the data.
        targets: one a row; None without any.
        task: of the data.
        classes: names of classes or labels in the data.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def targets(self) -> Tensor | None: ...  # noqa: D102
    @property
    def task(self) -> str: ...  # noqa: D102
    @property
    def classes(self) -> tuple[str, ...]: ...  # noqa: D102


@dataclass(frozen=True)
class Found:
    """Rows that are `Labelled`."""

    name: str
    targets: Tensor | None
    task: str
    classes: tuple[str, ...]


def targets_for(selected: Labelled, task: str, classes: tuple[str, ...]) -> Tensor:
    """Return the targets in the numbering of a model: its classes are found by name.

    Args:
        selected: the rows.
        task: of the model.
        classes: of the model, in the order of its outputs.

    Raises:
        DataError: no targets, another task, or classes that the model does not know.
    """
    if selected.targets is None:
        raise DataError(f"{selected.name} has no labels to measure with: name them, for a table with --target NAME")
    if task == "regression" and selected.task == "classification":
        return _as_numbers(selected, selected.targets)
    if task == "multilabel" and selected.task == "classification" and set(selected.classes) <= set(classes):
        return _as_labels(selected, selected.targets, classes)
    if selected.task != task:
        raise DataError(f"{selected.name} holds targets for {selected.task}, and the run is for {task}")
    if task == "regression":
        return selected.targets
    unknown = [name for name in _occurring(selected) if name not in classes]
    if unknown:
        raise DataError(
            f"{selected.name} holds classes that the run does not know: {', '.join(unknown)}; it knows "
            f"{', '.join(classes)}: leave the others out of the data"
        )
    if task == "multilabel":
        return selected.targets[:, _positions(classes, selected)]
    places = [classes.index(name) if name in classes else -1 for name in selected.classes]
    return torch.tensor(places)[selected.targets]


def _positions(labels: tuple[str, ...], selected: Labelled) -> list[int]:
    missing = [name for name in labels if name not in selected.classes]
    if missing:
        raise DataError(f"{selected.name} does not say {', '.join(missing)}, labels that the run predicts: add them")
    return [selected.classes.index(name) for name in labels]


def _occurring(selected: Labelled) -> list[str]:
    """Return the classes of which there are rows; of labels, all."""
    if selected.task != "classification" or selected.targets is None:
        return list(selected.classes)
    return [selected.classes[number] for number in torch.unique(selected.targets).tolist()]


def _as_labels(selected: Labelled, targets: Tensor, labels: tuple[str, ...]) -> Tensor:
    """Return as labels `(rows, labels)` what looked like classes, as each of the rows has exactly one."""
    places = torch.tensor([labels.index(name) for name in selected.classes])
    return one_hot(places[targets], len(labels)).float()


def _as_numbers(selected: Labelled, targets: Tensor) -> Tensor:
    """Return as numbers `(rows, 1)` what looked like classes, being few different whole numbers."""
    try:
        values = torch.tensor([float(name) for name in selected.classes], dtype=torch.float64)
    except ValueError as error:
        raise DataError(f"{selected.name} holds classes, and the run predicts numbers: name another target") from error
    return values[targets][:, None]
