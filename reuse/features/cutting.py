"""The cut of a model for the epochs of a phase, found on a few rows of its data."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reuse.data.dataset import Dataset, Split, learned_targets
from reuse.devices import Compute, moved
from reuse.layers.cutting import Cut, cut
from reuse.layers.earlier import EarlierCut
from reuse.training.precision import autocast

SAMPLE_ROWS = 64  # that a cut is found on and measured with


@dataclass(frozen=True)
class Sample:
    """A few rows, as the model takes them.

    Attributes:
        inputs: `(rows, ...)`, on the device and in the type of `compute`.
        targets: of these rows; None where the data has none.
        split: which they are read from.
        compute: where and in which types.
    """

    inputs: Tensor
    targets: Tensor | None
    split: Split
    compute: Compute

    def read(self) -> Tensor:
        """Return the inputs, read and prepared once more."""
        return _inputs(self.split, len(self.inputs), self.compute)


def sample_rows(data: Dataset, compute: Compute) -> Sample:
    """Return the first training rows."""
    rows, targets = min(SAMPLE_ROWS, len(data.train)), learned_targets(data, data.train, compute)
    some = None if targets is None else targets[:rows].to(compute.device)
    return Sample(_inputs(data.train, rows, compute), some, data.train, compute)


def cut_model(model: nn.Module, sample: Sample, keep: Collection[str] = ()) -> Cut:
    """Return the prefix and suffix of a model, checked on the sample.

    Args:
        model: with its frozen layers.
        sample: rows to find and check the cut on.
        keep: signatures of the frontier of an earlier cut (see `reuse.layers.cutting.cut`); none: as deep as can be.

    Raises:
        CutError: the model cannot be cut; the message says why.
    """
    model.train()  # the key holds the modes of the prefix: always the same ones
    with autocast(sample.compute.precision, sample.compute.device):
        return cut(model, sample.inputs, keep=keep)


def cuts_of_phases(parts: Cut, later: Sequence[Collection[nn.Parameter]]) -> tuple[EarlierCut, ...]:
    """Return the cuts of phases that train more and more layers, the earliest first.

    Args:
        parts: the cut of the first of them.
        later: for each later phase, the frozen parameters that will train by then.
    """
    cuts: list[EarlierCut] = []
    for training in later:
        own = {id(parameter) for parameter in training}
        possible = (e for e in parts.earlier if own.isdisjoint(map(id, e.prefix.parameters())))
        deepest = next(possible, None)
        if deepest is not None and deepest not in cuts:
            cuts.append(deepest)
    return tuple(reversed(cuts))


def _inputs(split: Split, rows: int, compute: Compute) -> Tensor:
    return moved(split.inputs.gather(torch.arange(rows))[0], compute)
