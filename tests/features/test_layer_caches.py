"""Several layers of a model in one pass, each cached by itself: what each gives by hand, and no row twice."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from reuse.caching.cache import ActivationCache
from reuse.data.arrays import ArrayInputs
from reuse.data.preprocessing import Preprocessing
from reuse.devices import Compute
from reuse.errors import CutError
from reuse.features.layer_caches import LayerRows, rows_of_layers
from reuse.features.layer_outputs import LayerOutputs
from reuse.reporting import Reporter

PREPROCESSING, COMPUTE = Preprocessing("vectors"), Compute(torch.device("cpu"), "float32")
X = np.random.default_rng(0).normal(size=(1100, 6)).astype(np.float32)  # more than a chunk


class Layers(nn.Module):
    """Three of them, each wide in its own way."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.low, self.high, self.head = nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.high(self.low(inputs).relu()).relu())
        return found


def passed(model: nn.Module, names: Sequence[str | None], cache: Path | None, rows: slice = slice(None)) -> LayerRows:
    inputs = ArrayInputs(X[rows], np.arange(len(X[rows])), PREPROCESSING)
    layers = [LayerOutputs(model, name) for name in names]
    for layer in layers:
        layer.measure(torch.from_numpy(X[:2]))
    opened = None if cache is None else ActivationCache(cache)
    return rows_of_layers(layers, inputs, PREPROCESSING, COMPUTE, opened, None, Reporter())


@pytest.mark.parametrize("is_cached", [True, False])
def test_each_layer_gives_what_it_gives_by_hand(tmp_path: Path, is_cached: bool) -> None:
    model = Layers()
    with torch.no_grad():
        x = torch.from_numpy(X)
        low = model.low(x)
        high = model.high(low.relu())
    expected = {"low": low, "high": high, None: high.relu(), "head": model.head(high.relu()).detach()}
    found = passed(model, list(expected), tmp_path if is_cached else None)
    assert found.computed == len(X)
    for own, output in zip(expected.values(), found.outputs, strict=True):
        torch.testing.assert_close(output, own)
    assert found.stored_bytes == ([20, 16, 16, 12] if is_cached else [0, 0, 0, 0])


def test_only_what_is_missing_of_any_layer_goes_through_the_model(tmp_path: Path) -> None:
    first = passed(Layers(), ["low", "high"], tmp_path, slice(0, 700))
    assert first.computed == 700
    again = passed(Layers(), ["low", "high"], tmp_path, slice(0, 700))
    assert again.computed == 0
    more = passed(Layers(), ["low", "high"], tmp_path)
    assert more.computed == 400
    torch.testing.assert_close(more.outputs[1][:700], first.outputs[1], rtol=0, atol=0)
    deeper = passed(Layers(), ["low", "high", "head"], tmp_path)
    assert deeper.computed == 1100  # of the head alone
    assert passed(Layers(), ["head"], tmp_path).computed == 0


def test_a_model_whose_rows_depend_on_each_other_is_refused(tmp_path: Path) -> None:
    class Centring(Layers):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return super().forward(inputs - inputs.mean(0))

    with pytest.raises(CutError):
        passed(Centring(), ["low", "high"], tmp_path)


@pytest.mark.parametrize("is_cached", [True, False])
def test_a_layer_whose_output_is_changed_in_place_gives_what_it_gives_alone(tmp_path: Path, is_cached: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Linear(5, 4), nn.Linear(4, 2))
    cache = tmp_path if is_cached else None
    own = model[0](torch.from_numpy(X)).detach()
    for names in (["0", "2"], ["0"]):
        torch.testing.assert_close(passed(model, names, cache).outputs[0], own)
    together = LayerOutputs(model, "0,2")
    together.measure(torch.from_numpy(X[:2]))
    torch.testing.assert_close(together(torch.from_numpy(X))[:, :5], own)
