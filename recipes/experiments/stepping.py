"""The number of steps that a network needs to get somewhere."""

from collections.abc import Iterator
from typing import Any

import torch
from reuse.recipes.experiments.experiment import Figures
from reuse.recipes.experiments.training import begin
from torch import Tensor

from reuse.data.dataset import Dataset
from reuse.data.rows import Resident
from reuse.errors import UsageError
from reuse.seeding import generator
from reuse.training.threads import fitting_threads


def train_until(
    data: Dataset, accuracy: float, *, model: str, seed: int, max_steps: int, every: int, **settings: Any
) -> Figures:
    """Train a network until it has an accuracy on the test rows.

    Args:
        data: the rows; the validation split is not used.
        accuracy: the share of right test rows that is enough.
        model: a model spec.
        seed: of initial weights and order.
        max_steps: when to give up.
        every: steps between two measurements; the steps found are a multiple of it.
        settings: as `train_network` takes them.

    Returns:
        `steps`, `max_steps` where it was never reached; `reached`, 1 or 0; `milliseconds` a step, without measuring;
        `seconds` of all steps.

    Raises:
        UsageError: there are fewer rows than `every` steps take.
    """
    trainer, feed = begin(data, model=model, seed=seed, **settings)
    size = trainer.loop.batch_size
    (rows, targets), test = feed.splits["train"], feed.splits["test"]
    if len(rows) < every * size or targets is None:
        raise UsageError(f"{len(rows)} rows for {every} steps of {size}: measure more often")
    seconds = 0.0
    with fitting_threads(feed.network, trainer.model, rows, size):
        for number, some in enumerate(_portions(len(rows), every * size, seed, rows.device), start=1):
            portion = Resident(*rows.gather(some))  # the trainer reports after an epoch: so this is its epoch
            seconds += sum(epoch.seconds for epoch in trainer.epochs(portion, targets[some], epochs=number))
            reached = trainer.evaluate(*test)["accuracy"] >= accuracy
            if reached or number * every >= max_steps:
                break
    steps = number * every
    return {"steps": steps, "reached": float(reached), "milliseconds": 1000 * seconds / steps, "seconds": seconds}


def _portions(num_rows: int, size: int, seed: int, device: torch.device) -> Iterator[Tensor]:
    """Yield row numbers, `(size,)` at a time, shuffled anew when fewer are left, without end."""
    epoch = 0
    while True:
        epoch += 1
        order = torch.randperm(num_rows, generator=generator(seed, epoch)).to(device)
        yield from order[: num_rows // size * size].view(-1, size)
