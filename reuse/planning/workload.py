"""Seconds that the parts of a training take: measured, or read from an earlier run with the same frozen layers."""

import math
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from xxhash import xxh3_64_hexdigest

from reuse.caching.prefix_record import read_measured, write_measured
from reuse.data.rows import Batch, Resident
from reuse.layers.parts import Cut
from reuse.planning.measuring import FEW_ROWS, LONG_SECONDS, measurable_rows, node_seconds, typical, unchanged
from reuse.planning.options import Work
from reuse.training.threads import fitting_threads

MakeStep = Callable[[nn.Module], Callable[[Batch], object]]
"""Function that takes a network and returns its training step, which takes a batch."""

Tally = Callable[[nn.Module, Batch], object]
"""Function that measures a network on a batch, as validation does."""

Tensors = tuple[Tensor, ...]
KEPT = 8  # records of one prefix, under different conditions


@dataclass(frozen=True)
class Timings:
    """Measured seconds a row of frozen layers, which hold as long as the layers and the conditions are the same.

    Attributes:
        conditions: under which they were measured.
        through: how much longer a training step of the whole model takes than one of the layers behind the cut.
        nodes: of each node of the prefix, in order, without gradients.
        rest: what is behind the cut (see `describe_rest`); empty where it was not noted.
        suffix: of a training step of that.
        measured: of its validation.
        reading: of reading and preparing the inputs.
    """

    conditions: Mapping[str, str]
    through: float
    nodes: Sequence[float]
    rest: str = ""
    suffix: float = 0.0
    measured: float = 0.0
    reading: float = 0.0

    def work(self) -> Work:
        """Return what was measured."""
        return Work(sum(self.nodes), self.suffix, self.suffix + self.through, self.measured, self.reading)


def describe_rest(parts: Cut) -> str:
    """Return the parameters that train behind a cut, by which a head is known again as far as its cost goes."""
    trained = [(name, tuple(p.shape)) for name, p in parts.suffix.named_parameters() if p.requires_grad]
    return xxh3_64_hexdigest(repr(sorted(trained)).encode())


def conditions(device: torch.device, batch_size: int, precision: str) -> dict[str, str]:
    """Return the conditions that measured seconds depend on beside the layers: this machine, torch, how it computes."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    found = (platform.node(), name, torch.get_num_threads(), torch.__version__, batch_size, precision)
    return dict(zip(("machine", "device", "threads", "torch", "batch_size", "precision"), map(str, found), strict=True))


def save_timings(folder: Path, timings: Timings) -> None:
    """Write timings beside the activations in `folder`, in place of older ones under the same conditions."""
    others = [other for other in _records(folder) if other.conditions != timings.conditions]
    write_measured(folder, list(map(asdict, [*others[1 - KEPT :], timings])))


def find_timings(folder: Path, under: Mapping[str, str], parts: Cut) -> Timings | None:
    """Return the timings of the prefix of a cut under the same conditions; None where there are none.

    Args:
        folder: of the prefix's activations.
        under: the conditions.
        parts: the cut.
    """
    found = next((timings for timings in _records(folder) if timings.conditions == under), None)
    return found if found is not None and len(found.nodes) == len(parts.prefix.graph.nodes) else None


def measure_work(
    parts: Cut,
    make_step: MakeStep,
    sample: Tensors,
    targets: Tensor | None,
    batch_size: int,
    precision: str = "float32",
    read: Callable[[], object] | None = None,
    timings: Timings | None = None,
    whole: nn.Module | None = None,
    tally: Tally | None = None,
) -> tuple[Work, dict[str, float]]:
    """Measure both parts of a cut, and the whole model, on a sample of rows; the model stays as it was.

    Args:
        parts: the cut.
        make_step: returns the training step of a network.
        sample: inputs, on the model's device.
        targets: of these rows, there too.
        batch_size: rows of a training step.
        precision: of the training, a name of `reuse.precision.PRECISIONS`.
        read: reads and prepares the inputs of the sample; None: they lie ready.
        timings: spares measuring the frozen layers, and the whole model; None: they are measured.
        whole: the model as it is called by position; None: itself.
        tally: measures a batch as validation does; None: the layers behind the cut are called alone.

    Returns:
        Seconds a row, and those of each node of the prefix, by name.
    """
    model, device, names = parts.suffix.model, sample[0].device, [node.name for node in parts.prefix.graph.nodes]
    reading = 0.0 if read is None else typical(read, device) / len(sample[0])
    with unchanged(model):
        size = _few_rows(parts, sample) if timings is None else min(FEW_ROWS, len(sample[0]))
        inputs = tuple(tensor[:size] for tensor in sample)
        with torch.no_grad():
            frontier = parts.prefix(*inputs)
        suffix = _step_seconds(parts.suffix, model, make_step, frontier, targets, batch_size, precision)
        measured = _measuring_seconds(parts, tally, frontier, targets, batch_size, precision)
        if timings is not None:
            work = Work(sum(timings.nodes), suffix, suffix + timings.through, measured, reading)
            return work, dict(zip(names, timings.nodes, strict=True))
        rows = min(batch_size, size)
        with fitting_threads(parts.prefix, model, Resident(*inputs), rows, precision):  # as in a step of the whole
            nodes = _in_front(parts, inputs)
        same = suffix
        if rows != batch_size:
            same = _step_seconds(parts.suffix, model, make_step, frontier, targets, rows, precision)
        through = max(0.0, _step_seconds(whole or model, model, make_step, inputs, targets, rows, precision) - same)
    return Work(sum(nodes.values()), suffix, suffix + through, measured, reading), nodes


def _few_rows(parts: Cut, sample: Tensors) -> int:
    with torch.no_grad():
        return measurable_rows(lambda n: parts.prefix(*(t[:n] for t in sample)), len(sample[0]), sample[0].device)


def _repeated(tensor: Tensor, rows: int) -> Tensor:
    """Return `rows` rows made of those of a tensor."""
    return tensor if len(tensor) == rows else tensor[torch.arange(rows, device=tensor.device) % len(tensor)]


def _measuring_seconds(
    parts: Cut, tally: Tally | None, frontier: Tensors, targets: Tensor | None, rows: int, precision: str
) -> float:
    """Return the seconds a row of measuring behind the cut, in batches of `rows` rows."""
    model, batch = parts.suffix.model, _batch(frontier, targets, rows)
    with fitting_threads(parts.suffix, model, Resident(*batch.inputs), rows, precision), torch.no_grad():
        parts.suffix.eval()
        read = _reading(batch)
        once = (lambda: parts.suffix(*read().inputs)) if tally is None else (lambda: tally(parts.suffix, read()))
        return typical(once, batch.inputs[0].device) / rows


def _step_seconds(
    network: nn.Module,
    model: nn.Module,
    make_step: MakeStep,
    given: Tensors,
    targets: Tensor | None,
    rows: int,
    precision: str,
) -> float:
    """Return the seconds a row of a training step on `rows` rows."""
    batch = _batch(given, targets, rows)
    with fitting_threads(network, model, Resident(*batch.inputs), rows, precision):
        network.train()
        step, read = make_step(network), _reading(batch)
        return typical(lambda: step(read()), batch.inputs[0].device) / rows


def _batch(given: Tensors, targets: Tensor | None, rows: int) -> Batch:
    """Return a batch of `rows` rows made of those that are given."""
    return Batch(tuple(_repeated(t, rows) for t in given), None if targets is None else _repeated(targets, rows))


def _reading(batch: Batch) -> Callable[[], Batch]:
    """Return what gathers a batch anew, as a training does for each step."""
    rows = Resident(*batch.inputs)
    order = torch.arange(len(rows), device=rows.device)
    return lambda: Batch(rows.gather(order), batch.targets)


def _in_front(parts: Cut, inputs: Tensors) -> dict[str, float]:
    """Return the seconds a row of each node of the prefix, which add up to those of the prefix as a whole."""
    rows, device = len(inputs[0]), inputs[0].device
    nodes = node_seconds(parts.prefix, inputs, device)
    each = sum(nodes.values())
    with torch.no_grad():  # many short calls cost more one by one
        whole = min(each, typical(lambda: parts.prefix(*inputs), device)) if each < LONG_SECONDS else each
    share = whole / rows / max(each, 1e-12)
    return {name: value * share for name, value in nodes.items()}


def _records(folder: Path) -> list[Timings]:
    """Return the records in a prefix's folder; those of another version, or damaged, are left out."""
    found = []
    for record in read_measured(folder):
        with suppress(TypeError):
            timings = Timings(**record)
            seconds = [timings.through, *timings.nodes, timings.suffix, timings.measured, timings.reading]
            if all(isinstance(value, float | int) and math.isfinite(value) and value >= 0 for value in seconds):
                found.append(timings)
    return found
