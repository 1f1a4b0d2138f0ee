"""Members of an ensemble: trained runs and fitted scikit-learn models, and the rows that they all may be judged on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reuse.data.inputs import Inputs
from reuse.data.matching import targets_for
from reuse.devices import choose_device
from reuse.errors import DataError, UsageError
from reuse.inference.selecting import DataRequest, SelectedRows, run_rows
from reuse.paths import from_home
from reuse.runs.folder import MANIFEST, RunFolder
from reuse.runs.models import SavedModel, load_model
from reuse.runs.snapshots import FOLDER as SNAPSHOTS
from reuse.runs.snapshots import snapshot_epochs, snapshot_models
from reuse.settings.files import ARRAYS
from reuse.units import verb_of


@dataclass(frozen=True)
class Member:
    """A member of an ensemble: a trained run or a fitted scikit-learn model.

    Attributes:
        name: the run folder, or the class of a scikit-learn model.
        model: of the run; for a scikit-learn model that of the first run, whose preprocessing and classes it shares.
        folder: of the run that `model` is from.
        estimator: a fitted scikit-learn model, or None.
    """

    name: str
    model: SavedModel
    folder: RunFolder
    estimator: Any = None

    def predict(self, inputs: Inputs, batch_size: int) -> Tensor:
        """Return probabilities or numbers, float64 `(rows, outputs)`."""
        if self.estimator is None:
            return self.model.values(inputs, batch_size).double()
        parts = torch.split(torch.arange(len(inputs)), batch_size)
        rows = [torch.cat([tensor.flatten(1) for tensor in inputs.gather(part)], 1).numpy() for part in parts]
        return torch.cat([estimator_predictions(self.estimator, some, self.model) for some in rows])


def find_members(runs: Sequence[Any], device: str, trust: bool) -> list[Member]:
    """Return runs and scikit-learn models as members of one ensemble.

    Args:
        runs: run folders; the folder `snapshots` of a run, which stands for all that are in it; and fitted scikit-learn
            models with `predict_proba` (for numbers, `predict`). These take what the first run's preprocessing makes of
            a row, flattened.
        device: auto, cpu, cuda, cuda:N or mps.
        trust: let runs that name a `package.module:callable` import and call it.

    Raises:
        UsageError: no run, or runs of different tasks or classes.
        RunError: a run that is damaged or predicts nothing.
    """
    chosen = choose_device(device)
    found = [_trained(run, trust) if isinstance(run, str | Path) else [] for run in runs]
    trained = [member for members in found for member in members]
    if not trained:
        raise UsageError("an ensemble needs a run: give run folders, beside which scikit-learn models may stand")
    first = trained[0]
    for member in trained:
        member.model.to(chosen)
        _check_alike(first, member)
    estimators = [[Member(type(run).__name__, first.model, first.folder, run)] for run in runs]
    return [member for some, other in zip(found, estimators, strict=True) for member in some or other]


def _trained(run: str | Path, trust: bool) -> list[Member]:
    """Return a run as a member, or the snapshots in a folder of them as several."""
    path = from_home(run)
    if path.name != SNAPSHOTS or not (path.parent / MANIFEST).exists():
        return [Member(str(run), load_model(run, trust=trust), RunFolder.open(run))]
    folder, models = RunFolder.open(path.parent), snapshot_models(path.parent, trust=trust)
    named = zip(snapshot_epochs(folder), models, strict=True)
    return [Member(f"{run} of epoch {epoch}", model, folder) for epoch, model in named]


@dataclass(frozen=True)
class CommonRows:
    """Rows that belong to one split for all members.

    Attributes:
        selected: for each member, its rows of the split.
        places: for each member, the positions of the common rows among its own.
        numbers: the common rows' numbers in the data set, ascending.
        notes: lines worth reading.
    """

    selected: list[SelectedRows]
    places: list[Tensor]
    numbers: np.ndarray
    notes: tuple[str, ...]

    @property
    def names(self) -> list[str] | None:
        """The names of the rows, such as their files, or None."""
        names = self.selected[0].inputs.names()
        return None if names is None else [names[place] for place in self.places[0].tolist()]

    def predict(self, member: Member, place: int, batch_size: int) -> Tensor:
        """Return what a member predicts for the common rows, prepared as for the member number `place`."""
        return member.predict(self.selected[place].inputs, batch_size)[self.places[place]]

    def predict_all(self, members: Sequence[Member], batch_size: int) -> list[Tensor]:
        """Return what each member predicts for the common rows, float64 `(rows, outputs)`."""
        return [self.predict(member, place, batch_size) for place, member in enumerate(members)]

    def targets(self, members: Sequence[Member]) -> Tensor:
        """Return the targets, in the numbering of the members' outputs.

        Raises:
            DataError: there are none, or the members' data say different things of the same rows.
        """
        found = [
            targets_for(rows, member.model.task, member.model.classes)[places]
            for member, rows, places in zip(members, self.selected, self.places, strict=True)
        ]
        for member, targets in zip(members, found, strict=True):
            if not torch.equal(targets, found[0]):
                raise DataError(
                    f"{members[0].name} and {member.name} give the same rows other targets: their data differ"
                )
        return found[0]


def find_rows(members: Sequence[Member], data: DataRequest, split: str | None) -> CommonRows:
    """Return the rows that belong to `split` for all members: no run has then trained on a row that another kept back.

    Args:
        members: of one ensemble.
        data: the data; the runs' own where it names none.
        split: as `evaluate_run` takes it.

    Raises:
        UsageError: runs of different data, where none is named.
        DataError: no row belongs to the split for all of them, or data that does not fit them.
    """
    selected: list[SelectedRows] = []
    for member in members:
        known = next((s for m, s in zip(members, selected, strict=False) if m.folder == member.folder), None)
        selected.append(known or run_rows(member.folder, member.model.preprocessing, data, split))
    _check_same_data(members, selected)
    numbers = reduce(np.intersect1d, [rows.numbers for rows in selected])
    name, largest = selected[0].split, max(len(rows.numbers) for rows in selected)
    if len(numbers) == 0:
        raise DataError(f"no row is in the {name} split of all runs: train them with the same split_seed")
    notes = list(dict.fromkeys(note for rows in selected for note in rows.notes))
    if len(numbers) < largest:
        notes.append(
            f"{len(numbers)} of {largest} rows {verb_of(len(numbers), 'is', 'are')} in the {name} split of all "
            "runs: only these count"
        )
    return CommonRows(selected, [_places(rows, numbers) for rows in selected], numbers, tuple(notes))


def own_data(members: Sequence[Member], data: Any) -> DataRequest:
    """Return where the validation rows are: in the runs' own data, which must be given again where it was arrays."""
    arrays = members[0].folder.settings().data == ARRAYS
    return DataRequest(data if arrays and not isinstance(data, str | Path) else None)


def estimator_predictions(estimator: Any, rows: np.ndarray, model: SavedModel) -> Tensor:
    """Return a scikit-learn model's probabilities in the order of the model's classes, or its numbers.

    Raises:
        UsageError: it knows other classes, or gives no probabilities.
    """
    if model.task == "regression":
        return torch.as_tensor(np.asarray(estimator.predict(rows), np.float64)).reshape(len(rows), -1)
    name = type(estimator).__name__
    if model.task != "classification" or not hasattr(estimator, "predict_proba"):
        raise UsageError(f"{name} gives no probabilities of {model.task}: take a classifier with predict_proba")
    probabilities = np.asarray(estimator.predict_proba(rows), np.float64)
    known = [str(known) for known in estimator.classes_]
    numbers = [str(number) for number in range(len(model.classes))]
    order = list(model.classes) if set(known) == set(model.classes) else numbers
    if set(known) != set(order):
        raise UsageError(
            f"{name} was fitted to the classes {', '.join(known)}, and the runs know {', '.join(model.classes)}: fit "
            "it to these names or to their numbers from 0"
        )
    return torch.from_numpy(probabilities[:, [known.index(called) for called in order]])


def _check_alike(first: Member, other: Member) -> None:
    for what in ("task", "classes"):
        one, two = getattr(first.model, what), getattr(other.model, what)
        if one != two:
            raise UsageError(f"{first.name} and {other.name} differ in {what}: {_said(one)}, and {_said(two)}")


def _said(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else ", ".join(value)


def _check_same_data(members: Sequence[Member], selected: Sequence[SelectedRows]) -> None:
    for member, rows in zip(members, selected, strict=True):
        if rows.name != selected[0].name:
            raise UsageError(
                f"{members[0].name} was trained on {selected[0].name} and {member.name} on {rows.name}: give data to "
                "measure all of them on"
            )


def _places(rows: SelectedRows, numbers: np.ndarray) -> Tensor:
    """Return where in `rows` the rows `numbers` are."""
    order = np.argsort(rows.numbers, kind="stable")
    return torch.from_numpy(order[np.searchsorted(rows.numbers, numbers, sorter=order)])
