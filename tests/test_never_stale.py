"""The second promise: what changes a frozen activation is computed anew, and what does not is found."""

import importlib
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from costly import find_frozen_layers_costly
from reuse.data.dataset import Dataset
from reuse.data.loading import load
from reuse.data.preprocessing import Preprocessing, image_preprocessing
from reuse.devices import Compute
from reuse.features.choosing import Upcoming
from reuse.features.feeding import feed_activations
from reuse.features.planned import half_steps, plan_features
from reuse.finetuning.finetune import finetune
from reuse.layers.freezing import freeze, unfreeze
from reuse.objectives.supervised import supervised
from reuse.pretraining.pretrain import pretrain
from reuse.reporting import Reporter
from reuse.runs.folder import RunFolder
from reuse.settings.caching import StoringSettings

ROWS = 60
RANDOM = np.random.default_rng(0)
VECTORS = RANDOM.random((ROWS, 8))
IMAGES = RANDOM.integers(0, 256, (ROWS, 3, 12, 12), dtype=np.uint8)
LABELS = np.arange(ROWS) % 4


pytestmark = pytest.mark.usefixtures("cached_however_small")


def counts(cache: dict[str, Any] | None) -> tuple[int, int, bool]:
    """Return rows computed, rows found, and whether it was a hit."""
    assert cache is not None
    return cache["rows"]["computed"], cache["rows"]["found"], cache["hit"]


ALL_ANEW, ALL_FOUND = (ROWS, 0, False), (0, ROWS, True)


# Through the command: a source run, and what may change between two fine-tunings of it.


class Sources:
    """A source run for feature vectors and one for images, each fine-tuned once, so that its activations are cached."""

    vectors: dict[str, Any] = {"source": "vectors", "freeze": "hidden1", "data": (VECTORS, LABELS)}  # noqa: RUF012
    images: dict[str, Any] = {"source": "images", "freeze": "conv1", "data": (IMAGES, LABELS)}  # noqa: RUF012

    def __init__(self) -> None:
        self.number = 0

    def begin(self) -> None:
        """Train them and fine-tune each, in the present folder."""
        common: dict[str, Any] = {"epochs": 1, "norm": "batch"}
        pretrain(data=(VECTORS, None), model="mlp:6,5", out="vectors", **common)
        pretrain("supervised", data=(IMAGES, LABELS), model="convnet:4,5", out="images", **common)
        for kind in ("vectors", "images"):
            assert self.run(kind) == ALL_ANEW

    def run(self, kind: str, **changes: Any) -> tuple[int, int, bool]:
        self.number += 1
        settings = {**getattr(self, kind), "epochs": 2, "out": f"run-{self.number}", **changes}
        return counts(finetune(**settings).cache)

    def change_weights(self, kind: str, change: Callable[[dict[str, Tensor]], None]) -> None:
        path = Path(kind) / "weights.safetensors"
        weights = load_file(path)
        change(weights)
        save_file(weights, path)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with these runs and their cache: made once, copied for each test."""
    folder = tmp_path_factory.mktemp("begun")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("REUSE_CACHE", str(folder / "cache"))
        find_frozen_layers_costly(patch)
        Sources().begin()
    return folder


@pytest.fixture
def sources(begun: Path, tmp_path: Path) -> Sources:
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    own = Sources()
    own.number = len(KINDS)
    return own


KINDS = ("vectors", "images")
FIRST = {"vectors": "hidden1", "images": "conv1"}
FOUND: dict[str, dict[str, Any]] = {
    "nothing": {},
    "learning rate, optimizer and schedule": {"learning_rate": 0.1, "optimizer": "sgd", "schedule": "cosine"},
    "epochs": {"epochs": 4, "patience": 1},
    "batch size": {"batch_size": 7},
    "order, split and fresh weights": {"seed": 5},
    "a subset": {"labels": 24},
    "a head for fewer classes": {"classes": "1,2", "cache_kind": "disk"},  # so few rows are not cached unasked
    "another label set": {"data": "other labels"},
    "label smoothing, decay, clipping": {"label_smoothing": 0.1, "weight_decay": 0.1, "clip_norm": 1.0},
    "an added layer above": {"add_layers": "7"},
    "which other layers are restored": {"restore": "first"},
}


def resolved(kind: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Return the changes with what depends on the kind of source filled in."""
    x, family = (VECTORS, "hidden") if kind == "vectors" else (IMAGES, "conv")
    names = {"first": f"{family}1", "second": f"{family}2", "other labels": (x, LABELS // 2)}
    return {name: names.get(value, value) if isinstance(value, str) else value for name, value in changes.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", FOUND)
def test_what_the_frozen_layers_do_not_see_is_found(kind: str, change: str, sources: Sources) -> None:
    computed, found, hit = sources.run(kind, **resolved(kind, FOUND[change]))
    assert (computed, hit) == (0, True)
    assert found > 0


def test_a_dropped_layer_above_is_found(sources: Sources) -> None:
    assert sources.run("vectors", drop_layers="hidden2") == ALL_FOUND


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["weight", "running_mean", "running_var"])
def test_one_changed_number_in_the_frozen_layers_is_computed_anew(kind: str, what: str, sources: Sources) -> None:
    def change(weights: dict[str, Tensor]) -> None:
        name = next(n for n in weights if n.startswith(FIRST[kind]) and n.endswith(what))
        value = weights[name].view(-1)[0]
        weights[name].view(-1)[0] = torch.nextafter(value, value + 1)

    sources.change_weights(kind, change)
    assert sources.run(kind) == ALL_ANEW


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_number_above_is_found(kind: str, sources: Sources) -> None:
    def change(weights: dict[str, Tensor]) -> None:
        name = next(n for n in weights if not n.startswith(FIRST[kind]) and n.endswith("weight"))
        weights[name].view(-1)[0] += 1

    sources.change_weights(kind, change)
    assert sources.run(kind) == ALL_FOUND


ANEW: dict[str, dict[str, Any]] = {
    "precision": {"precision": "float64"},
    "type of storage": {"cache_dtype": "float16"},
    "frozen set": {"freeze": "first,second"},
    "activation": {"activation": "tanh"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", ANEW)
def test_another_computation_is_computed_anew(kind: str, change: str, sources: Sources) -> None:
    changes = ANEW[change]
    if "freeze" in changes:
        names = resolved(kind, {"first": "first", "second": "second"})
        changes = {"freeze": [names["first"], names["second"]]}
    assert sources.run(kind, **changes) == ALL_ANEW
    assert sources.run(kind, **changes) == ALL_FOUND
    assert sources.run(kind) == ALL_FOUND, "what was there before is still there"


@pytest.mark.parametrize("kind", KINDS)
def test_one_changed_value_costs_one_row(kind: str, sources: Sources) -> None:
    x = (VECTORS if kind == "vectors" else IMAGES).copy()
    x.reshape(-1)[-1] = x.reshape(-1)[-1] + 1
    assert sources.run(kind, data=(x, LABELS)) == (1, ROWS - 1, False)


@pytest.mark.parametrize("kind", KINDS)
def test_ten_added_rows_cost_ten_rows(kind: str, sources: Sources) -> None:
    x = VECTORS if kind == "vectors" else IMAGES
    grown = np.concatenate([x[:5] + 1, x, x[5:10] + 1]).astype(x.dtype)  # in front too: places do not matter
    assert sources.run(kind, data=(grown, np.arange(ROWS + 10) % 4)) == (10, ROWS, False)


def test_rows_in_another_order_are_found(sources: Sources) -> None:
    order = np.random.default_rng(1).permutation(ROWS)
    assert sources.run("images", data=(IMAGES[order], LABELS[order])) == ALL_FOUND


TRANSFORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "mean of a column": ("vectors", {"mean": [0.4] * 8}),
    "spread of a column": ("vectors", {"std": [0.4] * 8}),
    "divisor of pixels": ("images", {"divisor": 254.0}),
    "mean and spread of pixels": ("images", {"mean": [0.5] * 3, "std": [0.2] * 3}),
}


@pytest.mark.parametrize("change", TRANSFORMS)
def test_another_preprocessing_is_computed_anew(change: str, sources: Sources) -> None:
    kind, values = TRANSFORMS[change]
    manifest = RunFolder(Path(kind)).manifest()
    assert manifest.preprocessing is not None
    changed = Preprocessing.from_dict({**manifest.preprocessing.to_dict(), **values})
    RunFolder(Path(kind)).write_manifest(replace(manifest, preprocessing=changed))
    assert sources.run(kind) == ALL_ANEW


def test_another_image_size_is_computed_anew(sources: Sources) -> None:
    assert sources.run("images", image_size=16, restore="conv1,conv2") == ALL_ANEW
    assert sources.run("images") == ALL_FOUND


def test_a_table_knows_its_values_categories_and_fillings(tmp_path: Path) -> None:
    def write(name: str, colours: list[str], first: float = 0.0) -> str:
        values = [first, *np.linspace(1, 5, ROWS - 1)]
        lines = [f"{v},{c},{'ab'[i % 2]}" for i, (v, c) in enumerate(zip(values, colours, strict=True))]
        (tmp_path / name).write_text("\n".join(["size,colour,label", *lines]) + "\n")
        return name

    colours = [("red", "green", "blue")[i % 3] for i in range(ROWS)]
    table = write("table.csv", colours)
    pretrain("supervised", data=table, target="label", model="mlp:6,5", epochs=1, out="source")
    number = iter(range(9))

    def run(data: str, **settings: Any) -> tuple[int, int, bool]:
        out = f"run-{next(number)}"
        return counts(
            finetune("source", freeze="hidden1", data=data, target="label", epochs=2, out=out, **settings).cache
        )

    assert run(table) == ALL_ANEW
    assert run(table, seed=3) == ALL_FOUND
    assert run(write("copy.csv", colours)) == ALL_FOUND, "the name of a file is not its content"
    assert run(write("table.csv", colours, first=0.5)) == (1, ROWS - 1, False)
    assert run(write("table.csv", ["green", *colours[1:]])) == (1, ROWS - 1, False)
    manifest = RunFolder(Path("source")).manifest()
    assert manifest.preprocessing is not None
    first, second, *others = manifest.preprocessing.columns
    columns = (first, replace(second, categories=("green", "red", "blue")), *others)
    changed = replace(manifest.preprocessing, columns=columns)
    RunFolder(Path("source")).write_manifest(replace(manifest, preprocessing=changed))
    assert run(write("table.csv", colours)) == ALL_ANEW


# The user's own network: its source code counts.

NETWORK = """
from torch import nn

SCALE = 1.0

class Block(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x):
        return self.linear(x).relu() * SCALE

class Network(nn.Module):
    def __init__(self, in_features, num_classes):
        super().__init__()
        self.body = Block(in_features, 6)
        self.head = nn.Linear(6, num_classes)

    def forward(self, x):
        return self.head(self.body(x))
"""
EDITS = {
    "forward of a frozen block": ("relu()", "tanh()", ALL_ANEW),
    "a global it reads": ("SCALE = 1.0", "SCALE = 2.0", ALL_ANEW),
    "a comment": ("class Block", "# words\nclass Block", ALL_FOUND),
    "forward of the whole": ("self.head(self.body(x))", "self.head(self.body(x)) * 2", ALL_FOUND),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_forward_of_a_frozen_block_is_computed_anew(
    edit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = tmp_path / "my_network.py"
    module.write_text(NETWORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    sys.modules.pop("my_network", None)
    network = importlib.import_module("my_network").Network(8, 4)
    save_file(network.state_dict(), "weights.safetensors")

    def run(out: str) -> tuple[int, int, bool]:
        preprocessed = {"model": "my_network:Network", "freeze": "body", "data": (VECTORS, LABELS)}
        return counts(finetune("weights.safetensors", **preprocessed, epochs=2, out=out).cache)

    assert run("first") == ALL_ANEW
    old, new, expected = EDITS[edit]
    assert NETWORK.count(old) == 1
    module.write_text(NETWORK.replace(old, new))
    importlib.reload(sys.modules["my_network"])
    assert run("second") == expected
    del sys.modules["my_network"]


# Through `plan_features`: what only someone with the model in hand can change.


def network() -> nn.Sequential:
    torch.manual_seed(0)
    body = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.LeakyReLU(0.1), nn.AvgPool2d(2))
    model = nn.Sequential(*body, nn.Flatten(), nn.Linear(100, 4))
    freeze(model, "0,1")
    return model


def data(**changes: Any) -> Dataset:
    values = {"mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bilinear", "crop_pct": None, "image_size": 12}
    return load((IMAGES, LABELS), preprocessing=image_preprocessing(**{**values, **changes}))


def rows(model: nn.Module, images: Dataset, *, precision: str = "float32", dtype: str | None = None) -> Any:
    compute = Compute(torch.device("cpu"), precision)
    model.to(compute.dtype)
    upcoming = Upcoming(2, partial(half_steps, supervised("classification", 4)), comparable=False)
    storing = StoringSettings(cache_dir="cache", cache_dtype=dtype)
    features = plan_features(model, images, compute, storing, upcoming)
    return counts(feed_activations(features, images, compute, Reporter()).cache)


def _set(path: str, value: Any) -> Callable[[nn.Sequential], None]:
    owner, _, attribute = path.rpartition(".")
    return lambda model: setattr(model.get_submodule(owner), attribute, value)


def _live_norm(model: nn.Sequential) -> None:
    norm = model[1]
    del norm.__dict__["train"]
    norm.train()


MODEL_CHANGES: dict[str, Callable[[nn.Sequential], None]] = {
    "eps": _set("1.eps", 1e-3),
    "slope": _set("2.negative_slope", 0.2),
    "padding value": _set("3.count_include_pad", False),
    "activation exchanged": _set("2", nn.ELU()),
    "pooling exchanged": _set("3", nn.MaxPool2d(2)),
    "a buffer": lambda model: model[1].running_mean.add_(1e-3),
    "statistics that move again": _live_norm,
    "a layer that trains again": lambda model: unfreeze(model, "1"),
}


@pytest.mark.parametrize("change", MODEL_CHANGES)
def test_a_changed_module_is_computed_anew(change: str) -> None:
    assert rows(network(), data()) == ALL_ANEW
    assert rows(network(), data()) == ALL_FOUND
    model = network()
    MODEL_CHANGES[change](model)
    assert rows(model, data()) == ALL_ANEW


DATA_CHANGES: dict[str, dict[str, Any]] = {
    "mean": {"mean": [0.5, 0.5, 0.4]},
    "std": {"std": [0.25, 0.25, 0.2]},
    "crop": {"crop_pct": 0.9},
    "interpolation, where something is resized": {"interpolation": "bicubic", "crop_pct": 0.9},
}


@pytest.mark.parametrize("change", DATA_CHANGES)
def test_a_changed_transform_is_computed_anew(change: str) -> None:
    assert rows(network(), data()) == ALL_ANEW
    if "crop_pct" in DATA_CHANGES[change]:
        assert rows(network(), data(crop_pct=0.9)) == ALL_ANEW
    if "interpolation" in DATA_CHANGES[change] or "crop_pct" not in DATA_CHANGES[change]:
        assert rows(network(), data(**DATA_CHANGES[change])) == ALL_ANEW


def test_the_types_of_computing_and_storing_count() -> None:
    assert rows(network(), data()) == ALL_ANEW
    assert rows(network(), data(), dtype="float16") == ALL_ANEW
    assert rows(network(), data(), dtype="bfloat16") == ALL_ANEW
    assert rows(network(), data(), precision="float64") == ALL_ANEW
    assert rows(network(), data(), precision="bfloat16") == ALL_ANEW
    assert rows(network(), data(), dtype="float32") == ALL_FOUND


def test_another_head_is_found() -> None:
    assert rows(network(), data()) == ALL_ANEW
    model = network()
    model[5] = nn.Sequential(nn.Linear(100, 7), nn.BatchNorm1d(7), nn.Dropout(0.5), nn.Linear(7, 4))
    assert rows(model, data()) == ALL_FOUND
