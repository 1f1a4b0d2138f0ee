"""Outputs of a whole model on every row of a data set, computed once: cached as what frozen layers give."""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset as SampleDataset

from reuse.data.dataset import SPLITS, Dataset
from reuse.data.inputs import Inputs
from reuse.devices import Compute, moved_each
from reuse.features.dataset import cached
from reuse.layers.freezing import freeze
from reuse.nn.decoders import coding_shape
from reuse.objectives.objective import example_of
from reuse.settings.caching import CachingSettings
from reuse.training.evaluation import eval_mode

BATCH = 1024  # rows at a time


class PreparedSamples(SampleDataset[Tensor]):
    """Prepared rows of a split, one at a time.

    Args:
        inputs: the rows.
    """

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> Tensor:
        return self.inputs.gather(torch.tensor([index]))[0][0]


def outputs_of(model: nn.Module, data: Dataset, compute: Compute, storing: CachingSettings) -> dict[str, Tensor]:
    """Return the outputs of a model on the rows of each split, `(rows, outputs)` on the CPU.

    Args:
        model: gives one tensor of one dimension a row; it is moved to where `compute` says, and frozen.
        data: the rows.
        compute: where and in which types.
        storing: whether there is a cache, and where.

    Raises:
        CutError: the model cannot be followed; the message says why.
    """
    (width,) = coding_shape(model, example_of(data))
    behind = nn.Linear(width, 1)  # a layer that trains: what is in front of it is what is cached
    whole = nn.Sequential(OrderedDict(model=model, output=behind)).to(compute.device, compute.dtype)
    freeze(whole, "model")
    return {name: _outputs(whole, getattr(data, name).inputs, width, compute, storing) for name in SPLITS}


def _outputs(whole: nn.Module, inputs: Inputs, width: int, compute: Compute, storing: CachingSettings) -> Tensor:
    if not len(inputs):
        return torch.empty(0, width)
    if not storing.cache:
        return _computed(whole.get_submodule("model"), inputs, compute)
    keys = [digest.tobytes() for digest in inputs.digests()]
    features = cached(
        whole,
        PreparedSamples(inputs),
        key=keys,
        cache_dir=storing.cache_dir,
        cache_dtype=storing.cache_dtype,
        cache_budget=storing.cache_budget,
    )
    return torch.cat([batch.cpu() for batch in features.loader(batch_size=BATCH)])


def _computed(model: nn.Module, inputs: Inputs, compute: Compute) -> Tensor:
    with eval_mode(model), torch.no_grad():
        parts = [inputs.gather(rows) for rows in torch.split(torch.arange(len(inputs)), BATCH)]
        return torch.cat([model(*moved_each(part, compute)).cpu() for part in parts])
