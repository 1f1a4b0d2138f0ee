"""Whether a gradient reaches every parameter that trains: one that none ever reaches stays as it is, unnoticed.

A forward may leave layers out by chance (LayerDrop, stochastic depth) or send rows past some of them, so that one step
proves nothing, unless the network that is trained does not hold the parameter at all.
"""

from collections.abc import Sequence

from torch import nn
from torch.nn import Parameter

from reuse.errors import ReuseError
from reuse.layers.randomness import RandomSources, States, same_states
from reuse.listing import some_of
from reuse.objectives.objective import Network
from reuse.training.turns import BoundTurn

ENOUGH = 20  # steps after which what chance leaves out would have been met

_SHOWN = 8  # names in one line


class GradientWatch:
    """Watch over the parameters that no gradient has reached yet.

    Args:
        model: whose forward may draw random numbers.
        network: what is called on a batch; a suffix holds what is in its graphs, and nothing else.
        turns: of a step, each with what it moves.
    """

    def __init__(self, model: nn.Module, network: Network, turns: Sequence[BoundTurn]) -> None:
        self._model, self._turns = model, turns
        self._held = {id(p) for p in network.parameters()} if isinstance(network, nn.Module) else None
        self.begin()

    @property
    def waits(self) -> bool:
        """Whether there are any."""
        return any(self._missed)

    def begin(self) -> None:
        """Wait for a gradient of every parameter, in each turn that moves it."""
        self._missed: list[Sequence[tuple[str, Parameter]]] = [turn.named_parameters for turn in self._turns]
        self._steps, self._draws = 0, False

    def random_states(self) -> States:
        """Return the states of what a forward may draw from."""
        return RandomSources(self._model).states()

    def look(self, number: int, before: States) -> None:
        """Look at the gradients that a turn has left.

        Args:
            number: of the turn in the step.
            before: `random_states` before its forward.

        Raises:
            ReuseError: a parameter without one can never get any; the message names it.
        """
        self._missed[number] = [(name, p) for name, p in self._missed[number] if p.grad is None]
        held = self._held
        if held is not None:
            _refuse([name for name, p in self._missed[number] if id(p) not in held], ", and none can")
        self._draws = self._draws or not same_states(before, self.random_states())
        self._steps += number == 0

    def end_epoch(self) -> None:
        """Take note that all rows have been learned from once.

        Raises:
            ReuseError: no gradient has reached a parameter; the message names it. Where random numbers are drawn, an
                epoch of few steps proves nothing.
        """
        if self.waits and (not self._draws or self._steps >= ENOUGH):
            names = dict.fromkeys(name for missed in self._missed for name, _ in missed)
            _refuse(list(names), " in a whole epoch")

    def end(self) -> None:
        """Wait no longer: something else has made sure of every gradient."""
        self._missed = [[] for _ in self._turns]


def _refuse(names: Sequence[str], when: str) -> None:
    if names:
        raise ReuseError(
            f"no gradient reached {some_of(names, _SHOWN)}{when}, so training would leave them as they are: "
            "freeze them if the network does not use them, or look for what cuts them off (detach, no_grad)"
        )
