"""Datasets of torch as data."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

import reuse
from reuse.errors import DataError, UsageError

GENERATOR = torch.Generator().manual_seed(0)
X, Y = torch.randn(60, 4, generator=GENERATOR), torch.arange(60) % 3


class Named(Dataset[dict[str, Any]]):
    """Samples by name, of two inputs."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, number: int) -> dict[str, Any]:
        return {"left": X[number, :2], "right": X[number, 2:], "label": int(Y[number])}


class Streamed(IterableDataset[Any]):
    """Samples one after the other."""

    def __iter__(self) -> Iterator[Any]:
        return iter(zip(X, Y, strict=True))


class Pictures(Dataset[Any]):
    """Pillow's images with the names of their classes, as torchvision's folders have them."""

    classes = ("cat", "dog")

    def __len__(self) -> int:
        return 20

    def __getitem__(self, number: int) -> Any:
        pixels = np.full((6, 6, 3), number * 10, dtype=np.uint8)
        return Image.fromarray(pixels), number % 2


class Random(TensorDataset):
    """Samples that are changed at random."""

    def __getitem__(self, number: int) -> Any:
        x, y = super().__getitem__(number)
        return x + torch.rand(()), y


def rows(data: Any, split: str) -> Any:
    inputs = getattr(data, split).inputs
    return inputs.gather(torch.arange(len(inputs)))


@pytest.mark.parametrize("dataset", [TensorDataset(X, Y), Streamed()])
def test_a_dataset_is_the_arrays_that_it_holds(dataset: Any) -> None:
    given, arrays = reuse.load(dataset), reuse.load((X.numpy(), Y.numpy()))
    for split in ("train", "valid", "test"):
        torch.testing.assert_close(rows(given, split), rows(arrays, split))
        torch.testing.assert_close(getattr(given, split).targets, getattr(arrays, split).targets)
    assert given.name == type(dataset).__name__


def test_several_inputs_by_name() -> None:
    given = reuse.load(Named())
    arrays = reuse.load({"x": {"left": X[:, :2].numpy(), "right": X[:, 2:].numpy()}, "y": Y.numpy()})
    torch.testing.assert_close(rows(given, "train"), rows(arrays, "train"))


def test_pictures_keep_the_names_of_their_classes() -> None:
    given = reuse.load(Pictures())
    assert tuple(given.classes) == ("cat", "dog")
    assert given.input_shape == (3, 6, 6)


def test_a_part_of_a_dataset() -> None:
    assert len(reuse.load(Subset(TensorDataset(X, Y), range(30))).train) == 19


def test_samples_that_are_changed_at_random_are_refused() -> None:
    with pytest.raises(UsageError, match="a sample of Random differs when it is read a second time"):
        reuse.load(Random(X, Y))


def test_a_dataset_without_samples() -> None:
    with pytest.raises(DataError, match="TensorDataset has no samples"):
        reuse.load(TensorDataset(X[:0], Y[:0]))


def test_a_training_on_a_dataset_is_recorded_as_one_on_arrays(tmp_path: Path) -> None:
    result = reuse.pretrain("supervised", data=TensorDataset(X, Y), model="mlp:4", epochs=1, out=tmp_path / "run")
    assert result.settings["data"] == "arrays"
    assert len(reuse.predict(result.run, data=TensorDataset(X, Y)).labels) == 60
    assert len(reuse.load_model(result.run).predict(X.numpy())) == 60
