"""One architecture of a sweep: its frozen layers cached, and heads with initial weights from several seeds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from reuse.data.dataset import Dataset
from reuse.data.rows import Picked, Rows
from reuse.devices import Compute
from reuse.errors import CutError, UsageError
from reuse.features.choosing import Upcoming
from reuse.features.feeding import feed_activations
from reuse.features.planned import PlannedFeatures, describe_plan, half_steps, plan_features
from reuse.heads.fitting import Measured
from reuse.layers.freezing import Freezing
from reuse.nn.specs import add_layers
from reuse.objectives.objective import Objective
from reuse.reporting import Reporter
from reuse.searching.folds import Division
from reuse.searching.grid import head_widths
from reuse.seeding import seed_everything
from reuse.setup.finetuning import build_model
from reuse.setup.models import Origins, freeze_layers, make_recipe
from reuse.setup.tasks import Task
from reuse.training.feeds import Feed
from reuse.training.state import copied, live_tensors


@dataclass(frozen=True)
class Architecture:
    """The things that all heads of one architecture have in common.

    Attributes:
        head: as the user named it.
        task: with the settings of its model.
        model: restored, with its frozen layers.
        origins: which layers are restored and which fresh.
        freezing: what is frozen.
        features: the cut, and where its activations are.
        feed: the cached activations, and what the heads are copies of.
        starts: initial weights by seed.
    """

    head: str
    task: Task
    model: nn.Module
    origins: Origins
    freezing: Freezing
    features: PlannedFeatures
    feed: Feed
    starts: dict[int, dict[str, Tensor]]

    @property
    def network(self) -> nn.Module:
        """The module from cached activations to outputs."""
        assert isinstance(self.feed.network, nn.Module)
        return self.feed.network

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
    seeds: Sequence[int],
    reporter: Reporter,
) -> Architecture:
    """Build, restore, freeze, cut and cache; the frozen layers are those of the first seed throughout.

    Raises:
        UsageError: the model cannot be cut, so that there is nothing that heads could share.
    """
    task = _with_head(task, head)
    settings = task.settings
    model, origins, freezing, compute = _built(task, seeds[0], reporter)
    starts = {seeds[0]: copied(live_tensors(model))}
    for seed in seeds[1:]:
        starts[seed] = copied(live_tensors(_built(task, seed, Reporter())[0]))
    try:
        upcoming = Upcoming(settings.epochs, partial(half_steps, objective), comparable=False)
        features = plan_features(model, data, compute, settings, upcoming, hints=task.hints)
    except CutError as error:
        raise UsageError(
            f"a sweep trains heads on what frozen layers have computed once, and there is no such part: {error}. Name "
            "the layers with freeze, or use finetune for each setting"
        ) from error
    reporter.line(describe_plan(features)[0])
    feed = feed_activations(features, data, compute, reporter)
    return Architecture(head, task, model, origins, freezing, features, feed, starts)


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
    settings = replace(task.settings, model=model_spec(task.recipe.spec, head))
    return replace(task, settings=settings, recipe=make_recipe(settings, task.data, task.recipe.config))


def _built(task: Task, seed: int, reporter: Reporter) -> tuple[nn.Module, Origins, Freezing, Compute]:
    seed_everything(seed)
    model, origins, compute = build_model(task, reporter)
    return model, origins, freeze_layers(model, task.settings, origins.fresh, reporter), compute
