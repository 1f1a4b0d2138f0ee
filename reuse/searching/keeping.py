"""Keeping a head of a sweep as an ordinary fine-tuning run, which predicts and can be reused."""

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from reuse.data.dataset import Dataset
from reuse.data.rows import Picked, Rows
from reuse.errors import UsageError
from reuse.objectives.objective import Objective
from reuse.runs.folder import RunFolder
from reuse.runs.manifest import Manifest, PhaseRecord
from reuse.runs.results import Result
from reuse.runs.weights import save_weights
from reuse.searching.architectures import Architecture
from reuse.searching.folds import Division
from reuse.searching.table import Configuration
from reuse.settings.files import plain_settings
from reuse.setup.finetuning import begin_manifest
from reuse.training.evaluation import evaluate
from reuse.training.state import load_tensors

BEST = "best"
"""What may be kept, and the name of its folder in that of the sweep."""


def check_keep(keep: str | None) -> None:
    """Raise a UsageError unless a sweep can keep what it is told to."""
    if keep not in (None, BEST):
        raise UsageError(f"keep is {keep!r}: give {BEST}, or leave it out")


def keep_head(
    folder: Path,
    architecture: Architecture,
    configuration: Configuration,
    weights: dict[str, Tensor],
    division: Division | None,
    data: Dataset,
    objective: Objective,
    seconds: dict[str, float],
) -> Path:
    """Write a fine-tuning run with one head's weights; its optimizer's state is not kept, so it cannot be resumed.

    Args:
        folder: new or empty.
        architecture: of the head.
        configuration: its settings.
        weights: what trained.
        division: its rows of the pool; None: the splits as they are.
        data: the labelled rows.
        objective: what it was trained on.
        seconds: what the sweep took.
    """
    load_tensors(architecture.model, weights)
    run, task = RunFolder.create("finetune", folder), architecture.task
    applied = configuration.choice.applied(task.settings)
    settings = plain_settings(replace(applied, labels=configuration.labels, seed=configuration.seed))
    splits = _splits(architecture, division)
    save_weights(run, architecture.model)
    run.write_settings("finetune", settings)
    run.write_manifest(_manifest(architecture, data, configuration))
    result = Result(
        run=str(run.path),
        source=str(applied.source),
        settings=settings,
        epochs=configuration.best_epoch or 0,
        best_epoch=configuration.best_epoch or 0,
        sizes={name: len(source) for name, (source, _) in splits.items()},
        metrics={name: _measured(architecture, objective, *rows) for name, rows in splits.items()},
        seconds=seconds,
        frozen=architecture.freezing.layers,
        restored=architecture.origins.restored,
        fresh=architecture.origins.fresh,
        frontier=architecture.features.frontier,
        cache=architecture.feed.cache,
        notes=(f"head {configuration.number} of a sweep{configuration.choice.origin}",),
    )
    run.write_result(result.to_dict())
    return run.path


def _manifest(architecture: Architecture, data: Dataset, configuration: Configuration) -> Manifest:
    begun = begin_manifest(architecture.task, architecture.origins, data)
    phase = PhaseRecord(1, architecture.freezing.layers, architecture.features.frontier)
    return replace(begun, rows={}, phases=(phase,), swept=configuration.to_dict())


def _splits(architecture: Architecture, division: Division | None) -> dict[str, tuple[Rows, Tensor]]:
    splits = {name: architecture.rows(name) for name in architecture.feed.splits}
    if division is not None:
        source, targets = splits["train"]
        for name, mask in (("train", division.train), ("valid", division.valid)):
            positions = mask.nonzero()[:, 0]
            splits[name] = Picked(source, positions.to(source.device)), targets[positions.to(targets.device)]
    return splits


def _measured(architecture: Architecture, objective: Objective, source: Rows, targets: Tensor) -> dict[str, float]:
    if not len(source):
        return {}
    size = architecture.task.settings.batch_size
    return evaluate(architecture.network, objective, source, targets, batch_size=size, model=architecture.model)
