"""How a fine-tuning begins: the model with its source's weights, frozen, and everything refused that cannot be taken.

Tuning, its plan and the search for its rate all begin here, so that they refuse the same things; nothing is written.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from reuse.devices import Compute
from reuse.errors import UsageError
from reuse.layers.freezing import Freezing
from reuse.layers.selecting import select
from reuse.objectives.objective import Objective
from reuse.reporting import Reporter
from reuse.runs.folder import RunFolder
from reuse.setup.anchoring import kept_anchors, reused_weights
from reuse.setup.auto_freezing import check_auto_freeze, describe_auto_freeze
from reuse.setup.finetuning import Origins, Task, freeze_layers, restored_model
from reuse.setup.running import choose_compute, make_objective
from reuse.setup.trainers import equip
from reuse.training.phases import Phase, read_phases


@dataclass(frozen=True)
class Beginning:
    """What a fine-tuning begins with.

    Attributes:
        model: on its device and in its type, with the source's weights, frozen as in the first phase.
        origins: which of its layers hold the source's weights.
        freezing: what is frozen in the first phase.
        phases: which layers train from which epoch on.
        objective: what is minimised.
        compute: where and in which types.
        anchors: what `l2_sp` pulls towards, by name; empty without it.
    """

    model: nn.Module
    origins: Origins
    freezing: Freezing
    phases: list[Phase]
    objective: Objective
    compute: Compute
    anchors: dict[str, Tensor]


def begin(task: Task, reporter: Reporter, run: RunFolder | None = None) -> Beginning:
    """Build, restore and freeze the model of a fine-tuning, and check its settings.

    Args:
        task: what to work on.
        reporter: told what is restored and frozen.
        run: that is resumed, which brings all weights itself; None: a new one.

    Raises:
        UsageError: a setting cannot be taken; the message says why.
    """
    settings, data = task.settings, task.data
    phases = read_phases(settings["unfreeze"], settings["epochs"])
    compute = choose_compute(settings)
    objective = make_objective(settings, data)
    model, origins = restored_model(task, reporter, run is not None)
    model.to(compute.device, compute.dtype)
    freezing = freeze_layers(model, settings, () if run else origins.fresh, reporter)
    _check_phases(phases, model, freezing)
    _check_feature_noise(settings, freezing)
    check_auto_freeze(model, settings, resumed=run is not None)
    for line in describe_auto_freeze(settings):
        reporter.line(line)
    anchors = _anchors(model, settings, phases, origins, run)
    equip(model, objective, settings, data, anchors)
    return Beginning(model, origins, freezing, phases, objective, compute, anchors)


def _check_feature_noise(settings: Mapping[str, Any], freezing: Freezing) -> None:
    if settings["feature_noise"] and not freezing.parameters:
        raise UsageError("feature_noise changes what frozen layers compute, and none are: name layers with freeze")
    if settings["feature_noise"] and settings["augment"] and settings["views"] is None:
        raise UsageError("feature_noise changes what is computed once, and augment gives other rows: say views=5 too")


def _check_phases(phases: list[Phase], model: nn.Module, freezing: Freezing) -> None:
    """Raise where a pattern to unfreeze matches nothing, before hours are spent."""
    for phase in phases[1:]:
        matched = set(select(model, phase.unfrozen).parameters)
        if not matched & set(freezing.parameters):
            raise UsageError(
                f"unfreeze names {', '.join(phase.unfrozen)}, which is not frozen: name layers that --freeze freezes"
            )


def _anchors(
    model: nn.Module, settings: dict[str, Any], phases: list[Phase], origins: Origins, run: RunFolder | None
) -> dict[str, Tensor]:
    """Return the restored weights as they began, where something pulls towards them; a resumed run reads them again."""
    if settings["l2_sp"] is None:
        return {}
    later = [pattern for phase in phases for pattern in phase.unfrozen]
    return kept_anchors(run) if run else reused_weights(model, origins.restored, later)
