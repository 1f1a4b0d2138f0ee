"""Data sets by name, from where they are found."""

import gzip

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.utils import Bunch

from reuse.data import catalogue
from reuse.data.loading import load
from reuse.errors import DataError, UsageError


@pytest.mark.parametrize(
    ("name", "rows", "shape", "outputs", "task"),
    [
        ("digits", 1797, (1, 8, 8), 10, "classification"),
        ("breast-cancer", 569, (30,), 2, "classification"),
        ("iris", 150, (4,), 3, "classification"),
        ("wine", 178, (13,), 3, "classification"),
        ("diabetes", 442, (10,), 1, "regression"),
    ],
)
def test_shipped_data(name, rows, shape, outputs, task):
    data = load(name)
    assert (sum(data.sizes.values()), data.input_shape, data.num_outputs, data.task) == (rows, shape, outputs, task)


def test_fashion_mnist_keeps_its_own_test_split(real_data):
    data = load("fashion-mnist")
    assert data.sizes == {"train": 48000, "valid": 12000, "test": 10000}
    assert data.classes[9] == "Ankle boot"
    raw = gzip.decompress((real_data / "fashion-mnist/t10k-images-idx3-ubyte.gz").read_bytes())[16 : 16 + 784]
    expected = torch.frombuffer(bytearray(raw), dtype=torch.uint8).float().view(1, 28, 28) / 255
    assert torch.equal(data.test.inputs.gather(torch.tensor([0]))[0][0], expected)


def test_sandals_and_shirts_of_200_labels(real_data):
    data = load("fashion-mnist", classes="5,6", labels=200)
    assert data.classes == ("Sandal", "Shirt")
    assert data.sizes == {"train": 160, "valid": 40, "test": 2000}


def test_mnist_from_npz(real_data):
    data = load("mnist")
    with np.load(real_data / "mnist.npz") as arrays:
        assert (data.test.targets.numpy() == arrays["y_test"]).all()
    assert data.classes == tuple("0123456789")


def test_cifar10_from_an_archive_says_that_it_is_a_part(real_data):
    data = load("cifar10", labels=100)
    assert data.input_shape == (3, 32, 32)
    assert data.sizes == {"train": 80, "valid": 20, "test": 2000}
    assert data.classes[0] == "airplane"
    assert any("12,000 of 60,000" in note for note in data.notes)


def test_california_housing_has_scikit_learns_eight_features(real_data):
    data = load("california-housing", valid_fraction=0, test_fraction=0)
    names = [column.name for column in data.preprocessing.columns]
    assert names == ["MedInc", "HouseAge", "AveRooms", "AveBedrms", "Population", "AveOccup", "Latitude", "Longitude"]
    table = pd.read_csv(real_data / "housing.csv")
    per_household = table["total_rooms"] / table["households"]
    expected = (per_household - per_household.mean()) / per_household.std(ddof=0)
    np.testing.assert_allclose(data.train.inputs.resident()[:, 2], expected, atol=1e-5)
    np.testing.assert_allclose(data.train.targets[:, 0], table["median_house_value"] / 1e5, rtol=1e-6)
    assert any("'AveBedrms': 207 missing values" in note for note in data.notes)
    assert sum(data.sizes.values()) == 20640


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No data anywhere, and a proxy that nobody answers at."""
    monkeypatch.setenv("REUSE_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "sklearn"))
    monkeypatch.setattr(catalogue, "DEBIAN_FOLDER", tmp_path / "debian")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10", "california-housing"])
def test_what_is_nowhere_says_where_it_looked_and_what_to_do(offline, name, tmp_path, capsys):
    with pytest.raises(
        DataError, match=rf"{name} was not found in .*nowhere, .*debian and could not be downloaded .*REUSE_DATA"
    ):
        load(name)
    assert capsys.readouterr().out == ""


def test_openml_offline(offline):
    with pytest.raises(DataError, match="openml:adult could not be fetched"):
        load("openml:adult")


def test_openml_is_a_table(monkeypatch):
    frame = pd.DataFrame(
        {"a": np.arange(20.0), "b": pd.Categorical(["u", "v"] * 10), "kind": pd.Categorical(["x", "y"] * 10)}
    )
    asked = {}

    def fetch(name, **settings):
        asked.update(name=name, **settings)
        return Bunch(frame=frame, target_names=["kind"])

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    data = load("openml:toy")
    assert asked["name"] == "toy"
    assert (data.classes, data.input_shape, data.name) == (("x", "y"), (3,), "openml:toy")


def test_settings_that_a_named_set_cannot_take():
    with pytest.raises(UsageError, match="target="):
        load("digits", target="label")
    with pytest.raises(UsageError, match="group_by="):
        load("iris", group_by="who")
    with pytest.raises(UsageError, match="for images"):
        load("wine", image_size=8)
