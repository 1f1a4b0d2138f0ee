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
from reuse.features.layer_caches import LayerRows, SharedPass, rows_of_layers
from reuse.features.layer_taps import TapsTogether, taps_of
from reuse.nn.tapped import Tapped
from reuse.reporting import Reporter
from reuse.searching.folds import Chosen

ROWS: dict[str, Any] = {"x": np.random.default_rng(0).normal(size=(90, 1, 8, 8)), "y": np.arange(90) % 3}


def network() -> nn.Module:
    torch.manual_seed(0)
    return reuse.build("convnet:3,4/5", (1, 8, 8), 3).requires_grad_(False).eval()


def rows() -> Inputs:
    return reuse.load(ROWS, split_seed=0).train.inputs


def features(layers: str, cache: Path | None, inputs: Inputs, whole: nn.Module | None = None) -> LayerRows:
    tapped, preprocessing = Tapped(whole or network(), layers, grid=2), reuse.load(ROWS, split_seed=0).preprocessing
    tapped.measure(torch.randn(2, 1, 8, 8))
    opened, compute = None if cache is None else ActivationCache(cache), Compute(torch.device("cpu"), "float32")
    return rows_of_layers(taps_of(tapped), inputs, preprocessing, compute, opened, None, Reporter(), TapsTogether)


def by_hand(inputs: Inputs) -> list[Tensor]:
    whole, (x,) = network(), inputs.gather(torch.arange(len(inputs)))
    one = whole.conv1(x)
    two = whole.conv2(one)
    pooled = nn.functional.avg_pool2d(one, 2).flatten(1)
    return [pooled, two.flatten(1), whole.hidden1(two.flatten(1))]


@pytest.mark.parametrize("cached", [True, False])
def test_they_are_what_the_layers_compute(tmp_path: Path, cached: bool) -> None:
    """hidden1 gives the features themselves, and stands once among them."""
    found = features("conv1,conv2,hidden1", tmp_path if cached else None, rows())
    for value, expected in zip(found.outputs, by_hand(rows()), strict=True):
        assert torch.allclose(value, expected, atol=1e-6)
    assert found.computed == len(rows())


def test_a_layer_more_is_all_that_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[tuple[int, int]] = []
    plain = SharedPass._run

    def counted(self: SharedPass, chunk: Any, some: Tensor) -> list[Tensor]:
        outputs = plain(self, chunk, some)
        passes.append((len(some), len(outputs)))
        return outputs

    monkeypatch.setattr(SharedPass, "_run", counted)
    few = features("conv1,hidden1", tmp_path, rows())
    assert passes == [(len(rows()), 2)]
    passes.clear()
    more = features("conv1,conv2,hidden1", tmp_path, rows())
    assert passes == [(len(rows()), 1)]
    assert torch.equal(more.outputs[0], few.outputs[0])
    again = features("hidden1,conv1,conv2", tmp_path, rows())
    assert again.computed == 0
    assert all(torch.equal(one, other) for one, other in zip(again.outputs, more.outputs, strict=True))


def test_rows_more_cost_these_rows(tmp_path: Path) -> None:
    assert features("conv1,hidden1", tmp_path, Chosen(rows(), np.arange(20))).computed == 20
    assert features("conv1,hidden1", tmp_path, rows()).computed == len(rows()) - 20


def test_another_network_finds_nothing(tmp_path: Path) -> None:
    before, other = features("conv1", tmp_path, rows()), network()
    other.conv1[0].weight.mul_(1.001)
    changed = features("conv1", tmp_path, rows(), other)
    assert not torch.equal(changed.outputs[0], before.outputs[0])
    assert changed.computed == len(rows())
