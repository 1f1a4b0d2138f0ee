"""Choosing a device and a type by name."""

import os

import pytest
import torch

from reuse.devices import DTYPES, choose_device, choose_dtype, dtype_name, free_memory
from reuse.errors import UnknownNameError, UsageError


def test_the_processor_is_always_there() -> None:
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["toaster", "", "cuda:x", "cpu:", "cuda:4096"])
def test_a_device_that_cannot_be_used_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be used") as caught:
        choose_device(name)
    message = str(caught.value)
    assert repr(name) in message
    assert "give auto, cpu, cuda, cuda:N or mps" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_what_is_there(monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device().type == choose_device("auto").type == expected


@pytest.mark.parametrize("name", DTYPES)
def test_names_of_types_round_trip(name: str) -> None:
    dtype = choose_dtype(name)
    assert dtype is getattr(torch, name)
    assert dtype.is_floating_point
    assert dtype_name(dtype) == name


def test_types_that_cannot_be_chosen_have_a_name_too() -> None:
    assert [dtype_name(t) for t in (torch.int64, torch.uint8, torch.bool)] == ["int64", "uint8", "bool"]


@pytest.mark.parametrize(("name", "meant"), [("float23", "float32"), ("bfloat61", "bfloat16")])
def test_an_unknown_type_is_refused_with_the_nearest(name: str, meant: str) -> None:
    with pytest.raises(UnknownNameError, match=meant) as caught:
        choose_dtype(name)
    assert repr(name) in str(caught.value)


def test_free_memory_is_some_of_the_machine() -> None:
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < free_memory(torch.device("cpu")) <= whole
