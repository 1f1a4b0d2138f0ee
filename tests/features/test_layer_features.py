"""What layers give, each cached by itself: against the layers run by hand, and how often they are run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import reuse
from reuse.caching.cache import ActivationCache
from reuse.data.inputs import Inputs
from reuse.devices import Compute
from reuse.features import layer_features
from reuse.features.layer_features import LayerFeatures
from reuse.nn.tapped import Tapped
from reuse.reporting import Reporter
from reuse.searching.folds import Chosen

ROWS: dict[str, Any] = {"x": np.random.default_rng(0).normal(size=(90, 1, 8, 8)), "y": np.arange(90) % 3}


def network() -> nn.Module:
    torch.manual_seed(0)
    return reuse.build("convnet:3,4/5", (1, 8, 8), 3).requires_grad_(False).eval()


def features(layers: str, cache: Path | None, compute: Compute | None = None) -> tuple[LayerFeatures, Inputs]:
    data = reuse.load(ROWS, split_seed=0)
    tapped = Tapped(network(), layers, grid=2)
    widths = [int(np.prod(shape)) for shape in tapped.measure(torch.randn(2, 1, 8, 8))]
    opened = None if cache is None else ActivationCache(cache)
    compute = compute or Compute(torch.device("cpu"), "float32")
    inputs = data.train.inputs
    return LayerFeatures(tapped, widths, inputs, data.preprocessing, compute, opened, Reporter()), inputs


def by_hand(inputs: Inputs) -> list[Tensor]:
    whole, (x,) = network(), inputs.gather(torch.arange(len(inputs)))
    one = whole.conv1(x)
    two = whole.conv2(one)
    pooled = nn.functional.avg_pool2d(one, 2).flatten(1)
    return [pooled, two.flatten(1), whole.hidden1(two.flatten(1))]


@pytest.mark.parametrize("cached", [True, False])
def test_they_are_what_the_layers_compute(tmp_path: Path, cached: bool) -> None:
    given, inputs = features("conv1,conv2,hidden1", tmp_path if cached else None)
    found = given(inputs)
    assert list(found) == [0, 1, 3], "hidden1 gives the features themselves"
    for value, expected in zip(found.values(), by_hand(inputs), strict=True):
        assert torch.allclose(value, expected, atol=1e-6)


def test_one_pass_serves_all_and_a_layer_more_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[tuple[int, int]] = []
    plain = LayerFeatures._compute_rows

    def counted(self: LayerFeatures, inputs: Inputs, positions: np.ndarray, places: Any) -> dict[int, Tensor]:
        passes.append((len(positions), len(places)))
        return plain(self, inputs, positions, places)

    monkeypatch.setattr(layer_features.LayerFeatures, "_compute_rows", counted)
    given, inputs = features("conv1,hidden1", tmp_path)
    given(inputs)
    assert passes == [(len(inputs), 2)]
    assert set(given.computed.values()) == {len(inputs)}
    passes.clear()
    more, _ = features("conv1,conv2,hidden1", tmp_path)
    found = more(inputs)
    assert passes == [(len(inputs), 1)]
    assert list(more.computed.values()) == [0, len(inputs), 0]
    again, _ = features("hidden1,conv1,conv2", tmp_path)
    assert all(torch.equal(one, other) for one, other in zip(again(inputs).values(), found.values(), strict=True))
    assert not any(again.computed.values())


def test_rows_more_cost_these_rows(tmp_path: Path) -> None:
    given, inputs = features("conv1,hidden1", tmp_path)
    given(Chosen(inputs, np.arange(20)))
    given(inputs)
    assert set(given.computed.values()) == {len(inputs)}


def test_another_network_finds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, inputs = features("conv1", tmp_path)
    given(inputs)
    other = network()
    other.conv1[0].weight.mul_(1.001)
    monkeypatch.setitem(globals(), "network", lambda: other)
    changed, _ = features("conv1", tmp_path)
    assert not torch.equal(changed(inputs)[0], given(inputs)[0])
    assert changed.computed[0] == len(inputs)
