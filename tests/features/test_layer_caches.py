"""Several layers of a model in one pass, each cached by itself: what each gives by hand, and no row twice."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import nn

from reuse.caching.cache import ActivationCache
from reuse.data.arrays import ArrayInputs
from reuse.data.preprocessing import Preprocessing
from reuse.devices import Compute
from reuse.errors import CutError
from reuse.features.extracting import find_prefixes
from reuse.features.layer_caches import LayerRows, SharedPass, rows_of_layers
from reuse.features.layer_outputs import LayerOutputs, LayersTogether
from reuse.reporting import Reporter, Transcript

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


class Shifted(nn.Linear):
    """A layer that adds what the environment says, which no key sees."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs) + float(os.environ.get(f"SHIFT_OF_{self.out_features}", "0"))


def passed(
    model: nn.Module,
    names: Sequence[str | None],
    cache: Path | None,
    rows: slice = slice(None),
    reporter: Reporter | None = None,
) -> LayerRows:
    inputs = ArrayInputs(X[rows], np.arange(len(X[rows])), PREPROCESSING)
    layers = [LayerOutputs(model, name) for name in names]
    for layer in layers:
        layer.measure(torch.from_numpy(X[:2]))
    opened = None if cache is None else ActivationCache(cache)
    return rows_of_layers(layers, inputs, PREPROCESSING, COMPUTE, opened, None, reporter or Reporter())


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


def test_a_probe_of_each_layer_takes_the_passes_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes, plain = [], SharedPass.run
    monkeypatch.setattr(SharedPass, "run", lambda self, inputs: (passes.append(len(inputs)), plain(self, inputs))[1])
    rows = slice(0, 100)
    passed(Layers(), ["low", "high", "head"], tmp_path, rows)
    few = [count for count in passes if count not in (64, 36)]
    assert len(few) == 4  # two rows to see what layers give, and three times those of the probe
    assert passes.count(64) == passes.count(36) == 1


def test_what_is_cached_of_several_layers_is_compared_by_the_passes_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes, plain, every = [], SharedPass.run, ["low", "high", "head"]
    monkeypatch.setattr(SharedPass, "run", lambda self, inputs: (passes.append(len(inputs)), plain(self, inputs))[1])
    passed(Layers(), every, tmp_path)
    counts = []
    for names in (["head"], every, every):
        passes.clear()
        assert passed(Layers(), names, tmp_path).computed == 0
        counts.append(len(passes))
    assert counts[0] == counts[1] == counts[2]


def test_each_layer_is_asked_again_by_a_pass_of_its_own() -> None:
    model, rows = Layers(), torch.from_numpy(X[:4])
    layers = [LayerOutputs(model, name) for name in ("low", "high")]
    for layer in layers:
        layer.measure(rows)
    shared = SharedPass(LayersTogether(layers), COMPUTE)
    before = [shared.of_few(rows, place) for place in (0, 1)]
    with torch.no_grad():
        model.low.weight.add_(1)
    after = shared.of_few(rows, 0), shared.of_few(rows, 1)
    torch.testing.assert_close(after[0], model.low(rows).detach())
    torch.testing.assert_close(after[1], model.high(model.low(rows).relu()).detach())
    assert not torch.equal(before[0], after[0])


@pytest.mark.parametrize(("width", "set_aside"), [(5, 2), (4, 1)])
def test_layers_that_compute_otherwise_are_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, set_aside: int
) -> None:
    model = Layers()
    model.low, model.high = Shifted(6, 5), Shifted(5, 4)
    passed(model, ["low", "high"], tmp_path, slice(0, 40))
    monkeypatch.setenv(f"SHIFT_OF_{width}", "0.5")
    found = passed(model, ["low", "high"], tmp_path, slice(0, 40))
    low = model.low(torch.from_numpy(X[:40])).detach()
    torch.testing.assert_close(found.outputs[0], low)
    torch.testing.assert_close(found.outputs[1], model.high(low.relu()).detach())
    assert sum(bool(one.damage) for one in ActivationCache(tmp_path).entries()) == set_aside


def test_a_key_is_the_same_alone_and_beside_other_layers(tmp_path: Path) -> None:
    def keys(folder: str, names: Sequence[str | None], model: nn.Module) -> set[str]:
        pixels, layers = torch.rand(8, 3, 32, 32), [LayerOutputs(model, name) for name in names]
        for layer in layers:
            layer.measure(pixels[:2])
        found = find_prefixes(layers, None, pixels, PREPROCESSING, COMPUTE, ActivationCache(tmp_path / folder), None)
        return {one.store.key for one in found}

    model = timm.create_model("test_resnet").eval()
    together = keys("a", ["layer1", "layer3", None], model)
    assert together == {key for name in ("layer1", "layer3", None) for key in keys("b", [name], model)}
    assert len(together) == 3
    handle = model.layer1.register_forward_hook(lambda _, __, given: given * 2)  # somebody's own code is in it now
    hooked = keys("c", ["layer1", "layer3", None], model)
    assert hooked == {key for name in ("layer1", "layer3", None) for key in keys("d", [name], model)}
    handle.remove()
    with torch.no_grad():
        model.layer4[0].conv1.weight[0] += 1
    assert together.isdisjoint(hooked | keys("e", ["layer1", "layer3", None], model))


def test_layers_that_cannot_be_checked_in_one_pass_are_said_to_be_checked_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> torch.Tensor:
        raise ValueError("too far outside\nin detail")

    model, transcript = Layers(), Transcript(Reporter())
    expected = passed(model, ["low", "high"], None).outputs
    monkeypatch.setattr(SharedPass, "of_few", refuses)
    found = passed(model, ["low", "high"], tmp_path, reporter=transcript)
    for one, other in zip(found.outputs, expected, strict=True):
        torch.testing.assert_close(one, other)
    assert transcript.lines == [
        "layers are checked one by one, as they cannot be in one pass: ValueError: too far outside"
    ]
