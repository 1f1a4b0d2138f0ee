"""Seeding the global generators."""

import random

import numpy as np
import pytest
import torch

from reuse.seeding import seed_everything


def test_all_three_generators_begin_anew() -> None:
    def drawn() -> tuple[float, float, float]:
        return random.random(), float(np.random.random()), float(torch.rand(()))  # noqa: NPY002

    seed_everything(2**40 + 3)
    first = drawn()
    assert drawn() != first
    seed_everything(2**40 + 3)
    assert drawn() == first
    torch.manual_seed(2**40 + 3)
    assert float(torch.rand(())) == first[2]


@pytest.mark.parametrize("there", [False, True])
def test_devices_are_seeded_where_there_are_some(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seeded: list[int] = []
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: there)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    seed_everything(3)
    assert seeded == ([3] if there else [])
