"""Choosing a device and a type by name."""

import os

import pytest
import torch

from reuse.devices import choose_device, dtype_name, free_memory
from reuse.errors import UsageError


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


def test_types_have_the_names_that_torch_gives_them() -> None:
    types = (torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
    assert [dtype_name(t) for t in types] == ["float32", "bfloat16", "int64", "uint8", "bool"]
    assert all(getattr(torch, dtype_name(t)) is t for t in types)


def test_free_memory_is_some_of_the_machine() -> None:
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < free_memory(torch.device("cpu")) <= whole
