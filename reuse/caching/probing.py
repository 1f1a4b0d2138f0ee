"""The probe of a prefix: a few rows, ordinary ones and some far outside, with what the prefix computed of them.

A key cannot see all that a computation depends on: a file or the environment that `forward` reads, a kernel in C++. So
the probe is kept beside the activations, in `probe.safetensors`, and computed again whenever they are opened. In the
setting in which it was made every bit must be the same; in another one, as far as rounding goes.
"""

import platform
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from xxhash import xxh3_64_hexdigest

from reuse.caching.rounding import TOLERANCES
from reuse.seeding import untouched_random_state

ORDINARY_ROWS = 4
LARGE, SMALL, HUGE = 100.0, 1e-3, 1e6  # times the largest ordinary value
NUDGE = 1 + 2**-20  # what inputs are multiplied by to see how much of an output is rounding
ROUNDINGS = 16  # how many times the effect of a nudge counts as rounding in another setting

Tensors = tuple[Tensor, ...]

RunPrefix = Callable[..., Sequence[Tensor]]
"""Takes the model's inputs in order, each `(rows, …)`, and returns what the prefix computes of them, on any device."""


@dataclass(frozen=True)
class Probe:
    """Inputs of a prefix with its outputs.

    Attributes:
        ordinary: inputs such as the prefix gets, each `(rows, …)`; those far outside are made from them.
        outside: whether it computes those too; there are layers that refuse them.
        outputs: of all of them, each `(rows, …)`.
        rounding: for each output, how far a row moves when its inputs move by a few units in the last place, `(rows,)`.
        setting: the machine, device and versions that computed it.
        exact: whether the prefix gives the same bits when it computes the same again.
    """

    ordinary: Tensors
    outside: bool
    outputs: Tensors
    rounding: Tensors
    setting: str
    exact: bool

    @property
    def rows(self) -> Tensors:
        """All inputs, each `(rows, …)`."""
        return _with_others(self.ordinary) if self.outside else self.ordinary


def take_probe(ordinary: Tensor | Sequence[Tensor], run: RunPrefix, device: torch.device, layout: str = "") -> Probe:
    """Return the probe of a prefix as it computes now.

    Args:
        ordinary: inputs of a few rows, `(rows, …)`, or several of them.
        run: computes the prefix.
        device: where it does.
        layout: how its weights lie in memory; see `layout_of`.
    """
    given = (ordinary,) if isinstance(ordinary, Tensor) else ordinary
    few = tuple([tensor[:ORDINARY_ROWS].detach().to("cpu").contiguous().clone() for tensor in given])
    rows, outside = _with_others(few), True
    try:
        outputs = _computed(rows, run)
    except Exception:  # noqa: BLE001 - whatever a layer raises that does not take such inputs
        rows, outside = few, False
        outputs = _computed(rows, run)
    again = _computed(rows, run)
    moves = any(tensor.is_floating_point() for tensor in rows)
    nudged = _computed(tuple([t * NUDGE if t.is_floating_point() else t for t in rows]), run) if moves else again
    rounding = tuple(_distances(one, other) for one, other in zip(outputs, nudged, strict=True))
    return Probe(few, outside, outputs, rounding, setting_of(device) + layout, not _different_rows(outputs, again))


def difference(probe: Probe, run: RunPrefix, device: torch.device, layout: str = "") -> str | None:
    """Return in words how what a prefix computes now differs from its probe, None where it does not.

    Args:
        probe: taken before.
        run: computes the prefix.
        device: where it does.
        layout: as for `take_probe`.
    """
    try:
        now = _computed(probe.rows, run)
    except Exception as error:  # noqa: BLE001 - it computed them before
        return f"its probe ends in {type(error).__name__}"
    if [(one.shape, one.dtype) for one in now] != [(one.shape, one.dtype) for one in probe.outputs]:
        return "its probe has outputs of another shape or type"
    exactly = probe.exact and probe.setting == setting_of(device) + layout
    wrong = _different_rows(probe.outputs, now) if exactly else _far_rows(probe, now)
    beyond = "" if exactly else " than rounding explains"
    return f"{wrong} of the {len(probe.rows[0])} rows of its probe come out otherwise{beyond}" if wrong else None


def probe_rows(ordinary: Tensor) -> Tensor:
    """Return the inputs of a probe: ordinary rows, and rows far outside of them, `(rows, …)`."""
    return torch.cat([ordinary, far_outside(ordinary)])


def _with_others(ordinary: Tensors) -> Tensors:
    """Return the inputs of a probe; where a row is several tensors, each has as many rows, over and over."""
    each = [probe_rows(tensor) for tensor in ordinary]
    most = max(map(len, each))
    return tuple([rows if len(rows) == most else rows[torch.arange(most) % len(rows)] for rows in each])


def far_outside(ordinary: Tensor) -> Tensor:
    """Return rows unlike the ordinary ones: zeros, large, small and huge ones of each sign, ramps, checks.

    Whole numbers stay among those that ordinary rows hold, as a layer may look something up by them.
    """
    first = ordinary[:1]
    if not ordinary.is_floating_point():
        flat = ordinary.reshape(len(ordinary), -1)  # a number a row, such as a length, too
        ends = [torch.full_like(flat[:1], int(value)) for value in (flat.min(), flat.max())] if flat.numel() else []
        others = [flat.sort(1).values, flat.flip(1), flat.roll(1, 1), *ends]
        return torch.cat([other.reshape(-1, *first.shape[1:]) for other in others])
    finite = ordinary[ordinary.isfinite()].abs().double()
    scale = float(finite.max()) if len(finite) and float(finite.max()) > 0 else 1.0
    ramp = torch.linspace(-3, 3, first[0].numel(), dtype=torch.float64).reshape(first.shape)
    checks = (torch.arange(first[0].numel()) % 2 * 2.0 - 1).double().reshape(first.shape)
    rows = [torch.zeros_like(ramp), ramp, -ramp, checks]
    rows += [torch.full_like(ramp, sign * size) for size in (SMALL, LARGE, HUGE) for sign in (1, -1)]
    return torch.cat([*((row * scale).to(ordinary.dtype) for row in rows), -first, LARGE * first])


def setting_of(device: torch.device) -> str:
    """Return what results may differ in the last bits with: machine, device, threads, versions."""
    if device.type == "cuda":
        chip = (
            f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"  # type: ignore[no-untyped-call]
        )
    else:
        chip = f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"
    return f"{device.type}: {chip}, torch {torch.__version__}"


def layout_of(weights: Iterable[Tensor]) -> str:
    """Return how weights lie in memory, by which kernels differ in the last bits; "" where that is as usual.

    Args:
        weights: of a prefix, in its order.
    """
    dense = [(number, tensor) for number, tensor in enumerate(weights) if tensor.layout == torch.strided]
    unusual = [(number, tensor.stride()) for number, tensor in dense if not tensor.is_contiguous()]
    return f", weights laid out as {xxh3_64_hexdigest(str(unusual).encode())}" if unusual else ""


@cache
def _processor() -> str:
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


def _computed(rows: Tensors, run: RunPrefix) -> Tensors:
    with warnings.catch_warnings(action="ignore"), untouched_random_state():  # inputs may be odd on purpose
        return tuple(output.detach().to("cpu").contiguous() for output in run(*rows))


def _same_bits(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8))


def _different_rows(one: Sequence[Tensor], other: Sequence[Tensor]) -> int:
    """Return how many rows are not the same to the last bit."""
    pairs = list(zip(one, other, strict=True))
    if all(_same_bits(a, b) for a, b in pairs):
        return 0
    return sum(not all(_same_bits(a[row], b[row]) for a, b in pairs) for row in range(len(one[0])))


def _far_rows(probe: Probe, now: Sequence[Tensor]) -> int:
    """Return how many rows are off by more than rounding."""
    far = [
        _distances(then, here) > _allowed(then, moved)
        for then, here, moved in zip(probe.outputs, now, probe.rounding, strict=True)
    ]
    return int(torch.stack(far).any(0).sum())


def _distances(one: Tensor, other: Tensor) -> Tensor:
    """Return the largest difference in each row, `(rows,)`; NaN equals NaN, and infinities of one sign each other."""
    wide = torch.complex128 if one.is_complex() else torch.float64
    same = (one == other) | (one.isnan() & other.isnan())
    apart = (one.to(wide) - other.to(wide)).abs().nan_to_num(nan=torch.inf).masked_fill(same, 0)
    return apart.reshape(len(apart), -1).amax(1) if apart.numel() else torch.zeros(len(apart), dtype=torch.float64)


def _allowed(output: Tensor, rounding: Tensor) -> Tensor:
    """Return how far each row may be off where another machine computes it, `(rows,)`: never zero."""
    tiny = torch.finfo(torch.float64).tiny
    if output.dtype not in TOLERANCES or not output.numel():
        return torch.full((len(output),), tiny, dtype=torch.float64)
    sizes = output.to(torch.complex128 if output.is_complex() else torch.float64).abs()
    largest = sizes.masked_fill(~sizes.isfinite(), 0).reshape(len(output), -1).amax(1)
    return TOLERANCES[output.dtype] * largest + torch.finfo(output.dtype).eps + ROUNDINGS * rounding
