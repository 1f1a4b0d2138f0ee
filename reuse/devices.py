"""The device and type of a computation, and the memory that there is."""

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from reuse.errors import UsageError

if sys.platform != "win32":
    import resource

GROUP = Path("/sys/fs/cgroup")


def choose_device(name: str = "auto") -> torch.device:
    """Return the device called `name`; `auto` takes CUDA, then MPS, then the CPU.

    Raises:
        UsageError: the device is not one of torch's or is not in this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # which a device without memory cannot hand out
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].partition("Expected one of")[0]  # torch lists devices of all makers
        reason = reason.partition(". ")[0]  # and all there are for an operation
        why = f" ({reason.strip()})" if reason.strip() else ""
        raise UsageError(f"device {name!r} cannot be used{why}: give auto, cpu, cuda, cuda:N or mps") from error
    return device


def dtype_name(dtype: torch.dtype) -> str:
    """Return torch's name of a type without the `torch.` in front, e.g. `float32`."""
    return str(dtype).removeprefix("torch.")


def free_memory(device: torch.device) -> int:
    """Return the bytes that can still be allocated on `device` (on CPU and MPS: of the machine's memory)."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return max(min(_available_on_linux(), *_limits_on_linux()), 0)
    except OSError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def synchronize(device: torch.device) -> None:
    """Wait until `device` has done what it was given, so that a clock can be read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _available_on_linux() -> int:
    with open("/proc/meminfo") as lines:  # noqa: PTH123 - a pseudo-file
        fields = dict(line.split(":", 1) for line in lines)
    return int(fields["MemAvailable"].split()[0]) * 1024


def _limits_on_linux() -> list[int]:
    """Return what this process may still take by its own limit, and its container by that of the control group."""
    found = [sys.maxsize]
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    if most != resource.RLIM_INFINITY:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        found.append(most - pages * resource.getpagesize())
    with suppress(OSError, ValueError):  # no such group, or "max"
        found.append(int((GROUP / "memory.max").read_text()) - _taken_by_group())
    return found


def _taken_by_group() -> int:
    """Return the bytes that the control group holds, but for files that it would give back."""
    lines = (GROUP / "memory.stat").read_text().splitlines()
    given_back = int(next(line.split()[1] for line in lines if line.startswith("inactive_file ")))
    return int((GROUP / "memory.current").read_text()) - given_back


@dataclass(frozen=True)
class Compute:
    """The device and precision of a training.

    Attributes:
        device: where.
        precision: a name of `reuse.precision`.
    """

    device: torch.device
    precision: str

    @property
    def dtype(self) -> torch.dtype:
        """The type of the model and its inputs."""
        return torch.float64 if self.precision == "float64" else torch.float32


def moved(inputs: Tensor, compute: Compute) -> Tensor:
    """Return inputs on the device and in the type of a computation; tokens stay whole numbers."""
    return inputs.to(compute.device, compute.dtype if inputs.is_floating_point() else inputs.dtype)


def moved_each(inputs: Iterable[Tensor], compute: Compute) -> tuple[Tensor, ...]:
    """Return several inputs on the device and in the type of a computation."""
    return tuple([moved(tensor, compute) for tensor in inputs])
