"""One architecture of a sweep: its frozen layers cached, and heads with initial weights from several seeds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from reuse.data.dataset import Dataset
from reuse.data.rows import Picked, Rows
from reuse.devices import Compute, dtype_name
from reuse.errors import CutError, UsageError
from reuse.features.feeding import Feed, feed_activations
from reuse.features.preparing import CacheSettings, Prepared, describe_plan, prepare
from reuse.heads.fitting import Measured
from reuse.layers.freezing import Freezing
from reuse.nn.specs import add_layers
from reuse.objectives.objective import Objective
from reuse.reporting import Reporter
from reuse.searching.folds import Division
from reuse.searching.grid import head_widths
from reuse.seeding import seed_everything
from reuse.setup.finetuning import Origins, Task, freeze_layers, restored_model
from reuse.setup.running import make_recipe
from reuse.training.state import copied, live_tensors


@dataclass(frozen=True)
class Architecture:
    """What all heads of one architecture have in common.

    Attributes:
        head: as the user named it.
        task: with the settings of its model.
        model: restored, with its frozen layers.
        origins: which layers are restored and which fresh.
        freezing: what is frozen.
        prepared: the cut.
        feed: the cached activations, and what the heads are copies of.
        starts: initial weights by seed.
    """

    head: str
    task: Task
    model: nn.Module
    origins: Origins
    freezing: Freezing
    prepared: Prepared
    feed: Feed
    starts: dict[int, dict[str, Tensor]]

    @property
    def network(self) -> nn.Module:
        """What gives outputs from cached activations."""
        assert isinstance(self.feed.network, nn.Module)
        return self.feed.network

    @property
    def frontier(self) -> list[dict[str, Any]]:
        """Name, shape and type of each tensor at the cut, as it is stored."""
        stored = self.prepared.stored
        return [{"name": f.name, "shape": list(f.shape), "dtype": dtype_name(f.dtype)} for f in stored]

    def rows(self, split: str) -> tuple[Rows, Tensor]:
        """Return the cached rows of a split and their targets."""
        source, targets = self.feed.splits[split]
        assert targets is not None
        return source, targets


def model_spec(spec: str, head: str) -> str:
    """Return a model's spec with the layers that a head adds.

    Raises:
        UsageError: no layers can be added to such a model.
    """
    widths = head_widths(head)
    return spec if widths is None else add_layers(spec, widths)


def build_architecture(
    head: str,
    task: Task,
    data: Dataset,
    objective: Objective,
    compute: Compute,
    cache: CacheSettings,
    seeds: Sequence[int],
    reporter: Reporter,
) -> Architecture:
    """Build, restore, freeze, cut and cache; the frozen layers are those of the first seed throughout.

    Raises:
        UsageError: the model cannot be cut, so that there is nothing that heads could share.
    """
    task = _with_head(task, head)
    model, origins, freezing = _built(task, seeds[0], compute, reporter)
    starts = {seeds[0]: copied(live_tensors(model))}
    for seed in seeds[1:]:
        starts[seed] = copied(live_tensors(_built(task, seed, compute, Reporter())[0]))
    try:
        prepared = prepare(model, data, objective, compute, cache, task.settings["epochs"])
    except CutError as error:
        raise UsageError(
            f"a sweep trains heads on what frozen layers have computed once, and there is no such part: {error}. Name "
            "the layers with freeze, or use finetune for each setting"
        ) from error
    reporter.line(describe_plan(prepared)[0])
    feed = feed_activations(prepared, data, compute, reporter)
    return Architecture(head, task, model, origins, freezing, prepared, feed, starts)


def rows_to_train(architecture: Architecture, divisions: Sequence[Division]) -> tuple[tuple[Rows, Tensor], Tensor]:
    """Return the rows from which any head learns, their targets, and which they are of the pool's."""
    source, targets = architecture.rows("train")
    every = torch.stack([division.train for division in divisions]).any(0)
    if bool(every.all()):
        return (source, targets), every
    positions = every.nonzero()[:, 0]
    return (Picked(source, positions.to(source.device)), targets[positions.to(targets.device)]), every


def rows_to_measure(architecture: Architecture, divisions: Sequence[Division]) -> Measured:
    """Return the rows on which heads are validated, one division a head."""
    source, targets = architecture.rows("train")
    chosen = torch.stack([division.valid for division in divisions])
    positions = chosen.any(0).nonzero()[:, 0]
    picked = Picked(source, positions.to(source.device))
    return Measured(picked, targets[positions.to(targets.device)], chosen[:, positions])


def _with_head(task: Task, head: str) -> Task:
    if head_widths(head) is None:
        return task
    settings = {**task.settings, "model": model_spec(task.settings["model"], head)}
    recipe, vectors = make_recipe(settings, task.data)
    return replace(task, settings=settings, recipe=recipe, vectors=vectors)


def _built(task: Task, seed: int, compute: Compute, reporter: Reporter) -> tuple[nn.Module, Origins, Freezing]:
    seed_everything(seed)
    model, origins = restored_model(task, reporter)
    model.to(compute.device, compute.dtype)
    return model, origins, freeze_layers(model, task.settings, origins.fresh, reporter)
