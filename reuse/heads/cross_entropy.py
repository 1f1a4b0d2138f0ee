"""Penalised cross-entropies of many linear heads, and how they change along lines.

Logits lie as `(problems, classes, rows)`, less the logit of each row's own class. Losses and gradients of rows that are
told apart by a wide margin then keep all their digits, in float32 too: log(1 + Σ exp) and exp / Σ subtract nothing.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional


@dataclass
class Point:
    """Coefficients of some problems, and what comes of them; the first size of all is `problems`.

    Attributes:
        coefficients: `(problems, classes, axes)`.
        decays: the penalty on each coefficient, `(problems, 1, axes)`.
        shares: of each row in the mean, `(problems, rows)`.
        logits: less those of the rows' own classes, `(problems, classes, rows)`.
        misses: probabilities, less 1 for the rows' own classes, as the logits.
        values: of what is minimised, `(problems,)` float64.
        gradients: as the coefficients.
    """

    coefficients: Tensor
    decays: Tensor
    shares: Tensor
    logits: Tensor
    misses: Tensor
    values: Tensor
    gradients: Tensor

    def select(self, problems: Tensor) -> None:
        """Keep the problems of these numbers only."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name)[problems])

    def spreads(self) -> Tensor:
        """Return the mean p (1 - p) of each class, above 0, `(problems, classes)`: how curved the cross-entropy is."""
        sizes = self.misses.abs()
        found = torch.bmm(sizes.addcmul_(self.misses, self.misses, value=-1), self.shares.unsqueeze(2)).squeeze(2)
        return found.clamp_min_(torch.finfo(found.dtype).eps)


class CrossEntropies:
    """Mean cross-entropies of rows, and penalties, of many problems: what is minimised.

    Args:
        scores: `(rows, axes)`, the last of them 1 for the intercept, which no penalty falls on.
        targets: class numbers, `(rows,)`.
        num_classes: how many there are.
        shares: of each row in the mean, `(sets, rows)`.
    """

    def __init__(self, scores: Tensor, targets: Tensor, num_classes: int, shares: Tensor) -> None:
        self.scores, self.shares = scores, shares
        self.columns = scores.mT.contiguous()
        self.targets = targets.unsqueeze(0)
        self.others = 1 - functional.one_hot(targets, num_classes).to(scores.dtype).mT.contiguous()

    def begin(self, sets: Tensor, penalties: Tensor) -> Point:
        """Return the point of heads that give each class its share in the rows, whatever the features.

        Args:
            sets: the row shares of each problem, `(problems,)` int64.
            penalties: of each problem.
        """
        axes = self.scores.shape[1]
        decays = penalties.reshape(-1, 1, 1).repeat(1, 1, axes)
        decays[..., -1] = 0
        shares = self.shares[sets]
        coefficients = decays.new_zeros(len(sets), len(self.others), axes)
        priors = (shares @ (1 - self.others).mT).clamp_min(1 / shares.shape[1]).log()
        coefficients[..., -1] = priors - priors.mean(1, keepdim=True)
        logits = self.logits(coefficients)
        values, misses = self.evaluate(logits, shares)
        point = Point(coefficients, decays, shares, logits, misses, values, torch.empty_like(coefficients))
        point.gradients = self.gradients(point)
        return point

    def logits(self, coefficients: Tensor) -> Tensor:
        """Return `(problems, classes, rows)`, less those of the rows' own classes."""
        logits = (coefficients.flatten(0, 1) @ self.columns).view(*coefficients.shape[:2], -1)
        own = self.targets.expand(len(logits), -1).unsqueeze(1)
        return logits.sub_(logits.gather(1, own))

    def evaluate(self, logits: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean cross-entropies `(problems,)` float64, and the misses."""
        highest = logits.amax(1, keepdim=True)  # from 0, which a row's own class has
        misses = (logits - highest).exp_().mul_(self.others)
        rest, own = misses.sum(1, keepdim=True), highest.neg().exp_()
        total = rest + own
        losses = highest + (rest + (own - 1)).log1p_()
        misses.div_(total).scatter_(1, self.targets.expand(len(logits), -1).unsqueeze(1), rest.neg_().div_(total))
        return torch.linalg.vecdot(losses[:, 0].double(), shares.double()), misses

    def gradients(self, point: Point) -> Tensor:
        """Return the gradients at a point by its coefficients."""
        weighted = (point.misses * point.shares.unsqueeze(1)).flatten(0, 1)
        return (weighted @ self.scores).view_as(point.coefficients).addcmul_(point.coefficients, point.decays)


class Line:
    """Line from a point along directions: logits change in proportion to the step, so that looking is cheap.

    Args:
        entropies: what is minimised.
        point: where the line begins.
        directions: as its coefficients.
    """

    def __init__(self, entropies: CrossEntropies, point: Point, directions: Tensor) -> None:
        self.entropies, self.point, self.directions = entropies, point, directions
        self.moves = entropies.logits(directions)
        decays, coefficients = point.decays, point.coefficients
        products = (coefficients * coefficients / 2, coefficients * directions, directions * directions / 2)
        self._constant, self._linear, self._square = (
            (decays * product).sum((1, 2), dtype=torch.float64) for product in products
        )
        self._values, self._misses = point.values.clone(), torch.empty_like(point.misses)

    def look(self, some: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Return values and slopes, `(some,)` float64, of the problems of these numbers at these steps."""
        every = len(some) == len(self.moves)
        point = self.point
        logits, moves, shares = (t if every else t[some] for t in (point.logits, self.moves, point.shares))
        reached = torch.addcmul(logits, moves, steps.to(moves.dtype).reshape(-1, 1, 1))
        losses, misses = self.entropies.evaluate(reached, shares)
        slopes = torch.linalg.vecdot((misses * moves).sum(1), shares).double()
        constant, linear, square = self._constant[some], self._linear[some], self._square[some]
        values = losses + constant + steps * (linear + steps * square)
        self._values[some] = values
        if every:
            self._misses = misses
        else:
            self._misses[some] = misses
        return values, slopes + linear + 2 * steps * square

    def go(self, steps: Tensor) -> None:
        """Move the point to the steps at which each problem was looked at last."""
        point, lengths = self.point, steps.to(self.moves.dtype).reshape(-1, 1, 1)
        point.coefficients = torch.addcmul(point.coefficients, self.directions, lengths)
        point.logits.addcmul_(self.moves, lengths)
        point.values, point.misses = self._values, self._misses
        point.gradients = self.entropies.gradients(point)
