"""Outputs of a whole model on every row of a data set, computed once: cached as what frozen layers give."""

import torch
from torch import Tensor, nn

from reuse.caching.cache import ActivationCache
from reuse.data.dataset import SPLITS, Dataset
from reuse.devices import Compute
from reuse.features.extracting import Extraction, compute_outputs
from reuse.layers.freezing import hold
from reuse.nn.decoders import coding_shape
from reuse.objectives.objective import example_of
from reuse.paths import cache_folder
from reuse.settings.caching import CachingSettings
from reuse.training.evaluation import eval_mode


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
    model.to(compute.device, compute.dtype).requires_grad_(False)
    hold(model)
    found = {name: torch.empty(0, width) for name in SPLITS}
    inputs = {name: getattr(data, name).inputs for name in SPLITS if len(getattr(data, name))}
    if not storing.cache:
        with eval_mode(model):
            return found | {name: compute_outputs(model, some, compute) for name, some in inputs.items()}
    opened = ActivationCache(cache_folder(storing.cache_dir), storing.cache_budget)
    extraction = Extraction(model, data.train.inputs, data.preprocessing, compute, opened, storing.cache_dtype)
    return found | {name: extraction(some) for name, some in inputs.items()}
