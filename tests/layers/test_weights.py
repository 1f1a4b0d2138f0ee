import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from reuse.errors import RunError
from reuse.layers.weights import load_weights, read_weights

STATE = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).state_dict()


def assert_same(loaded: dict[str, torch.Tensor]) -> None:
    assert list(loaded) == list(STATE) or set(loaded) == set(STATE)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in STATE.items())


def test_safetensors(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.safetensors")
    assert_same(load_weights(tmp_path / "w.safetensors"))


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
def test_state_dicts_of_torch(tmp_path: Path, suffix: str) -> None:
    torch.save(STATE, tmp_path / f"w{suffix}")
    assert_same(load_weights(str(tmp_path / f"w{suffix}")))


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_checkpoints_and_wrapped_models(tmp_path: Path, key: str, prefix: str) -> None:
    state = {prefix + name: tensor for name, tensor in STATE.items()}
    torch.save({"epoch": 3, "optimizer": {"lr": 0.1}, key: state}, tmp_path / "w.pt")
    assert_same(load_weights(tmp_path / "w.pt"))


def test_a_prefix_that_only_some_names_have_stays(tmp_path: Path) -> None:
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "w.pt")
    assert set(load_weights(tmp_path / "w.pt")) == {"module.a", "b"}


class Trap:
    """What a pickle that runs code looks like."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def test_a_pickle_that_would_run_code_is_not_opened(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1), "trap": Trap(str(tmp_path / "sprung"))}, tmp_path / "w.pt")
    with pytest.raises(RunError, match="run code"):
        load_weights(tmp_path / "w.pt")
    assert not (tmp_path / "sprung").exists()


def test_a_whole_model_is_not_opened(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "w.pt")
    with pytest.raises(RunError, match="state_dict"):
        load_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("content", [torch.ones(2), {"a": torch.ones(1), "epoch": 3}, {}])
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(RunError, match="state dict"):
        load_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_files_cut_short_are_one_clear_line(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"w{suffix}"
    save_file(STATE, path) if suffix == ".safetensors" else torch.save(STATE, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(RunError, match="w") as caught:
        load_weights(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"abc", b"0", b".", b"(", b"\x80\x02", b"\0" * 50, b"<html></html>", b"]}t.", b"K", b"c\n"]
)
def test_what_is_no_file_of_torch_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(RunError, match=r"w\.pth") as caught:
        load_weights(tmp_path / "w.pth")
    assert "\n" not in str(caught.value)


def test_missing_files_and_other_kinds(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no weights file"):
        load_weights(tmp_path / "w.pt")
    (tmp_path / "w.npz").write_bytes(b"")
    with pytest.raises(RunError, match="safetensors"):
        load_weights(tmp_path / "w.npz")


@pytest.mark.parametrize("name", ["epoch=3.ckpt", "model_best.pth.tar", "weights", "w.bin", "w.safetensors.1"])
@pytest.mark.parametrize("kind", ["torch", "torch of before", "safetensors"])
def test_a_file_is_known_by_its_content(tmp_path: Path, name: str, kind: str) -> None:
    if kind == "safetensors":
        if name.endswith(".bin"):
            pytest.skip("an ending that means torch's files is believed")
        save_file(STATE, tmp_path / name)
    else:
        torch.save(STATE, tmp_path / name, _use_new_zipfile_serialization=kind == "torch")
    assert_same(load_weights(tmp_path / name))


def test_what_training_scripts_keep_beside_the_weights_is_no_hindrance(tmp_path: Path) -> None:
    beside = {
        "args": argparse.Namespace(lr=0.1, data=Path("photos")),
        "best_acc1": np.float64(81.5),
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
        "hyper_parameters": {"depth": 3},
    }
    torch.save({"epoch": 3, "state_dict": STATE, **beside}, tmp_path / "w.pth")
    found = read_weights(tmp_path / "w.pth")
    assert_same(found.tensors)
    assert found.notes == ()


def test_of_a_student_and_its_teacher_the_teacher_is_taken_and_said(tmp_path: Path) -> None:
    student = {f"module.{name}": tensor + 1 for name, tensor in STATE.items()}
    teacher = {f"module.{name}": tensor for name, tensor in STATE.items()}
    torch.save({"student": student, "teacher": teacher, "epoch": 1}, tmp_path / "w.pth")
    found = read_weights(tmp_path / "w.pth")
    assert_same(found.tensors)
    taken_off = "all names begin with module.: it is taken off"
    assert found.notes == ("w.pth holds teacher and student: teacher is taken", taken_off)


def test_weights_inside_of_weights(tmp_path: Path) -> None:
    torch.save({"model": {"state_dict": STATE, "version": 2}}, tmp_path / "w.pth")
    assert_same(load_weights(tmp_path / "w.pth"))
