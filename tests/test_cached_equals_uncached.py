"""The first promise: with the cache and without it, training sees the same batches and takes the same steps."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from reuse import build, load_model
from reuse.finetuning.finetune import finetune
from reuse.layers.weights import load_weights
from reuse.runs.results import Result
from reuse.training.step import Step

ROWS, CLASSES = 56, 3
UNTRACEABLE = """
from torch import nn

class Network(nn.Module):
    def __init__(self, in_features, num_classes):
        super().__init__()
        self.lower = nn.Sequential(nn.Linear(in_features, 12), nn.BatchNorm1d(12), nn.ReLU())
        self.upper = nn.Sequential(nn.Linear(12, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Dropout(0.3))
        self.head = nn.Linear(9, num_classes)

    def forward(self, x):
        if x.shape[-1] % 2:  # torch.fx cannot decide this
            return self.head(self.lower(x))
        return self.head(self.upper(self.lower(x)))
"""
DENSENET = """
from timm.models.densenet import DenseNet

def network(num_classes):
    return DenseNet(growth_rate=6, block_config=(2, 2, 2), num_classes=num_classes)
"""


@dataclass(frozen=True)
class Case:
    """A model, the shape of its inputs, what of it is frozen, and settings that go with it."""

    spec: str
    shape: tuple[int, ...]
    freeze: str
    settings: dict[str, Any] = field(default_factory=dict)


IMAGES = (3, 32, 32)
SIZED = {"image_size": 32}
CASES = {
    "mlp": Case("mlp:24,20,16,12", (10,), "hidden1,hidden2", {"dropout": 0.3, "norm": "batch"}),
    "mlp with input dropout": Case("mlp:20,12", (10,), "hidden1", {"input_dropout": 0.2, "dropout": 0.2}),
    "convnet": Case("convnet:6,8,10", (1, 16, 16), "conv1,conv2", {"norm": "batch", "dropout": 0.2}),
    "resnet18": Case("timm:resnet18", IMAGES, "!layer4,!fc", SIZED),
    "vit": Case("timm:vit_tiny_patch16_224", IMAGES, "!blocks.10,!blocks.11,!norm,!head", {**SIZED, "dropout": 0.3}),
    "untraceable": Case("own_untraceable:Network", (10,), "lower"),
    "densenet": Case("own_densenet:network", IMAGES, "!features.denseblock3,!features.norm5,!classifier"),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


pytestmark = pytest.mark.usefixtures("cached_however_small")


@dataclass
class Steps:
    """What every step of a training saw and gave."""

    losses: list[float] = field(default_factory=list)
    targets: list[Tensor] = field(default_factory=list)
    widths: set[int] = field(default_factory=set)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Steps]:
    """Starts a new record of the steps taken from now on."""
    current, take = [Steps()], Step.__call__

    def recorded(self: Step, batches: Any, weights: Any = None) -> Tensor:
        loss = take(self, batches, weights)
        (batch,) = batches
        current[0].losses.append(loss.item())
        current[0].targets.append(batch.targets.clone())
        current[0].widths.add(sum(tensor[0].numel() for tensor in batch.inputs))
        return loss

    def begin() -> Steps:
        current[0] = Steps()
        return current[0]

    monkeypatch.setattr(Step, "__call__", recorded)
    return begin


def randomise(model: nn.Module) -> dict[str, Tensor]:
    """Return a state without the zeros and ones of a fresh model, behind which errors hide."""
    draw = torch.Generator().manual_seed(1)
    state = {}
    for name, tensor in model.state_dict().items():
        noise = torch.randn(tensor.shape, generator=draw)
        if not tensor.is_floating_point():
            state[name] = tensor + 7
        elif name.endswith("running_var"):
            state[name] = 1 + noise.abs()
        else:
            state[name] = tensor + 0.1 * noise
    return state


def make(case: Case) -> tuple[tuple[np.ndarray, np.ndarray], dict[str, Tensor]]:
    """Write the source's weights and return the data and these weights."""
    Path("own_densenet.py").write_text(DENSENET)
    Path("own_untraceable.py").write_text(UNTRACEABLE)
    options = {name: value for name, value in case.settings.items() if name != "image_size"}
    torch.manual_seed(0)
    weights = randomise(build(case.spec, case.shape, CLASSES, **options))
    save_file(weights, "source.safetensors")
    random = np.random.default_rng(0)
    x = random.random((ROWS, *case.shape), dtype=np.float32)
    return (x, random.permutation(np.arange(ROWS) % CLASSES)), weights


def train(case: Case, data: Any, cache: bool, **settings: Any) -> Result:
    return finetune(
        "source.safetensors",
        model=case.spec,
        freeze=case.freeze,
        data=data,
        cache=cache,
        out=f"cache-{cache}",
        early_stopping=False,
        **{"batch_size": 8, **case.settings, **settings},
    )


def both(case: Case, steps: Callable[[], Steps], data: Any, **settings: Any) -> tuple[Steps, Steps, Result]:
    """Train with the cache and without, and check what must be equal whatever the precision."""
    cached_steps = steps()
    cached = train(case, data, cache=True, **settings)
    plain_steps = steps()
    plain = train(case, data, cache=False, **settings)
    assert cached.cache is not None
    assert plain.cache is None
    assert cached.frozen == plain.frozen
    assert cached.epochs == plain.epochs
    assert cached_steps.widths != plain_steps.widths, "both trained on the inputs"
    torch.testing.assert_close(cached_steps.targets, plain_steps.targets, rtol=0, atol=0)
    return cached_steps, plain_steps, cached


def frozen_tensors(result: Result, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    below = tuple(f"{layer}." for layer in result.frozen)
    return {name: t for name, t in weights.items() if f"{name}.".startswith(below)}


def assert_only_the_rest_moved(result: Result, source: dict[str, Tensor]) -> None:
    """What is frozen is bit for bit the source's, statistics included, and what is not has moved."""
    for run in ("cache-True", "cache-False"):
        trained = load_weights(Path(run) / "weights.safetensors")
        still = frozen_tensors(result, source)
        assert still
        for name, tensor in still.items():
            assert torch.equal(trained[name], tensor.to(trained[name].dtype)), name
        moved = [n for n, t in trained.items() if n not in still and not torch.equal(t, source[n].to(t.dtype))]
        assert moved


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n == "resnet18" else ()) for n in CASES])
def test_every_step_is_the_same_in_float64(name: str, steps: Callable[[], Steps]) -> None:
    case = CASES[name]
    data, source = make(case)
    settings = {"epochs": 3, "precision": "float64", "optimizer": "adam", "learning_rate": 1e-3, "clip_norm": 1.0}
    cached, plain, result = both(case, steps, data, **settings, schedule="cosine", warmup=1.0)
    assert len(cached.losses) == 3 * 5  # 36 rows in batches of 8
    np.testing.assert_allclose(cached.losses, plain.losses, rtol=0, atol=1e-9)
    weights, expected = (load_weights(Path(run) / "weights.safetensors") for run in ("cache-True", "cache-False"))
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-9)
    assert_only_the_rest_moved(result, source)


def predictions(run: str, case: Case) -> Tensor:
    return load_model(run, trust=True)(torch.randn(16, *case.shape, generator=torch.Generator().manual_seed(2)))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if CASES[name].shape != IMAGES else pytest.mark.slow) for name in CASES]
)
def test_two_hundred_steps_agree_in_float32(name: str, steps: Callable[[], Steps]) -> None:
    case = CASES[name]
    data, source = make(case)
    settings = {"epochs": 40, "optimizer": "sgd", "learning_rate": 1e-3}
    cached, plain, result = both(case, steps, data, **settings)
    assert len(cached.losses) == 200
    np.testing.assert_allclose(cached.losses, plain.losses, rtol=1e-4)
    torch.testing.assert_close(predictions("cache-True", case), predictions("cache-False", case), rtol=1e-4, atol=1e-4)
    weights, expected = (load_weights(Path(run) / "weights.safetensors") for run in ("cache-True", "cache-False"))
    torch.testing.assert_close(weights, expected, rtol=1e-4, atol=1e-5)
    assert_only_the_rest_moved(result, source)


def test_the_same_rows_come_in_the_same_order_every_epoch(steps: Callable[[], Steps]) -> None:
    case = replace(CASES["mlp"], spec="mlp:24,20,16", settings={"norm": "batch"})
    (x, _), _ = make(replace(case, settings={"norm": "batch"}))
    unique = np.linspace(0, 1, ROWS)  # a regression whose targets tell the rows
    cached, plain, _ = both(case, steps, (x, unique), epochs=3, precision="float64")
    epochs = torch.cat(cached.targets).flatten().reshape(3, -1)
    assert all(len(epoch.unique()) == epochs.shape[1] for epoch in epochs), "each row once an epoch"
    assert not torch.equal(epochs[0], epochs[1]), "reshuffled"
    np.testing.assert_allclose(cached.losses, plain.losses, rtol=0, atol=1e-9)


def test_dropout_in_the_suffix_draws_the_same_numbers(steps: Callable[[], Steps]) -> None:
    """The dropout is live, and yet the losses are equal: what the frozen layers leave out draws nothing."""
    case = CASES["mlp"]
    data, _ = make(case)
    cached, plain, _ = both(case, steps, data, epochs=2, precision="float64")
    np.testing.assert_allclose(cached.losses, plain.losses, rtol=0, atol=1e-9)
    without = steps()
    finetune(
        "source.safetensors",
        model=case.spec,
        freeze=case.freeze,
        data=data,
        epochs=2,
        precision="float64",
        batch_size=8,
        norm="batch",
        out="no-dropout",
    )
    assert np.abs(np.subtract(without.losses, cached.losses)).min() > 1e-3


def test_a_second_run_from_the_cache_is_the_first_again(steps: Callable[[], Steps]) -> None:
    case = CASES["convnet"]
    data, _ = make(case)
    first = steps()
    computed = train(case, data, cache=True, epochs=2)
    second = steps()
    found = finetune(
        "source.safetensors", model=case.spec, freeze=case.freeze, data=data, epochs=2, batch_size=8, out="again",
        early_stopping=False, **case.settings,
    )  # fmt: skip
    assert computed.cache is not None
    assert found.cache is not None
    assert (computed.cache["hit"], found.cache["hit"]) == (False, True)
    assert first.losses == second.losses
    assert computed.metrics == found.metrics


@pytest.mark.parametrize(
    ("name", "settings"),
    [("mlp", {"mixup": 0.4}), ("mlp", {"feature_noise": 0.3}), ("convnet", {"cutmix": 1.0, "feature_noise": 0.1})],
)
def test_what_is_done_to_features_is_done_with_a_cache_and_without(
    name: str, settings: dict[str, float], steps: Callable[[], Steps]
) -> None:
    case = CASES[name]
    data, _ = make(case)
    runs = []
    for cache in (True, False):
        runs.append(steps())
        result = train(case, data, cache=cache, epochs=2, precision="float64", **settings)
        assert (result.cache is not None) == cache
    cached, plain = runs
    assert cached.widths == plain.widths != {int(np.prod(case.shape))}
    np.testing.assert_allclose(cached.losses, plain.losses, rtol=0, atol=1e-9)
    ordinary = steps()
    shutil.rmtree("cache-True")
    train(case, data, cache=True, epochs=2, precision="float64")
    assert np.abs(np.subtract(ordinary.losses, cached.losses)).min() > 1e-6, "something was done"
