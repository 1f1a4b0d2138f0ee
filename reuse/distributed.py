"""Several processes that train one model together, as `torchrun` starts them: who is who, and waiting for each other.

Without `torchrun` there is one process, everything here returns at once, and no process group is made.
"""

import atexit
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from reuse.errors import ReuseError, UsageError

T = TypeVar("T")

STEP_TIMEOUT = timedelta(minutes=10)
"""The time that processes wait for each other within a training before they say that one is stuck."""

WORK_TIMEOUT = timedelta(days=7)
"""The time that they wait while the first one works for all: a cache may take hours; a death is noticed at once."""

_waiting: dict[str, Any] = {}  # the group for waiting, once it is made


class LostProcessError(ReuseError):
    """Another process of the same training has failed, has been stopped, or is stuck."""


def launched() -> bool:
    """Say whether this process is one of several that `torchrun` (or what sets the same variables) has started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if _is_joined() else 0


def world_size() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if _is_joined() else 1


def is_main() -> bool:
    """Say whether this process is the one that prints, writes and builds for all."""
    return rank() == 0


def join() -> None:
    """Join the other processes, if there are any; each takes the GPU of its number.

    CUDA tensors travel by NCCL where each process of a machine has a GPU of its own, everything else by gloo.

    Raises:
        LostProcessError: the others cannot be reached.
    """
    if not launched() or _is_joined():
        return
    backend, local = "gloo", int(os.environ.get("LOCAL_RANK", "0"))
    if torch.cuda.is_available():
        torch.cuda.set_device(local % torch.cuda.device_count())
        if int(os.environ.get("LOCAL_WORLD_SIZE", "1")) <= torch.cuda.device_count():
            backend = "cpu:gloo,cuda:nccl"
    with others_needed():
        dist.init_process_group(backend, timeout=STEP_TIMEOUT)
        _waiting["group"] = dist.new_group(backend="gloo", timeout=WORK_TIMEOUT)
    atexit.register(leave)


def leave() -> None:
    """Leave the other processes; without any nothing happens."""
    _waiting.clear()
    if _is_joined():
        dist.destroy_process_group()


@contextmanager
def others_needed() -> Iterator[None]:
    """Say in one line that another process is gone or stuck, or what is not possible with parameters that are divided.

    gloo, NCCL and torch say it otherwise.

    Raises:
        LostProcessError: one is.
        UsageError: torch cannot do with divided parameters what a setting asks for.
    """
    try:
        yield
    except RuntimeError as error:  # NotImplementedError is one
        reason = str(error).strip().partition("\n")[0][:200]
        if any(word in reason for word in ("DTensor", "sharding strategy", "placement")):
            raise UsageError(
                f"torch cannot do all that these settings ask for with parameters that are divided among processes "
                f"({reason}): choose parallel=ddp, or leave out what is special in the step or the optimizer"
            ) from error
        if not _tells_of_others(error):
            raise
        raise LostProcessError(
            f"process {rank()} lost the others: one has failed, was stopped, or has not answered for "
            f"{STEP_TIMEOUT.seconds // 60} minutes, and its own message says why ({reason})"
        ) from error


def from_main(function: Callable[[], T]) -> T:
    """Return what `function` gives in the first process to all of them, which wait for it; it runs in no other.

    Args:
        function: what it returns must be picklable.

    Raises:
        ReuseError: `function` has raised; all processes then raise the same.
    """
    if world_size() == 1:
        return function()
    outcome: list[Any] = [None, None]
    if is_main():
        try:
            outcome[0] = function()
        except Exception as error:
            _tell(error)
            raise
    _share(outcome)
    if outcome[1] is not None:
        raise outcome[1]
    value: T = outcome[0]
    return value


@contextmanager
def main_first() -> Iterator[None]:
    """Run the block in the first process while the others wait, then in these: they find what it has built.

    Raises:
        ReuseError: the block has failed in the first process; all then raise the same.
    """
    if world_size() == 1:
        yield
        return
    if not is_main():
        outcome: list[Any] = [None, None]
        _share(outcome)
        if outcome[1] is not None:
            raise outcome[1]
        yield
        return
    try:
        yield
    except Exception as error:
        _tell(error)
        raise
    _share([None, None])


@contextmanager
def together() -> Iterator[None]:
    """Run the block in all processes, a part of the work in each, and wait until all are done.

    Raises:
        ReuseError: the block has failed in another process; in its own process the error is what it was.
    """
    if world_size() == 1:
        yield
        return
    try:
        yield  # what is no Exception, such as Ctrl-C, ends this process, and so tells the others
    except Exception as error:
        _tell_all(error)
        raise
    for other in _tell_all(None):
        if other is not None:
            raise other


def mean_over_processes(tensor: Tensor) -> Tensor:
    """Return the mean of the tensors, alike in shape, that all processes give."""
    total = tensor.detach().clone()
    with others_needed():
        dist.all_reduce(total)
    return total / world_size()


def sum_over_processes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the sums of the tensors of each name that all processes give, added up in float64 in one exchange."""
    flat = torch.cat([tensor.reshape(-1).double() for tensor in tensors.values()])
    with others_needed():
        dist.all_reduce(flat)
    parts = flat.split_with_sizes([tensor.numel() for tensor in tensors.values()])
    return {
        name: part.view_as(tensor).to(tensor.dtype) for (name, tensor), part in zip(tensors.items(), parts, strict=True)
    }


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor of which each process holds a part (a DTensor) as a whole; any other is returned as it is.

    All processes must call it together.
    """
    if not is_divided(tensor):
        return tensor
    with others_needed():
        gathered: Tensor = tensor.full_tensor()  # type: ignore[attr-defined]
    return gathered


def is_divided(tensor: Tensor) -> bool:
    """Say whether each process holds a part of a tensor (a DTensor, whose import takes a second)."""
    return hasattr(tensor, "full_tensor")


def fill(own: Tensor, values: Tensor) -> None:
    """Copy `values` into `own`, of which each process may hold a part; all processes must then call it together."""
    own.copy_(divided_like(own, values))


def divided_like(own: Tensor, values: Tensor) -> Tensor:
    """Return values divided among the processes as `own` is, if it is, and then on its device."""
    if not is_divided(own) or is_divided(values):
        return values
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(own, DTensor)
    with others_needed():
        return distribute_tensor(values.to(own.device), own.device_mesh, own.placements)


def _is_joined() -> bool:
    return dist.is_available() and dist.is_initialized()


def _share(outcome: list[Any]) -> None:
    """Give the first process's list to all."""
    with others_needed():
        dist.broadcast_object_list(outcome, src=0, group=_waiting.get("group"), device=torch.device("cpu"))


def _tell(error: Exception) -> None:
    """Let the others raise an error of the first process; one that may not be picklable goes as its text."""
    _share([None, _picklable(error)])


def _tell_all(failure: Exception | None) -> list[ReuseError | None]:
    """Tell all processes how this one has fared, and return how all have."""
    failures: list[ReuseError | None] = [None] * world_size()
    with others_needed():
        dist.all_gather_object(failures, _picklable(failure), group=_waiting.get("group"))
    return failures


def _picklable(error: Exception | None) -> ReuseError | None:
    """Return an error as others can be told of it."""
    if error is None or isinstance(error, ReuseError):
        return error
    return ReuseError(f"process {rank()} failed: {type(error).__name__}: {error}")


def _tells_of_others(error: RuntimeError) -> bool:
    """Say whether an error comes from the exchange between processes; gloo's are plain RuntimeErrors."""
    return isinstance(error, dist.DistError) or any(word in str(error) for word in ("gloo", "NCCL", "ProcessGroup"))
