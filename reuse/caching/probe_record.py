"""The file of a probe, `probe.safetensors`, beside the segments of its prefix.

It carries a checksum of all that it says, so that a bit that flips in it is told from a prefix that computes otherwise.
"""

import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from xxhash import xxh3_64

from reuse.caching import files
from reuse.caching.probing import Probe

PROBE = "probe.safetensors"
VERSION = "1"  # of `probing.far_outside`: a probe of another version is taken anew
CHECKSUM = "checksum"
UNSEALED = {"version", "setting", "exact", "outside"}  # what a probe says that was written without a checksum

log = logging.getLogger(__name__)


def write_probe(folder: Path, probe: Probe) -> None:
    """Keep a probe in the folder of its prefix, whole or not at all; where that cannot be, it makes no difference."""
    tensors = dict(zip(_names(len(probe.ordinary)), probe.ordinary, strict=True))
    tensors |= {f"output/{n}": tensor.contiguous() for n, tensor in enumerate(probe.outputs)}
    tensors |= {f"rounding/{n}": tensor for n, tensor in enumerate(probe.rounding)}
    about = {"version": VERSION, "setting": probe.setting, "exact": str(probe.exact), "outside": str(probe.outside)}
    about[CHECKSUM] = checksum(tensors, about)
    building = folder / f"{PROBE}.{os.getpid()}.new"
    with suppress(OSError):
        try:
            files.create(building, lambda path: path.write_bytes(save(tensors, about)))
            files.fsync(building)
            files.rename(building, folder / PROBE)
        finally:
            files.remove(building)


def read_probe(folder: Path) -> Probe | None:
    """Return the probe in the folder of a prefix; None where there is none, or one of another version.

    One that is damaged is removed, a line says so, and it counts as none.
    """
    try:
        return _read(folder / PROBE)
    except OSError:
        return None
    except (SafetensorError, KeyError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        log.warning("%s is not what was written (%s): removed, and made anew", folder / PROBE, reason)
        with suppress(OSError):
            if not (folder / PROBE).is_symlink():
                files.remove(folder / PROBE)
        return None


def checksum(tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> str:
    """Return the XXH3 (64 bits) of the tensors of a probe and the words on it, but for the checksum among them."""
    taken = xxh3_64()
    for name, words in sorted(about.items()):
        if name != CHECKSUM:
            taken.update(f"{name}={words}\n".encode())
    for name, tensor in sorted(tensors.items()):
        taken.update(f"{name}: {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        taken.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return taken.hexdigest()


def _read(path: Path) -> Probe | None:
    with safe_open(path, "pt") as file:
        about = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    if about.keys() != UNSEALED and about.get(CHECKSUM) != checksum(tensors, about):
        raise ValueError("wrong checksum")
    if about["version"] != VERSION:
        return None
    count = sum(name.startswith("output/") for name in tensors)
    outputs, rounding = (tuple(tensors[f"{kind}/{n}"] for n in range(count)) for kind in ("output", "rounding"))
    outside, exact = (about[name] == "True" for name in ("outside", "exact"))
    ordinary = tuple(tensors[name] for name in _names(sum(name.startswith("ordinary") for name in tensors)))
    return Probe(ordinary, outside, outputs, rounding, about["setting"], exact)


def _names(count: int) -> list[str]:
    """Return what the inputs of a probe are called in its file."""
    return ["ordinary", *(f"ordinary/{number}" for number in range(1, count))]
