"""Datasets whose samples are known by keys: whatever they make their samples with counts, if few rows show it too."""

import enum
import re
import time
from array import array
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from types import MappingProxyType, SimpleNamespace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import ConcatDataset, Dataset, Subset

import reuse
from reuse.data.sample_keys import datasets_in, made_by

ROWS, ODD = 120, 77
X = torch.rand(ROWS, 8, generator=torch.Generator().manual_seed(0))


class Kept(Dataset):
    """Rows with keys, of which one is made with a setting; labels are known without reading them."""

    take = staticmethod(lambda setting: setting)

    def __init__(self, setting, rows=X):
        self.rows, self.setting = rows, setting
        self.targets = [0] * len(rows)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        row = self.rows[index]
        return (row * float(self.take(self.setting)) if torch.equal(row, X[ODD]) else row), 0

    def reuse_keys(self):
        return [f"row {number}" for number in range(len(self))]


@dataclass
class Settings:
    by: float


class Beside(NamedTuple):
    other: Dataset
    by: float


def number_in(parts):
    return next(part for part in parts if isinstance(part, float))


def pair_in(parts):
    return next(part for part in parts if isinstance(part, tuple))


class Mode(enum.Enum):
    SOFT = 2.0
    HARD = 3.0


class Changed(Subset):
    def __init__(self, dataset, by):
        super().__init__(dataset, range(len(dataset)))
        self.by = by

    def __getitem__(self, index):
        row, target = self.dataset[index]
        return (row * self.by if torch.equal(row, X[ODD]) else row), target

    def __getitems__(self, indices):
        return [self[index] for index in indices]


class Around(Dataset):
    """A Dataset around another one."""

    def __init__(self, inner):
        self.inner, self.targets = inner, inner.targets

    def __len__(self):
        return len(self.inner)

    def __getitem__(self, index):
        return self.inner[index]

    def reuse_keys(self):
        return self.inner.reuse_keys()


class Joined(ConcatDataset):
    targets = property(lambda self: [0] * len(self))

    def reuse_keys(self):
        return [f"{number} {key}" for number, part in enumerate(self.datasets) for key in part.reuse_keys()]


class Held(Around):
    """A Dataset around others in a container, of which the last makes its samples."""

    def __init__(self, last, hold):
        self.inner, self.targets = None, last.targets
        self.held, self.take = hold(last), None

    def __len__(self):
        return ROWS

    def __getitem__(self, index):
        return self.last()[index]

    def last(self):
        return max(datasets_in(self.held), key=lambda dataset: dataset.setting)

    def reuse_keys(self):
        return self.last().reuse_keys()


class Slotted(Dataset):
    """Rows as of `Kept`, made with what a slot holds."""

    targets = [0] * ROWS
    reuse_keys, __len__ = Kept.reuse_keys, Held.__len__

    def __getitem__(self, index):
        return Kept(self.held())[index]


class InOneSlot(Slotted):
    __slots__ = "setting"

    def __init__(self, setting):
        self.setting = setting

    def held(self):
        return self.setting


class InPrivateSlot(Slotted):
    __slots__ = ("__setting",)

    def __init__(self, setting):
        self.__setting = setting

    def held(self):
        return self.__setting


def by_attribute(value, take):
    return type("Taken", (Kept,), {"take": staticmethod(take)})(value)


SETTINGS = {
    "a scalar of NumPy": (np.float32, lambda s: s),
    "a tensor": (lambda by: torch.tensor([by, 0.0]), lambda s: s[0]),
    "an array": (lambda by: np.array([by]), lambda s: s[0]),
    "an array in a list": (lambda by: [np.array([by])], lambda s: s[0][0]),
    "an array in a dictionary": (lambda by: {"by": np.array([by])}, lambda s: s["by"][0]),
    "an object": (Settings, lambda s: s.by),
    "a namespace": (lambda by: SimpleNamespace(by=by), lambda s: s.by),
    "a member of an enumeration": (Mode, lambda s: s.value),
    "a set": (lambda by: {by}, lambda s: next(iter(s))),
    "bytes": (lambda by: str(by).encode(), float),
    "a slice": (slice, lambda s: s.stop),
    "a queue": (lambda by: deque([by]), lambda s: s[0]),
    "a regular expression": (lambda by: re.compile(f"{by}(.*)"), lambda s: s.pattern.partition("(")[0]),
    "a decimal number": (Decimal, lambda s: s),
    "a duration": (lambda by: timedelta(seconds=by), lambda s: s.total_seconds()),
    "an array of Python": (lambda by: array("d", [by]), lambda s: s[0]),
    "a view of a dictionary": (lambda by: MappingProxyType({"by": by}), lambda s: s["by"]),
    "a series": (lambda by: pd.Series([by, 0.0]), lambda s: s.iloc[0]),
    "a frame": (lambda by: pd.DataFrame({"by": [by]}), lambda s: s["by"].iloc[0]),
    "a range": (lambda by: range(int(by)), len),
    "a setting beside a dataset in an ordered dictionary": (
        lambda by: OrderedDict(other=Kept(1.0), by=by),
        lambda s: s["by"],
    ),
    "a setting beside a dataset in a named tuple": (lambda by: Beside(Kept(1.0), by), lambda s: s.by),
    "a setting beside a dataset in a queue": (lambda by: deque([Kept(1.0), by]), lambda s: s[1]),
    "a setting beside a dataset in a set": (lambda by: {Kept(1.0), by}, number_in),
    "a setting beside a dataset in a tuple in a set": (
        lambda by: {(Kept(1.0), by), 7},
        lambda s: number_in(pair_in(s)),
    ),
    "the order of many datasets": (
        lambda by: [Kept(1.0, X[: 2 if by == 2 else 5]), Kept(1.0, X[: 5 if by == 2 else 2])] * 9,
        lambda s: len(s[0]),
    ),
}
DATASETS = {
    name: lambda by, make=make, take=take: by_attribute(make(by), take) for name, (make, take) in SETTINGS.items()
}
DATASETS |= {
    "a subset with a setting": lambda by: Changed(Kept(1.0), by),
    "a dataset in another": lambda by: Around(Kept(by)),
    "datasets one after the other": lambda by: Joined([Kept(by), Kept(1.0)]),
    "many datasets one after the other": lambda by: Joined([*(Kept(1.0, X[:2]) for _ in range(20)), Kept(by)]),
    "a dictionary of datasets": lambda by: Held(Kept(by), lambda last: {"a": Kept(1.0), "b": last}),
    "many datasets in a dictionary": lambda by: Held(
        Kept(by), lambda last: {**{number: Kept(1.0) for number in range(20)}, "b": last}
    ),
    "a set of datasets": lambda by: Held(Kept(by), lambda last: {last}),
    "datasets in pairs": lambda by: Held(Kept(by), lambda last: [*((Kept(1.0), 0.5) for _ in range(20)), (last, 1)]),
    "a queue of datasets": lambda by: Held(Kept(by), lambda last: deque([last])),
    "a dataset in a tuple in a dictionary": lambda by: Held(Kept(by), lambda last: {"a": (last, 1)}),
    "a slot that is named by a text": InOneSlot,
    "a private slot": InPrivateSlot,
    "a subset of a dataset": lambda by: Subset(Kept(by), range(ROWS)),
}


def features_of(dataset, **settings):
    torch.manual_seed(0)
    width = dataset[0][0].numel()
    model = nn.Sequential(nn.Flatten(), nn.Linear(width, 6), nn.Linear(6, 3)).eval()
    features = reuse.cached(model, dataset, freeze="1", cache_dir="cache", **settings)
    with torch.no_grad():
        now = model[1](model[0](torch.stack([dataset[number][0] for number in range(len(dataset))])))
    assert torch.allclose(torch.stack([z for z, _ in features]), now, atol=1e-6)
    return features


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.parametrize("given", [False, True], ids=["its own keys", "given keys"])
def test_what_a_dataset_makes_its_samples_with_counts(name, given):
    def asked(by):
        dataset = DATASETS[name](by)
        return features_of(dataset, **({"key": list(range(len(dataset)))} if given else {}))

    assert asked(2.0).computed > 0
    assert asked(2.0).computed == 0
    assert asked(3.0).computed > 0


def test_a_setting_that_is_called_as_a_folder_counts(tmp_path):
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
    modes = {"train": 2.0, "test": 3.0}
    features_of(by_attribute("train", lambda s: modes[s]))
    assert features_of(by_attribute("test", lambda s: modes[s])).computed == ROWS


def test_samples_that_are_added_cost_their_rows_alone():
    assert features_of(Kept(np.float32(2), X[:100])).computed == 100
    assert features_of(Kept(np.float32(2))).computed == ROWS - 100
    assert features_of(Subset(Kept(np.float32(2)), range(5))).computed == 0


def test_a_class_that_is_added_to_a_folder_of_pictures_costs_its_rows_alone(tmp_path):
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import ToTensor

    def add(kind):
        for number in range(8):
            pixels = np.random.default_rng([ord(kind), number]).integers(0, 256, (2, 2, 3), np.uint8)
            (tmp_path / "pictures" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "pictures" / kind / f"{number}.png")
        return features_of(ImageFolder(tmp_path / "pictures", ToTensor()))

    assert add("b").computed == 8
    assert add("a").computed == 8
    assert add("c").computed == 8


def test_settings_that_refer_back_to_each_other_end():
    node = SimpleNamespace(by=2.0)
    node.children = [SimpleNamespace(parent=node)]
    assert made_by(Kept(node))["class"] is Kept


def test_datasets_that_refer_back_to_each_other_end():
    one, other = Around(Kept(2.0)), Around(Kept(3.0))
    one.other, other.other = other, one
    assert made_by(one)["settings"]["other"]["class"] is Around


def test_a_long_list_of_samples_costs_no_key_and_is_looked_through_quickly():
    dataset = Around(Kept(2.0))
    dataset.samples = [(f"{number}.png", number) for number in range(300_000)]
    begun = time.process_time()
    assert set(made_by(dataset)["settings"]) == {"inner"}
    assert time.process_time() - begun < 1


@pytest.mark.parametrize("table", [pd.Series, lambda rows: pd.DataFrame({"row": rows}), lambda rows: array("d", rows)])
def test_a_long_table_holds_the_samples(table):
    short, long = Kept(2.0, X[:100]), Kept(2.0)
    short.table, long.table = table(range(100)), table(range(ROWS))
    assert features_of(short).computed == 100
    assert features_of(long).computed == ROWS - 100
