"""Noise on what frozen layers compute."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reuse.data.rows import Batch
from reuse.errors import UsageError


@dataclass(frozen=True)
class FeatureNoise:
    """Normal noise on features, in parts of each feature's standard deviation over the batch.

    DeVries & Taylor 2017, "Dataset Augmentation in Feature Space", https://arxiv.org/abs/1702.05538, who take the
    deviation over the whole data set. A feature that is the same for all rows stays what it is.

    Attributes:
        amount: 0.5 in the paper; above 0.
    """

    amount: float

    def __post_init__(self) -> None:
        if not 0 < self.amount < float("inf"):
            raise UsageError(f"feature_noise is {self.amount}: give parts of a deviation, such as 0.1, or 0 for none")

    def __call__(self, batch: Batch) -> Batch:
        """Return the batch with noise on every input that is made of numbers; tokens and lengths stay."""
        return replace(batch, inputs=tuple([self._noisy(tensor) for tensor in batch.inputs]))

    def _noisy(self, tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        deviation = tensor.std(0, correction=0, keepdim=True)
        return tensor + self.amount * deviation * torch.randn_like(tensor)
