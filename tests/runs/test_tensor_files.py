"""Tensors on disk: bit for bit, whole or not at all, damage by name."""

from pathlib import Path

import pytest
import torch
from torch import nn

from reuse.errors import RunError
from reuse.runs.tensor_files import load_tensors_file, save_tensors

PATH = Path("tensors.safetensors")


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool]
)
def test_every_type_comes_back_bit_for_bit(dtype: torch.dtype) -> None:
    tensors = {
        "a": torch.randn(3, 4).to(dtype),
        "scalar": torch.tensor(2).to(dtype),
        "none": torch.zeros(0, 3).to(dtype),
    }
    save_tensors(PATH, tensors)
    loaded = load_tensors_file(PATH)
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == dtype
        assert torch.equal(loaded[name], tensor)


def test_tied_views_and_parameters_are_written_under_each_name() -> None:
    weight = nn.Parameter(torch.randn(4, 6))
    save_tensors(PATH, {"one": weight, "two": weight, "turned": weight.t(), "part": weight[:, ::2]})
    loaded = load_tensors_file(PATH)
    assert torch.equal(loaded["one"], weight)
    assert torch.equal(loaded["two"], weight)
    assert torch.equal(loaded["turned"], weight.t())
    assert torch.equal(loaded["part"], weight[:, ::2])
    assert not any(tensor.requires_grad for tensor in loaded.values())


def test_an_empty_file_of_tensors_is_none() -> None:
    save_tensors(PATH, {})
    assert load_tensors_file(PATH) == {}


def test_a_kill_before_the_rename_leaves_the_old_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    save_tensors(PATH, {"a": torch.ones(2)})

    def power_cut(self: Path, target: Path) -> None:
        raise OSError("cut")

    monkeypatch.setattr(Path, "replace", power_cut)
    with pytest.raises(OSError, match="cut"):
        save_tensors(PATH, {"a": torch.zeros(2)})
    assert torch.equal(load_tensors_file(PATH)["a"], torch.ones(2))


@pytest.mark.parametrize("kept", [0, 3, 20, -1])
def test_a_file_cut_short_is_damaged(kept: int) -> None:
    save_tensors(PATH, {"a": torch.ones(20)})
    PATH.write_bytes(PATH.read_bytes()[:kept])
    with pytest.raises(RunError, match=r"tensors\.safetensors is damaged"):
        load_tensors_file(PATH)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(RunError, match=r"tensors\.safetensors is missing"):
        load_tensors_file(PATH)
