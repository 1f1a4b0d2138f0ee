"""What the parts of a training take: measured, or remembered from when the frozen layers' activations were computed."""

import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from reuse.caching.measured_record import read_measured, write_measured
from reuse.layers.cutting import Cut
from reuse.objectives.objective import Batch
from reuse.planning.measuring import FEW_ROWS, LONG_SECONDS, measurable_rows, node_seconds, typical, unchanged
from reuse.planning.options import Work
from reuse.training.batches import Resident
from reuse.training.threads import fitting_threads

Stepping = Callable[[nn.Module], Callable[[Batch], object]]
"""Takes a network, returns what takes a training step on a batch."""

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class Known:
    """What does not change while the frozen layers do not, in seconds a row.

    Attributes:
        conditions: under which it was measured.
        frozen: the frozen layers in front of the deepest cut, without gradients.
        through: what a training step of the whole model takes more than one of what is behind the cut.
        reading: reading and preparing the inputs.
        nodes: the nodes of the prefix, by name.
    """

    conditions: Mapping[str, str]
    frozen: float
    through: float
    reading: float
    nodes: Mapping[str, float]


def conditions(device: torch.device, batch_size: int, precision: str) -> dict[str, str]:
    """Return what measured seconds depend on beside the layers: this machine, torch, and how it computes."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    found = (platform.node(), name, torch.get_num_threads(), torch.__version__, batch_size, precision)
    return dict(zip(("machine", "device", "threads", "torch", "batch_size", "precision"), map(str, found), strict=True))


def remember(folder: Path, known: Known) -> None:
    """Write what was measured beside the activations in `folder`."""
    write_measured(folder, asdict(known))


def recall(folder: Path, under: Mapping[str, str]) -> Known | None:
    """Return what was measured of the prefix in `folder` under the same conditions; None where nothing was."""
    values = read_measured(folder)
    try:
        known = None if values is None else Known(**values)
    except TypeError:  # of another version
        return None
    return known if known is not None and known.conditions == under else None


def measure_work(
    parts: Cut,
    stepping: Stepping,
    sample: Tensors,
    targets: Tensor | None,
    batch_size: int,
    precision: str = "float32",
    known: Known | None = None,
) -> tuple[Work, dict[str, float]]:
    """Measure both parts of a cut, and the whole model, on a sample of rows; the model stays as it was.

    Args:
        parts: the cut.
        stepping: makes training steps.
        sample: inputs, on the model's device.
        targets: of these rows, there too.
        batch_size: rows of a training step.
        precision: of the training, a name of `reuse.training.precision.PRECISIONS`.
        known: spares measuring anything but what is behind the cut; None: everything is measured but `reading`.

    Returns:
        Seconds a row, and those of each node of the prefix, by name.
    """
    model = parts.suffix.model
    with unchanged(model):
        size = _few_rows(parts, sample) if known is None else min(FEW_ROWS, len(sample[0]))
        inputs = tuple(tensor[:size] for tensor in sample)
        with torch.no_grad():
            frontier = parts.prefix(*inputs)
        rows = min(batch_size, size if known is None else len(sample[0]))
        answers = None if targets is None else targets[:rows]
        suffix, measured = _behind(parts, stepping, tuple(_repeated(t, rows) for t in frontier), answers, precision)
        if known is not None:
            whole = suffix + known.through
            return Work(known.frozen, suffix, whole, measured, known.reading), dict(known.nodes)
        nodes = _in_front(parts, inputs)
        few = tuple(tensor[:rows] for tensor in inputs)
        with fitting_threads(model, model, Resident(*few), rows, precision):
            step = stepping(model)
            whole = typical(lambda: step(Batch(few, answers)), few[0].device) / rows
    return Work(sum(nodes.values()), suffix, max(whole, suffix), measured), nodes


def _few_rows(parts: Cut, sample: Tensors) -> int:
    with torch.no_grad():
        return measurable_rows(lambda n: parts.prefix(*(t[:n] for t in sample)), len(sample[0]), sample[0].device)


def _repeated(tensor: Tensor, rows: int) -> Tensor:
    """Return `rows` rows made of those of a tensor."""
    return tensor[torch.arange(rows, device=tensor.device) % len(tensor)]


def _behind(
    parts: Cut, stepping: Stepping, frontier: Tensors, answers: Tensor | None, precision: str
) -> tuple[float, float]:
    """Return the seconds a row of a training step, and of measuring, behind the cut."""
    rows, device = len(frontier[0]), frontier[0].device
    with fitting_threads(parts.suffix, parts.suffix.model, Resident(*frontier), rows, precision):
        parts.suffix.eval()
        with torch.no_grad():
            measured = typical(lambda: parts.suffix(*frontier), device) / rows
        parts.suffix.train()
        step = stepping(parts.suffix)
        return typical(lambda: step(Batch(frontier, answers)), device) / rows, measured


def _in_front(parts: Cut, inputs: Tensors) -> dict[str, float]:
    """Return the seconds a row of each node of the prefix, which add up to those of the prefix as a whole."""
    rows, device = len(inputs[0]), inputs[0].device
    nodes = node_seconds(parts.prefix, inputs, device)
    each = sum(nodes.values())
    with torch.no_grad():  # many short calls cost more one by one
        whole = min(each, typical(lambda: parts.prefix(*inputs), device)) if each < LONG_SECONDS else each
    share = whole / rows / max(each, 1e-12)
    return {name: value * share for name, value in nodes.items()}
