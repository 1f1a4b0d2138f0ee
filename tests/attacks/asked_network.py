"""A tiny network over a folder of pictures, and the changes between two times that its frozen layers are asked for."""

import importlib
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

ROWS = 12
NETWORK = """
import torch
from torch import nn

GAIN = 1.5

class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.norm, self.factor = nn.Linear(12, 6), nn.BatchNorm1d(6), 1.1

    def forward(self, x):
        return self.norm(self.linear(x.flatten(1))).relu() * self.factor + GAIN

class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = Body(), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.body(x))
"""


class Pictures(Dataset[tuple[Tensor, int]]):
    """Pictures of 2×2 in files, scaled as they are read, in three classes."""

    def __init__(self, paths: list[Path], scale: float = 1.0, dtype: torch.dtype = torch.float32) -> None:
        self.paths, self.scale, self.dtype = paths, scale, dtype

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return read_picture(self.paths[index], self.scale, self.dtype), index % 3


def read_picture(path: Path, scale: float, dtype: torch.dtype) -> Tensor:
    """Return a picture, `(3, 2, 2)`."""
    with Image.open(path) as picture:
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    return pixels.to(dtype) / 255 * scale


@dataclass(frozen=True)
class Asked:
    """A network with frozen layers, `body`, and the pictures that they are to compute."""

    network: Any
    pictures: Pictures

    def now(self) -> Tensor:
        """Return what the frozen layers compute of all pictures now, in evaluation mode."""
        was = self.network.training
        rows = torch.stack([picture for picture, _ in self.pictures])
        with torch.no_grad():
            computed: Tensor = self.network.eval().body(rows)
        self.network.train(was)
        return computed


def lay_out(folder: Path) -> None:
    """Write the source of the network and half as many pictures more than are asked for at first."""
    (folder / "pictures").mkdir(parents=True)
    (folder / "asked_source.py").write_text(NETWORK)
    for number in range(ROWS + ROWS // 2):
        save_picture(folder / "pictures" / f"{number:02d}.png", number)


def save_picture(path: Path, seed: int) -> None:
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (2, 2, 3), np.uint8)).save(path)


def ask(folder: Path, source: str = NETWORK) -> Asked:
    """Return the network, imported anew and built as ever, and the first pictures of a folder."""
    place = folder / "asked_source.py"
    if place.read_text() != source:
        place.write_text(source)
    sys.modules.pop("asked_source", None)
    importlib.invalidate_caches()
    sys.path.insert(0, str(folder))
    module = importlib.import_module("asked_source")
    sys.path.remove(str(folder))
    torch.manual_seed(0)
    network: nn.Module = module.Network()
    with torch.no_grad():  # as if it had been trained
        network.body.norm.running_mean.copy_(torch.linspace(-0.2, 0.3, 6))
    return Asked(network.eval(), Pictures(sorted((folder / "pictures").glob("*.png"))[:ROWS]))


Change = Callable[[Asked, Path, ExitStack], Asked]
"""Takes what was asked for and its folder, and what undoes what it changes beside; returns what is asked for now."""


def _weight(asked: Asked, folder: Path, undo: ExitStack) -> Asked:
    asked.network.body.linear.weight.data[0, 0] += 0.5
    return asked


def _buffer(asked: Asked, folder: Path, undo: ExitStack) -> Asked:
    asked.network.body.norm.running_mean[0] += 0.5
    return asked


def _attribute(asked: Asked, folder: Path, undo: ExitStack) -> Asked:
    asked.network.body.factor = 1.7
    return asked


def _code(asked: Asked, folder: Path, undo: ExitStack) -> Asked:
    undo.callback((folder / "asked_source.py").write_text, NETWORK)
    return ask(folder, NETWORK.replace(".relu()", ".sigmoid()"))


def _hook(asked: Asked, folder: Path, undo: ExitStack) -> Asked:
    asked.network.body.linear.register_forward_hook(lambda module, given, output: output * 2)
    return asked


def _global(asked: Asked, folder: Path, undo: ExitStack) -> Asked:
    sys.modules["asked_source"].GAIN = 2.5  # type: ignore[attr-defined]
    return asked


def _pixel(asked: Asked, folder: Path, undo: ExitStack) -> Asked:
    path = asked.pictures.paths[3]
    undo.callback(path.write_bytes, path.read_bytes())
    save_picture(path, 99)
    return asked


def _transform(asked: Asked, folder: Path, undo: ExitStack) -> Asked:
    return replace(asked, pictures=Pictures(asked.pictures.paths, scale=0.5))


def _dtype(asked: Asked, folder: Path, undo: ExitStack) -> Asked:
    return Asked(asked.network.double(), Pictures(asked.pictures.paths, dtype=torch.float64))


def _mode(asked: Asked, folder: Path, undo: ExitStack) -> Asked:
    asked.network.train()
    return asked


def _order(asked: Asked, folder: Path, undo: ExitStack) -> Asked:
    return replace(asked, pictures=Pictures(asked.pictures.paths[::-1]))


def _split(asked: Asked, folder: Path, undo: ExitStack) -> Asked:
    every = sorted((folder / "pictures").glob("*.png"))
    return replace(asked, pictures=Pictures(every[-ROWS:]))


def _nothing(asked: Asked, folder: Path, undo: ExitStack) -> Asked:
    return asked


def _folder(asked: Asked, folder: Path, undo: ExitStack) -> Asked:
    moved = folder.parent / f"{folder.name} moved"
    shutil.copytree(folder, moved)
    undo.callback(shutil.rmtree, moved)
    return ask(moved)


CHANGES: Mapping[str, tuple[Change, int]] = {  # and how many rows have to be computed again
    "nothing": (_nothing, 0),
    "weight": (_weight, ROWS),
    "buffer": (_buffer, ROWS),
    "attribute": (_attribute, ROWS),
    "code": (_code, ROWS),
    "hook": (_hook, ROWS),
    "global": (_global, ROWS),
    "pixel": (_pixel, 1),
    "transform": (_transform, ROWS),
    "dtype": (_dtype, ROWS),
    "mode": (_mode, 0),
    "row order": (_order, 0),
    "split": (_split, ROWS // 2),
    "another folder": (_folder, 0),
}
PROCESS = "another process"  # asked by a process of its own, for nothing that has changed
