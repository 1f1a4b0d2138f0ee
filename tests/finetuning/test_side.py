"""Fine-tuning beside a frozen network: what is computed how often, and that a run is a run like any other."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import reuse
from finished_runs import history, weights
from listening import Listener
from reuse.errors import UnknownNameError, UsageError
from reuse.runs.folder import RunFolder

RNG = np.random.default_rng(0)
ROWS: dict[str, Any] = {"x": RNG.normal(size=(90, 1, 12, 12)).astype(np.float32), "y": np.arange(90) % 3}
QUICK: dict[str, Any] = {"device": "cpu", "data": ROWS, "early_stopping": False}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("source") / "run"
    return reuse.pretrain("supervised", model="convnet:4,8", epochs=1, out=out, **QUICK).run


@pytest.mark.parametrize("side", ["ladder:2", "linear"])
def test_cached_it_trains_as_uncached(source: str, side: str) -> None:
    runs = [
        reuse.finetune(source, side=side, precision="float64", epochs=4, cache=cache, out=str(cache), **QUICK)
        for cache in (True, False)
    ]
    assert [run.cache is not None for run in runs] == [True, False]
    cached, plain = (weights(run) for run in runs)
    assert all(torch.allclose(cached[name], plain[name], rtol=0, atol=1e-9) for name in cached)
    before = weights(source)
    kept = {n.removeprefix("backbone.network."): w for n, w in cached.items() if n.startswith("backbone.")}
    assert all(torch.equal(kept[name], before[name].double()) for name in kept)
    assert kept.keys() == {name for name in before if not name.startswith("output")}


class ConvolvedRows(TorchDispatchMode):
    """Counts the rows that pass the lowest layer of the backbone: no other convolution has a single channel."""

    rows = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution.default and args[0].shape[1] == 1:
            self.rows += len(args[0])
        return func(*args, **(kwargs or {}))


def test_once_cached_the_backbone_is_not_run_again(source: str) -> None:
    with ConvolvedRows():  # a mode that is on is part of a key
        filled = reuse.finetune(source, side="ladder", epochs=1, seed=3, split_seed=0, **QUICK)
    computed = []
    for epochs in (2, 6):
        with ConvolvedRows() as counted:
            again = reuse.finetune(source, side="ladder", epochs=epochs, seed=3, split_seed=0, **QUICK)
        assert again.cache is not None
        assert again.cache["hit"]
        computed.append(counted.rows)
    assert filled.cache is not None
    assert filled.cache["rows"]["computed"] == 90
    assert computed[0] == computed[1], "the checks of what is cached, and no epoch"


def test_another_seed_and_other_labels_find_what_is_cached(source: str) -> None:
    reuse.finetune(source, side="ladder", epochs=1, **QUICK)
    again = reuse.finetune(source, side="ladder:8", epochs=1, seed=5, **QUICK)
    assert again.cache is not None
    assert again.cache["hit"]


def test_resumed_it_goes_on_as_if_never_interrupted(source: str) -> None:
    whole = reuse.finetune(source, side="ladder", epochs=4, out="whole", **QUICK)
    reuse.finetune(source, side="ladder", epochs=2, out="parts", **QUICK)
    reuse.finetune(resume="parts", epochs=4, data=ROWS)
    assert history("parts") == history(whole.run)
    one, other = weights("whole"), weights("parts")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_predicts_by_itself(source: str) -> None:
    result = reuse.finetune(source, side="ladder:2", side_layers="conv2", epochs=2, **QUICK)
    saved = reuse.load_model(result.run)
    split = reuse.load(ROWS, preprocessing=saved.preprocessing, split_seed=0).test
    accuracy = (torch.as_tensor(saved.predict_proba(split.inputs)).argmax(1) == split.targets).float().mean()
    assert float(accuracy) == pytest.approx(result.metrics["test"]["accuracy"])
    assert saved.network.backbone.names == ("conv2",)
    assert RunFolder(Path(result.run)).manifest().model.side == "ladder:2"


class BeginsAsIdentity(nn.Module):
    """A layer and a block that, until it is trained, gives what it takes: the layer then gives the very features."""

    def __init__(self, scale: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.low, self.block, self.head = nn.Linear(144, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.block.register_parameter("scale", nn.Parameter(torch.tensor(scale)))
        self.block.register_forward_hook(lambda block, given, output: given[0] + block.scale * output)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.head(self.block(self.low(inputs.flatten(1))))
        return outputs


@pytest.mark.parametrize("side", ["linear", "ladder:2"])
def test_a_run_keeps_which_layers_gave_the_very_features(side: str) -> None:
    trained = BeginsAsIdentity(scale=1.0)
    run = reuse.finetune(trained, side=side, epochs=2, out="run", **QUICK).run
    recipe = RunFolder.open(run).manifest().model
    assert recipe is not None
    assert recipe.side_repeats == ("block",)
    loaded = reuse.load_model(run, model=BeginsAsIdentity())
    kept, rows = weights(run), torch.from_numpy(ROWS["x"])
    assert {name: tensor.shape for name, tensor in loaded.network.state_dict().items()} == {
        name: tensor.shape for name, tensor in kept.items()
    }
    with torch.no_grad():
        low, features = trained.low(rows.flatten(1)), trained.block(trained.low(rows.flatten(1)))
    given = loaded.network.backbone(rows)  # type: ignore[operator, union-attr]
    torch.testing.assert_close((given[0].flatten(1), given[-1]), (low, features), rtol=1e-4, atol=1e-5)


def test_the_plan_says_what_each_layer_takes(source: str) -> None:
    frozen, features = reuse.plan(source, side="ladder:grid=2", **QUICK)
    assert frozen.layers == ("backbone",)
    shapes = {tensor["name"]: tensor["shape"] for tensor in features.frontier}
    assert shapes == {"at_conv1": [4, 2, 2], "at_conv2": [8, 2, 2], "at_features": [72]}
    assert features.plan.bytes_per_sample == 4 * (16 + 32 + 72)


def test_it_says_what_trains_and_what_does_not(source: str) -> None:
    listener = Listener()
    reuse.finetune(source, freeze="all", side="ladder", epochs=1, reporter=listener, **QUICK)
    lines = [line for line in listener.lines if line.startswith("beside it trains ladder, of ")]
    assert len(lines) == 1
    assert lines[0].endswith("takes in conv1, conv2 (336 weights, frozen)")


def test_a_comparison_is_with_the_network_alone(source: str) -> None:
    result = reuse.finetune(source, side="ladder", epochs=1, compare=True, out="compared", **QUICK)
    assert result.comparison is not None
    assert list(result.comparison) == ["scratch", "frozen", "unfrozen"]
    assert set(weights("compared/compared-unfrozen")) == set(weights(source))


def test_mixing_noise_and_views_go_with_it(source: str) -> None:
    settings: dict[str, Any] = {"feature_noise": 0.1, "mixup": 0.2, "augment": "shift:1", "views": 2}
    result = reuse.finetune(source, side="ladder", epochs=2, **settings, **QUICK)
    assert result.cache is not None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"side": "lader"}, "did you mean 'ladder'"),
        ({"side": "ladder", "freeze": "conv1"}, "leave freeze out"),
        ({"side": "ladder", "unfreeze": "1:all"}, "unfreeze has no use"),
        ({"side": "ladder", "auto_freeze": True}, "auto_freeze has no use"),
        ({"side": "ladder", "l2_sp": 0.1}, "l2_sp has no use"),
        ({"side_layers": "conv1"}, "without side"),
        ({"side": "ladder", "side_layers": "cnv1"}, "did you mean 'conv1'"),
    ],
)
def test_what_does_not_go_with_it_is_said(source: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises((UsageError, UnknownNameError), match=words):
        reuse.finetune(source, epochs=2, **settings, **QUICK)


def test_what_trains_beside_a_network_is_no_source(source: str) -> None:
    result = reuse.finetune(source, side="ladder", epochs=1, **QUICK)
    with pytest.raises(UsageError, match="is a side network"):
        reuse.finetune(result.run, **QUICK)
