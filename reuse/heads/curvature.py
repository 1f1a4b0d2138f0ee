"""Curvature that many minimisations, side by side, have learnt of: limited-memory BFGS.

Nocedal & Wright, Numerical Optimization (2006), algorithm 7.4, for a stack of problems at once.
"""

import torch
from torch import Tensor

MEMORY = 10
"""The steps that are remembered: twice as many saved no iterations on features and pixels that were tried."""


class Curvature:
    """Memory of the last steps of each problem, and of how much each changed the gradient."""

    def __init__(self) -> None:
        self._pairs: list[tuple[Tensor, Tensor, Tensor]] = []  # steps, changes, and 1 / their product or 0

    def remember(self, steps: Tensor, changes: Tensor) -> None:
        """Add a step of each problem and the change of its gradient, both `(problems, numbers)`.

        A pair that shows no curvature, which happens where rounding is all that is left, is not used.
        """
        products = torch.linalg.vecdot(steps, changes)
        inverse = torch.where(products > 0, 1 / products, 0)
        self._pairs = [*self._pairs[-MEMORY + 1 :], (steps, changes, inverse)]

    def select(self, problems: Tensor) -> None:
        """Keep the problems of these numbers only."""
        self._pairs = [(some[problems], others[problems], inverse[problems]) for some, others, inverse in self._pairs]

    def descend(self, gradients: Tensor, guess: Tensor) -> Tensor:
        """Return the direction to step in.

        Args:
            gradients: `(problems, numbers)`.
            guess: of the diagonal of the inverse Hessian, up to a factor, as the gradients.
        """
        flow, amounts = -gradients, []
        for steps, changes, inverse in reversed(self._pairs):
            amounts.append(inverse * torch.linalg.vecdot(steps, flow))
            flow.addcmul_(changes, -amounts[-1].unsqueeze(1))
        flow *= guess if not self._pairs else guess * self._scale(guess)
        for (steps, changes, inverse), amount in zip(self._pairs, reversed(amounts), strict=True):
            rest = amount - inverse * torch.linalg.vecdot(changes, flow)
            flow.addcmul_(steps, rest.unsqueeze(1))
        return flow

    def _scale(self, guess: Tensor) -> Tensor:
        """Return the factor by which the guess fits the last step, `(problems, 1)`."""
        _, changes, inverse = self._pairs[-1]
        size = inverse * torch.linalg.vecdot(changes, guess * changes)
        return torch.where(size > 0, 1 / size, 1).unsqueeze(1)
