"""The turns of a training step, bound to the parameters that they move; most objectives have one, which moves all."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch.nn import Parameter
from torch.optim import Optimizer

from reuse.errors import UsageError
from reuse.menus import lookup
from reuse.objectives.objective import Losses, Objective, Turn
from reuse.optim.optimizers import is_from_torch


@dataclass(frozen=True)
class BoundTurn:
    """A turn, and what it moves.

    Attributes:
        losses: from a network and a batch to named scalars.
        named_parameters: what it moves, with names.
        parameters: the same.
        others: whether there are parameters that others move: gradients must not reach these.
        share: what its loss counts for in the loss of the step: a turn that is taken twice counts half each time.
    """

    losses: Losses
    named_parameters: Sequence[tuple[str, Parameter]]
    parameters: Sequence[Parameter]
    others: bool
    share: float


def bind_turns(objective: Objective, named_parameters: Sequence[tuple[str, Parameter]]) -> list[BoundTurn]:
    """Return the turns of a step in the order in which they are taken, one as often as it says.

    Args:
        objective: what is minimised.
        named_parameters: what trains, with names.

    Raises:
        UsageError: parameters that no turn moves.
        UnknownNameError: a turn moves what there is not, or what is frozen.
    """
    bound, turns = list[BoundTurn](), objective.turns()
    for turn in turns:
        own = _moved(turn, named_parameters)
        held = BoundTurn(turn.losses, own, [p for _, p in own], len(own) < len(named_parameters), 1 / turn.times)
        bound += [held] * turn.times
    moved = {name for turn in bound for name, _ in turn.named_parameters}
    still = [name for name, _ in named_parameters if name not in moved]
    if still:
        kind = type(objective).__name__
        raise UsageError(f"no turn of {kind} moves {_children(still)}: name it in a turn's `moves`, or freeze it")
    return bound


def turn_rates(objective: Objective, named_parameters: Sequence[tuple[str, Parameter]]) -> dict[str, float]:
    """Return the multipliers of the rate that turns ask for, by parameter name; what is not named has 1.

    Raises:
        UsageError: two turns move a parameter at different rates.
    """
    rates: dict[str, float] = {}
    for turn in objective.turns():
        for name, _ in _moved(turn, named_parameters):
            if rates.setdefault(name, turn.rate) != turn.rate:
                raise UsageError(f"two turns move {name}, at rates {rates[name]} and {turn.rate}: give it one rate")
    return {name: rate for name, rate in rates.items() if rate != 1.0}


def check_turns(objective: Objective, optimizers: Sequence[Optimizer], *, sharpness: float, divided: bool) -> None:
    """Refuse what an objective of several turns, or one that acts after each step, cannot be trained with.

    Args:
        objective: what is minimised.
        optimizers: that train it, one after the other.
        sharpness: radius of sharpness-aware steps.
        divided: whether the parameters are divided among processes.

    Raises:
        UsageError: the message says what, and what to do.
    """
    kind, several = type(objective).__name__, len(objective.turns()) > 1
    if several and sharpness:
        raise UsageError(f"a sharpness-aware step goes uphill by one loss, and {kind} has turns: leave sharpness out")
    if divided and (several or acts_after_step(objective)):
        raise UsageError(f"{kind} works on whole parameters, and fsdp divides them: choose parallel=ddp")
    if several and not all(map(is_from_torch, optimizers)):
        raise UsageError(f"{kind} has turns, which torch's own optimizers keep apart: choose one, such as adam")


def acts_after_step(objective: Objective) -> bool:
    """Return whether an objective does anything after a step."""
    return type(objective).after_step is not Objective.after_step


def _moved(turn: Turn, named_parameters: Sequence[tuple[str, Parameter]]) -> list[tuple[str, Parameter]]:
    """Return what trains and is moved by a turn."""
    by_child = {name.partition(".")[0]: name for name, _ in named_parameters}
    for child in turn.moves:
        lookup(by_child, child, "child that trains")
    return [(name, p) for name, p in named_parameters if not turn.moves or name.partition(".")[0] in turn.moves]


def _children(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(name.partition(".")[0] for name in names))
