"""Batches of cached features, in the order in which torch's DataLoader would give them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from reuse.data.rows import Rows, read_in_order
from reuse.distributed import rank, world_size
from reuse.errors import UsageError
from reuse.menus import is_whole
from reuse.seeding import generator as generator_of


class FeatureLoader:
    """Batches of features and targets, each gathered at once: what a `DataLoader` gives, without its workers.

    Batches come in the order of a `DataLoader` with the same arguments at the same state of torch's random numbers.
    Each process of several that train together gets its own rows, as many as the others.

    Args:
        versions: returns the features, in versions of which epochs read one after the other.
        targets: of the rows, side by side; None where there are none.
        batch_size: rows of a batch.
        shuffle: whether each epoch has an order of its own.
        drop_last: whether a last batch of fewer rows is left out.
        generator: that the order is drawn from; None: torch's own random numbers.
        seed: from which and the number of the epoch alone orders follow, so that a training goes on as it would have;
            None: they are drawn one after the other.

    Raises:
        UsageError: the batch size is below 1, or there are both a generator and a seed.
    """

    batch_sampler = None  # which trainers look for beside the sampler

    def __init__(
        self,
        versions: Callable[[], Sequence[Rows]],
        targets: Any,
        batch_size: int = 64,
        shuffle: bool = False,
        drop_last: bool = False,
        generator: torch.Generator | None = None,
        seed: int | None = None,
    ) -> None:
        if not is_whole(batch_size) or batch_size < 1:
            raise UsageError(f"batch size is {batch_size!r}: give a whole number of 1 or more")
        if generator is not None and seed is not None:
            raise UsageError("orders are drawn from a generator or follow from a seed: give one of them")
        self._versions, self._targets, self._seed = versions, targets, seed
        self._batch_size, self._shuffle, self._drop_last = int(batch_size), shuffle, drop_last
        self._generator = generator
        self._epoch = 0

    @property
    def sampler(self) -> "FeatureLoader":
        """Itself: a trainer such as Lightning's tells a loader's sampler which epoch begins."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Let the next epoch be that of a number, from 0; else each is one more than the last."""
        self._epoch = epoch

    def __len__(self) -> int:
        own = len(self._versions()[0]) // world_size()
        return own // self._batch_size if self._drop_last else -(-own // self._batch_size)

    def __iter__(self) -> Iterator[Any]:
        versions = self._versions()
        rows = versions[self._epoch % len(versions)]
        order = self._order(len(rows))
        self._epoch += 1
        with read_in_order(rows, order.to(rows.device)) as opened:
            for some in order.split(self._batch_size)[: len(self)]:  # type: ignore[no-untyped-call]
                features = as_given(opened.gather(some.to(rows.device)))
                yield features if self._targets is None else (features, picked(self._targets, some, rows.device))

    def _order(self, num_rows: int) -> Tensor:
        if self._seed is None:
            order = _order_as_of_torch(num_rows, self._shuffle, self._generator)
        elif self._shuffle:
            order = torch.randperm(num_rows, generator=generator_of(self._seed, self._epoch))
        else:
            order = torch.arange(num_rows)
        own = num_rows // world_size()
        return order if world_size() == 1 else order[rank() :: world_size()][:own]


def _order_as_of_torch(num_rows: int, shuffle: bool, drawn: torch.Generator | None) -> Tensor:
    """Return the order of a DataLoader, and draw as many random numbers as it does."""
    torch.empty((), dtype=torch.int64).random_(generator=drawn)  # the seed of its workers
    if not shuffle:
        return torch.arange(num_rows)
    if drawn is None:
        seed = int(torch.empty((), dtype=torch.int64).random_().item())
        return torch.randperm(num_rows, generator=torch.Generator().manual_seed(seed))
    order = torch.randperm(num_rows, generator=drawn)
    torch.randperm(num_rows, generator=drawn)  # its sampler draws the rest of a whole number of orders, of none
    return order


def as_given(tensors: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
    """Return one tensor as it is, and several in a tuple."""
    return tensors[0] if len(tensors) == 1 else tensors


def picked(targets: Any, indices: Tensor, device: torch.device) -> Any:
    """Return the targets of some rows, on a device, in the containers that they stand in side by side."""
    if isinstance(targets, Tensor):
        return targets.index_select(0, indices.to(targets.device)).to(device, non_blocking=True)
    if isinstance(targets, Mapping):
        return {name: picked(value, indices, device) for name, value in targets.items()}
    if isinstance(targets[0], str | bytes):
        return [targets[number] for number in indices.tolist()]
    return [picked(value, indices, device) for value in targets]


def picked_one(targets: Any, index: int) -> Any:
    """Return the target of one row, in the containers that a sample had it in."""
    if isinstance(targets, Mapping):
        return {name: picked_one(value, index) for name, value in targets.items()}
    if isinstance(targets, Tensor) or isinstance(targets[0], str | bytes):
        return targets[index]
    return tuple([picked_one(value, index) for value in targets])
