"""Random state: seeding it, saving it, putting it back, and generators that depend on nothing but their arguments."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global generators (torch's on every device)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the global state is what models and data sets draw from
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:  # without one, torch would note the seed for devices that may come, with a stack trace, which takes long
        torch.default_generator.manual_seed(seed)


def generator(*parts: int) -> torch.Generator:
    """Return a CPU generator seeded by `parts` alone, e.g. `(seed, epoch)`.

    The order of an epoch drawn from it is the same whether the run was interrupted or not, cached or not.
    """
    words = np.random.SeedSequence([part % 2**64 for part in parts]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 31 ^ int(words[1]))


def random_state() -> dict[str, Any]:
    """Return torch's global random state: `cpu`, and `cuda` for every device in use, as byte tensors."""
    state: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Put back what `random_state` returned."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


@contextmanager
def untouched_random_state() -> Iterator[None]:
    """Leave torch's, NumPy's and Python's global random states as they were when the block was entered."""
    torch_state, numpy_state, python_state = random_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        set_random_state(torch_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
