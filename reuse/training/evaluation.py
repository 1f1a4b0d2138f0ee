"""Measuring a network: in eval mode, without gradients, waiting for the device once at the end."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from reuse.data.rows import Rows
from reuse.distributed import sum_over_processes
from reuse.objectives.objective import Network, Objective
from reuse.precision import autocast
from reuse.reporting import UNHEARD, Progress
from reuse.training.batches import as_rows, batch_sizes, batches, beside, row_order
from reuse.training.parallel import ALONE, BatchShare


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Hold `model` in eval mode, then give every module back exactly the mode it had."""
    was_training = model.training
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)  # for modules that do more than note their mode, such as merging weights
        for module, training in modes:
            if module.training != training:  # setting an attribute of a module takes long
                module.training = training


def evaluate(
    network: Network,
    objective: Objective,
    source: Rows | Tensor,
    targets: Tensor | None,
    *,
    batch_size: int,
    model: nn.Module | None = None,
    precision: str = "float32",
    share: BatchShare = ALONE,
    progress: Progress = UNHEARD,
) -> dict[str, float]:
    """Return the metrics of `network` over all rows; arguments and errors are those of `tally`."""
    sums = tally(
        network,
        objective,
        source,
        targets,
        batch_size=batch_size,
        model=model,
        precision=precision,
        share=share,
        progress=progress,
    )
    return objective.metrics(sums)


def tally(
    network: Network,
    objective: Objective,
    source: Rows | Tensor,
    targets: Tensor | None,
    *,
    batch_size: int,
    model: nn.Module | None = None,
    precision: str = "float32",
    share: BatchShare = ALONE,
    progress: Progress = UNHEARD,
) -> dict[str, Tensor]:
    """Return the sums over all rows, in their order, that an objective makes metrics of; on the CPU.

    Args:
        network: what is called on a batch: a model, or the suffix of a cut.
        objective: what measures it.
        source: the rows; a tensor of them, or what gathers them.
        targets: `(rows, ...)`, or None where the objective needs none.
        batch_size: rows at a time.
        model: whose mode is switched and on whose device is computed, where that is not `network` itself.
        precision: a name of `PRECISIONS`.
        share: of this process in the rows; all processes that share them must call this together.
        progress: told of the rows that are done.

    Raises:
        DataError: there are no rows, or not as many targets as rows.
    """
    source = as_rows(source)
    owner = model if model is not None else network
    if not isinstance(owner, nn.Module):
        return _add_up(network, objective, source, targets, batch_size, source.device, precision, share, progress)
    with eval_mode(owner):
        device = device_of(owner, source.device)
        return _add_up(network, objective, source, targets, batch_size, device, precision, share, progress)


def device_of(model: nn.Module, otherwise: torch.device) -> torch.device:
    """Return the device of a model's first parameter, or `otherwise` where it has none."""
    return next((parameter.device for parameter in model.parameters()), otherwise)


def _add_up(
    network: Network,
    objective: Objective,
    source: Rows,
    targets: Tensor | None,
    batch_size: int,
    device: torch.device,
    precision: str,
    share: BatchShare,
    progress: Progress,
) -> dict[str, Tensor]:
    targets, totals = beside(source, targets), dict[str, Tensor]()
    sizes = batch_sizes(len(source), batch_size)
    order = row_order(len(source), seed=0, epoch=0, shuffle=False, device=source.device)
    counts = share.counted(sizes)
    order, sizes = share.rows(order, sizes)
    # Not inference_mode: what a module memorises in its forward would then be useless for training.
    with torch.no_grad(), autocast(precision, device):
        for batch, size, counted in zip(batches(source, targets, order, sizes, device), sizes, counts, strict=True):
            for name, tallied in objective.tally(network, batch).items():
                amount = tallied if counted else torch.zeros_like(tallied)
                totals[name] = totals[name] + amount if name in totals else amount
            progress.advance(size)
    if share.count > 1:
        totals = sum_over_processes(totals)
    return {name: total.cpu() for name, total in totals.items()}
