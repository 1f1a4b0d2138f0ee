"""Inputs that are read and prepared in the background while the frozen layers compute the batch before."""

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from reuse.data.inputs import Inputs
from reuse.devices import Compute


class PreparedAhead:
    """Inputs of rows that are asked for in order, batch by batch, each prepared while the one before is computed.

    One batch is ahead and no more, so that memory holds two. A batch that is not the expected one is prepared at once.
    Where no row is asked for twice nothing is kept of them, so that of images that are decoded here memory holds two
    batches too.

    Args:
        rows: the inputs.
        order: positions in `rows`, ascending, that will be asked for.
        batch: how many at a time; the last ones, and the last of a block, may be fewer.
        compute: where and in which types they are used.
        once: whether no row will be asked for again after this.
    """

    def __init__(self, rows: Inputs, order: np.ndarray, batch: int, compute: Compute, *, once: bool = False) -> None:
        self._order, self._batch, self._compute = order, batch, compute
        self._gather = rows.gather_once if once else rows.gather
        self._thread = ThreadPoolExecutor(1)
        self._coming: tuple[np.ndarray, Future[tuple[Tensor, ...]]] | None = None

    def __enter__(self) -> "PreparedAhead":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    def take(self, positions: np.ndarray) -> tuple[Tensor, ...]:
        """Return the inputs of some rows on the device and in the type of the computation, and begin the next ones."""
        inputs = self._expected(positions)
        if inputs is None:
            inputs = self._prepare(positions)
        start = int(np.searchsorted(self._order, positions[-1], side="right"))
        following = self._order[start : start + self._batch]
        self._coming = (following, self._thread.submit(self._prepare, following)) if len(following) else None
        return tuple([tensor.to(self._compute.device, non_blocking=True) for tensor in inputs])

    def _expected(self, positions: np.ndarray) -> tuple[Tensor, ...] | None:
        if self._coming is None:
            return None
        coming, prepared = self._coming
        inputs = prepared.result()
        if not np.array_equal(coming[: len(positions)], positions):
            return None
        return tuple([tensor[: len(positions)] for tensor in inputs])

    def _prepare(self, positions: np.ndarray) -> tuple[Tensor, ...]:
        """Return rows on the CPU, in memory from which a GPU copies by itself where there is one."""
        dtype, pinned = self._compute.dtype, self._compute.device.type == "cuda"
        gathered = self._gather(torch.from_numpy(positions))
        typed = [tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in gathered]
        return tuple([tensor.pin_memory() if pinned else tensor for tensor in typed])
