"""From what is given as an objective, a name of the menu or an object, to what is minimised."""

from dataclasses import fields, is_dataclass, replace
from typing import Any, cast

from reuse.data.dataset import Dataset
from reuse.errors import UsageError
from reuse.objectives.menu import parse_objective
from reuse.objectives.objective import Objective
from reuse.settings.files import OBJECT, objective_name
from reuse.settings.training import ObjectiveSettings


def check_objective(objective: Any) -> bool:
    """Check what was given as an objective before anything is read, and return whether it needs labels.

    Args:
        objective: a name of the menu, with its settings behind a colon, or an object.

    Raises:
        UsageError: it is neither, or is what settings say of an object that was not given again.
        UnknownNameError: there is no such name.
    """
    if isinstance(objective, str) and objective.startswith(OBJECT):
        raise UsageError(f"the objective was the object {objective.removeprefix(OBJECT)}: give it again as objective")
    if isinstance(objective, str):
        return parse_objective(objective).needs_labels
    if not isinstance(objective, Objective):
        is_class = isinstance(objective, type)
        given = f"the class {objective.__name__}" if is_class else f"of type {type(objective).__name__}"
        raise UsageError(
            f"the objective is {given}: give a name of `reuse pretrain --list`, or an object of a subclass of "
            "reuse.Objective, which has `losses`"
        )
    kind = type(objective)
    if kind.losses is Objective.losses and kind.turns is Objective.turns:
        raise UsageError(f"the objective {kind.__name__} has nothing to minimise: write its method `losses`")
    return objective.needs_labels


def choose_objective(settings: ObjectiveSettings, data: Dataset) -> Objective:
    """Return what is minimised.

    Args:
        settings: a name of the menu with its settings, or an object, which brings its own.
        data: what is learned from.

    Raises:
        UsageError: noise for an objective that adds none.
    """
    objective = settings.objective
    chosen: Any = parse_objective(objective).settled(data, settings) if isinstance(objective, str) else objective
    if settings.noise is not None:
        if not (is_dataclass(chosen) and "noise" in {field.name for field in fields(chosen)}):
            raise UsageError(
                f"noise is for autoencoders, and the objective is {objective_name(objective)}: leave it out"
            )
        chosen = replace(cast(Any, chosen), noise=settings.noise)
    assert isinstance(chosen, Objective)
    return chosen
