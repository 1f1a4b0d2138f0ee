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


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a device to seed")
def test_nothing_piles_up_for_devices_that_are_not_there() -> None:
    queued = torch.cuda._queued_calls  # what torch would do once there is one
    before = len(queued)
    for seed in range(3):
        seed_everything(seed)
    assert len(queued) == before
