"""What a layer keeps and does not read into its result costs no row: its key is the same in every process."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import reuse

FOLDER = Path(__file__).parents[1]


def keys(program: Path, uses: int, seed: str) -> list[str]:
    """Return the lines of the program in a process of its own, its layers used some times before."""
    path = os.pathsep.join(map(str, (FOLDER, FOLDER.parent)))
    environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path}
    command = [sys.executable, str(program), str(uses)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_twenty_layers_have_one_key_in_three_processes_used_or_not(tmp_path: Path) -> None:
    program = FOLDER / "attacks" / "keeping_models.py"
    elsewhere = tmp_path / "another_name.py"
    shutil.copy(program, elsewhere)
    first, *others = keys(program, 0, "0"), keys(program, 3, "1"), keys(elsewhere, 1, "2")
    assert len(first) == 20
    assert len({line.split()[1] for line in first}) >= 15, "most of them compute something of their own"
    for other in others:
        assert [one for one, again in zip(first, other, strict=True) if one != again] == []


def convolutions() -> nn.Sequential:
    torch.manual_seed(0)
    blocks = [nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*blocks, nn.Linear(32, 3)).eval()


def test_weights_that_lie_otherwise_in_memory_find_what_is_cached() -> None:
    """Kernels round otherwise for them, which a probe must not take for another computation."""
    pictures = TensorDataset(torch.rand(20, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert reuse.cached(convolutions(), pictures, freeze="!5").computed == 20
    lying = convolutions().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert reuse.cached(lying, pictures, freeze="!5").computed == 0
    assert reuse.cached(convolutions(), pictures, freeze="!5").computed == 0


def test_weights_that_lie_otherwise_and_compute_something_else_are_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_SCALE", "1")
    pictures = TensorDataset(torch.rand(20, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    model = convolutions()
    model[1] = ScaledByEnvironment()
    assert reuse.cached(model, pictures, freeze="!5").computed == 20
    monkeypatch.setenv("TEST_SCALE", "1.001")
    lying = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with pytest.warns(UserWarning, match="set aside"):
        assert reuse.cached(lying, pictures, freeze="!5").computed == 20


class ScaledByEnvironment(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * float(os.environ["TEST_SCALE"])
