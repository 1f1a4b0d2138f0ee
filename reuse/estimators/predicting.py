"""Predictions of a network that was fine-tuned: what its frozen layers compute of new rows is cached too."""

from typing import Any

import torch
from torch import Tensor

from reuse.caching.cache import ActivationCache
from reuse.caching.chaining import PrefixCaches
from reuse.data.inputs import Inputs
from reuse.devices import Compute, choose_device, moved
from reuse.errors import CutError
from reuse.features.cutting import SAMPLE_ROWS, cut_on
from reuse.features.extracting import filled
from reuse.features.streaming import Streaming
from reuse.hints import Hints
from reuse.layers.freezing import frozen
from reuse.layers.parts import Cut
from reuse.layout import one_tensor
from reuse.nn.main_output import main_output
from reuse.paths import cache_folder
from reuse.reporting import Warner
from reuse.runs.models import SavedModel
from reuse.runs.raw_rows import prepare
from reuse.settings.estimators import TransferSettings

PREDICTED_ROWS = 256  # at a time


def predict_rows(model: SavedModel, x: Any, settings: TransferSettings) -> Tensor:
    """Return probabilities of classes, or predicted numbers: `(rows, outputs)` on the CPU.

    Where activations are kept on the disk, those of these rows are too, so that no fold computes them again.

    Args:
        model: fine-tuned.
        x: raw rows.
        settings: of the estimator.
    """
    inputs = prepare(x, model.preprocessing)
    if settings.cache and settings.cache_kind == "disk" and frozen(model.network).parameters:
        try:
            return _through_cache(model, inputs, settings)
        except CutError:  # as when it was trained, which said so
            pass
    return model.values(inputs)


def _through_cache(model: SavedModel, inputs: Inputs, settings: TransferSettings) -> Tensor:
    compute = Compute(choose_device(settings.device), settings.precision)
    opened = ActivationCache(cache_folder(settings.cache_dir), settings.cache_budget)
    parts = _cut(model, inputs, compute, opened)
    about = {"model": type(model.network).__name__, "data": "arrays"}
    caches = PrefixCaches(opened, model.preprocessing.to_dict(), compute, about)
    store = caches.of(parts.prefix, parts.frontier, settings.cache_dtype)
    with store.hold():
        streaming = Streaming(parts.prefix, store, compute, Warner())
        rows = filled(streaming, store, inputs, compute.device)
        parts.suffix.eval()
        with torch.inference_mode():
            batches = (rows.gather(some) for some in torch.arange(len(inputs)).split(PREDICTED_ROWS))  # type: ignore[no-untyped-call]
            return torch.cat([model.meaning(main_output(parts.suffix(*batch))) for batch in batches])


def _cut(model: SavedModel, inputs: Inputs, compute: Compute, opened: ActivationCache) -> Cut:
    network = model.network.to(compute.device, compute.dtype)
    rows = torch.arange(min(SAMPLE_ROWS, len(inputs)))
    dtype = compute.dtype if inputs.dtype.is_floating_point else inputs.dtype
    layout, hints = one_tensor(inputs.shape, dtype), Hints(opened.root)
    return cut_on(network, lambda: moved(inputs.gather(rows)[0], compute), layout, compute, hints=hints)
