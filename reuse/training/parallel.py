"""One model trained by several processes: each takes its share of every batch, and gradients are averaged.

The batch size is that of all processes together, and the order of rows is common to them, so several processes take
the steps that one process takes. What draws at random (dropout, noise) draws in each process by itself.
"""

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from reuse.data.rows import Batch, Rows
from reuse.distributed import is_main, join, mean_over_processes, rank, sum_over_processes, world_size
from reuse.errors import UsageError
from reuse.layers.suffix import Suffix
from reuse.menus import lookup
from reuse.objectives.objective import Network
from reuse.reporting import Reporter
from reuse.training.batches import batches
from reuse.training.statistics import live_batch_norms


@dataclass(frozen=True)
class BatchShare:
    """The rows of each batch that are this process's.

    A batch of fewer than two rows a process is taken by all of them as a whole: batch norm cannot train on one row.

    Attributes:
        rank: number of this process, from 0.
        count: of the processes that train together.
    """

    rank: int = 0
    count: int = 1

    def rows(self, order: Tensor, sizes: Sequence[int]) -> tuple[Tensor, list[int]]:
        """Return the numbers of this process's rows and how many each batch has.

        Args:
            order: numbers of all rows, `(rows,)`.
            sizes: rows of each batch of all processes.
        """
        if self.count == 1:
            return order, list(sizes)
        starts = [end - size for end, size in zip(accumulate(sizes), sizes, strict=True)]
        parts = [self._part(size) for size in sizes]
        chosen = torch.cat([order[start + a : start + b] for start, (a, b) in zip(starts, parts, strict=True)])
        return chosen, [b - a for a, b in parts]

    def batches(
        self, source: Rows, targets: Tensor | None, order: Tensor, calls: Sequence[Sequence[int]], device: torch.device
    ) -> Iterator[tuple[list[Batch], list[float] | None]]:
        """Yield this process's part of the batches that are taken together, and by what their losses are multiplied.

        Args:
            source: the rows.
            targets: `(rows, ...)` on the source's device, or None.
            order: numbers of all rows, on the source's device.
            calls: rows of each batch that is taken together with others, of all processes.
            device: where the network computes.
        """
        order, sizes = self.rows(order, [size for call in calls for size in call])
        with closing(batches(source, targets, order, sizes, device)) as every:
            for call in calls:
                yield list(islice(every, len(call))), self.weights(call)

    def counted(self, sizes: Sequence[int]) -> list[bool]:
        """Return whether this process counts its part of each batch, so that each row is counted by one process.

        Args:
            sizes: rows of each batch of all processes.
        """
        return [self.rank == 0 or size >= 2 * self.count for size in sizes]

    def weights(self, sizes: Sequence[int]) -> list[float] | None:
        """Return by what the mean losses of this process's parts of the batches of one step are multiplied.

        The mean over the processes of their sum is then the mean over all rows. None for one process, where batches
        count by their rows.

        Args:
            sizes: rows of each batch of the step, of all processes.
        """
        if self.count == 1:
            return None
        parts = [(size, *self._part(size)) for size in sizes]
        return [(b - a) * (1 if b - a == size else self.count) / sum(sizes) for size, a, b in parts]

    @property
    def combine(self) -> Callable[[Tensor], Tensor] | None:
        """The mean over all processes; None for one process."""
        return None if self.count == 1 else mean_over_processes

    def _part(self, size: int) -> tuple[int, int]:
        if size < 2 * self.count:
            return 0, size
        return size * self.rank // self.count, size * (self.rank + 1) // self.count


ALONE = BatchShare()


def take_part(reporter: Reporter | None) -> Reporter:
    """Join the processes that train together, if there are several, and return who is told: in the others nobody."""
    join()
    return reporter if reporter is not None and is_main() else Reporter()


def share_of(network: Network) -> BatchShare:
    """Return the share of this process in training a network: all of it, unless `spread` has returned the network."""
    together = isinstance(network, DistributedDataParallel) or _is_divided(network)
    return BatchShare(rank(), world_size()) if together else ALONE


def spread(model: nn.Module, network: Network, kind: str = "ddp") -> Network:
    """Return the network as it trains together with the other processes; the same one where there are none.

    Call it where the optimizer and all that holds parameters is not yet made, and again when other layers train: what
    is averaged is fixed here (Lightning #20340).

    Args:
        model: whose parameters train; its names and state dict stay what they are.
        network: the model, or the suffix of its cut.
        kind: a name of `KINDS`; "fsdp" divides the model itself, once and for all, and replaces its parameters.

    Raises:
        UsageError: the kind is unknown, or the device or network cannot train together.
    """
    make = lookup(KINDS, kind, "parallel")
    plain = whole_network(network)
    if world_size() == 1 or not any(parameter.requires_grad for parameter in model.parameters()):
        return plain
    device = next(model.parameters()).device
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"several processes train on cpu or cuda, and the device is {device}: choose one of these")
    if not isinstance(plain, nn.Module):
        raise UsageError(f"several processes train a module, and the network is a {type(plain).__name__}")
    if device.type == "cuda":
        synchronize_batch_norms(model, plain)
    return make(plain)


def _is_divided(network: Network) -> bool:
    """Say whether the parameters of a network are divided among processes (FSDP2)."""
    return hasattr(network, "set_requires_gradient_sync")  # FSDPModule, whose import takes a second


def describe_spread(model: nn.Module) -> list[str]:
    """Return in one sentence each what a person should know of a training on several processes."""
    count = world_size()
    if count == 1:
        return []
    lines = [f"{count} processes train together, each on its share of every batch"]
    if next(model.parameters()).device.type == "cpu" and live_batch_norms(model.train()):
        lines.append("batch norm: each process normalises its own rows; the synchronised form needs a GPU")
    return lines


def synchronize_batch_norms(model: nn.Module, network: nn.Module) -> None:
    """Let live batch norms use the statistics of the rows of all processes; names and tensors stay what they are.

    Args:
        model: whose batch norms these are.
        network: the model, or a suffix that shares its modules.
    """
    from timm.layers import convert_sync_batchnorm  # timm takes seconds to import

    model.train()
    live = {id(norm): convert_sync_batchnorm(norm) for norm in live_batch_norms(model)}
    tops = (model, network, *(network.graphs if isinstance(network, Suffix) else ()))
    for module in {id(m): m for top in tops for m in top.modules()}.values():
        for name, child in module.named_children():
            if id(child) in live:
                setattr(module, name, live[id(child)])


def whole_network(network: Network) -> Network:
    """Return the network that averages no gradients by itself, for steps whose turns move a part of the parameters."""
    return network.module if isinstance(network, DistributedDataParallel) else network


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Give all processes the mean of the gradients of those parameters that have one."""
    held = [parameter.grad for parameter in parameters if parameter.grad is not None]
    mean = mean_over_processes(torch.cat([gradient.reshape(-1) for gradient in held]))
    for gradient, part in zip(held, mean.split_with_sizes([g.numel() for g in held]), strict=True):
        gradient.copy_(part.view_as(gradient))


def unsynchronized(network: Network) -> AbstractContextManager[object]:
    """Return a context in which gradients are added up and not averaged yet: more batches of the same step follow."""
    return network.no_sync() if isinstance(network, DistributedDataParallel) else nullcontext()


def average_buffers(tensors: Sequence[Tensor]) -> None:
    """Give all processes the mean of their running statistics, in place."""
    held = [tensor for tensor in tensors if tensor.is_floating_point()]
    if held:
        means = sum_over_processes({str(number): tensor / world_size() for number, tensor in enumerate(held)})
        with torch.no_grad():
            for tensor, mean in zip(held, means.values(), strict=True):
                tensor.copy_(mean)


def _replicate(network: nn.Module) -> Network:
    """Return a copy-holding network whose gradients are averaged while they are computed.

    Buffers are averaged once an epoch (see `average_buffers`), not sent at each step. A parameter without a gradient is
    an error here as everywhere, so unused ones are not sought (lightly #1434).
    """
    # The argument has changed its name since torch 2.9, and its old one warns.
    new = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    options: dict[str, Any] = {"forward_sync_buffers" if new else "broadcast_buffers": False}
    return DistributedDataParallel(network, **options)


def _divide(network: nn.Module) -> Network:
    """Return the network with its parameters divided among the processes (FSDP2), which gather them layer by layer.

    Frozen and trainable layers are divided apart (pytorch #104690), blocks in lists one by one.
    """
    from torch.distributed.fsdp import fully_shard

    if _is_divided(network):
        raise UsageError("the network is divided among the processes already: build the model anew")
    _refuse_indivisible(network)
    # Nothing is done in place to what the whole network returns, so that it may be a view.
    warnings.filterwarnings("ignore", rf"FSDP2-wrapped module \(FSDP{type(network).__name__}\) returned a view")
    for module in _units(network):
        fully_shard(module)
    fully_shard(network)
    return network


def _units(module: nn.Module) -> list[nn.Module]:
    """Return the modules that are called as a whole and hold parameters that all train, or are all frozen."""
    units = list[nn.Module]()
    for child in module.children():
        trains = {parameter.requires_grad for parameter in child.parameters()}
        is_list = type(child) is nn.Module or isinstance(child, nn.Sequential | nn.ModuleList | nn.ModuleDict)
        if len(trains) == 1 and not is_list:
            units.append(child)
        elif trains:
            units.extend(_units(child))
    return list(dict.fromkeys(units))


def _refuse_indivisible(network: nn.Module) -> None:
    """Raise where a parameter is reached by several ways, of which only one would be divided."""
    held: dict[int, str] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        if held.setdefault(id(parameter), name) != name:
            raise UsageError(f"fsdp cannot divide {name}, which is also {held[id(parameter)]}: choose parallel=ddp")
    for name, _ in _read_alone(network) if isinstance(network, Suffix) else ():
        raise UsageError(
            f"fsdp cannot divide {name} behind a cut, which reads it apart from its layer: go without a cache "
            "(cache=False, --no-cache), or choose parallel=ddp"
        )


def _read_alone(suffix: Suffix) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the parameters that a suffix reads itself: those of itself, and of layers that it holds a part of."""
    for path, module in suffix.named_modules():
        if module is suffix or type(module) is nn.Module:
            yield from module.named_parameters(path, recurse=False)


KINDS: dict[str, Callable[[nn.Module], Network]] = {"ddp": _replicate, "fsdp": _divide}
"""Ways for several processes to train a model: `ddp` keeps it whole in each, `fsdp` (FSDP2) a part in each."""
