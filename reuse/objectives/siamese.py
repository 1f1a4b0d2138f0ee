"""Twins that map rows of one kind near each other: Hadsell, Chopra & LeCun 2006."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from reuse.data.dataset import Dataset
from reuse.data.pairs import PairedRows, PairList, read_pairs
from reuse.data.rows import Batch, Rows
from reuse.errors import UsageError
from reuse.objectives.objective import Network, Objective, labels_of
from reuse.objectives.pairs import ALMOST, build_embedding, check_kinds, draw_balanced, same_kind


@dataclass
class Siamese(Objective):
    """D² / 2 of pairs of one kind, max(0, m - D)² / 2 of others, a mean over pairs; D is the distance of their points.

    Without a file pairs are those of the rows of a batch, of one kind where their labels are equal: all of the rarer
    sort, as many of the other drawn at random. A batch without both has loss 0. With a file a batch is of its pairs, as
    they stand there, and labels are not needed; augmentation then changes the first of a pair.

    Attributes:
        margin: m, from which on pairs that are not of one kind are far enough from each other.
        size: numbers of a point.
        pairs: a file of lines `first,second,1` for pairs of one kind and `first,second,0` for others, such as two faces
            of one person or not; rows are called by their names, or by their numbers from 0 (see `read_pairs`).
    """

    margin: float = 1.0
    size: int = 32
    pairs: str | None = None
    whole_labels: ClassVar[bool] = True
    least_rows: ClassVar[int] = 2
    summary: ClassVar[str] = "map rows of one class, or of pairs in a file, near each other, others a margin apart"
    suits: ClassVar[tuple[str, ...]] = ("images", "tables", "sequences")
    paper: ClassVar[str] = "Hadsell et al. 2006, https://doi.org/10.1109/CVPR.2006.100"
    _listed: dict[str, PairList] = field(default_factory=dict, init=False, repr=False, compare=False)
    _straddling: int = field(default=0, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 < self.margin < math.inf:
            raise UsageError(f"the margin is {self.margin}: give more than 0, such as 1")

    @property
    def needs_labels(self) -> bool:  # type: ignore[override]
        """Whether batches must have targets: without a file of pairs."""
        return self.pairs is None

    @property
    def whole_batches(self) -> bool:  # type: ignore[override]
        """Whether rows of a whole batch are compared: those of a file come in pairs."""
        return self.pairs is None

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, and a linear layer to points behind it."""
        if self.pairs is None:
            check_kinds(data)
        else:
            self._listed, self._straddling = read_pairs(self.pairs, data)
            if not len(self._listed["train"]):
                raise UsageError(f"no pair of {self.pairs} is of two training rows: give smaller fractions of others")
        return build_embedding(model, data, self.size)

    def notes(self) -> tuple[str, ...]:
        """Return how many pairs there are, and how many are left out as their rows are in two splits."""
        if self.pairs is None:
            return ()
        told = ", ".join(f"{len(pairs):,} {split}" for split, pairs in self._listed.items())
        left = f"; {self._straddling:,} pairs of rows in two splits are left out" if self._straddling else ""
        return (f"pairs: {told}{left}",)

    def arrange(self, rows: Rows, targets: Tensor | None, split: str) -> tuple[Rows, Tensor | None]:
        """Return the rows, or the pairs of a file and whether they are of one kind."""
        if self.pairs is None:
            return rows, targets
        return PairedRows(rows, self._listed[split]), self._listed[split].same.to(rows.device)

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the mean over the pairs of a batch."""
        points, labels = network(*batch.inputs), labels_of(batch)
        if self.pairs is not None:
            left, right = points.tensor_split(2)
            return {"loss": self.errors(left, right, labels > 0).mean()}
        first, second = torch.triu_indices(len(points), len(points), 1, device=points.device)
        same = same_kind(labels)[first, second]
        errors, drawn = self.errors(points[first], points[second], same), draw_balanced(same)
        return {"loss": (errors * drawn).sum() / drawn.sum().clamp(min=1)}

    def errors(self, points: Tensor, others: Tensor, same: Tensor) -> Tensor:
        """Return the loss of each pair, `(pairs,)`, given the points of both and whether they are of one kind."""
        squared = (points - others).square().sum(1)
        apart = (self.margin - squared.clamp(min=ALMOST).sqrt()).clamp(min=0).square()
        return torch.where(same, squared, apart) / 2
