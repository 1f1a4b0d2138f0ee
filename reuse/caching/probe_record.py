"""The file of a probe, `probe.safetensors`, beside the segments of its prefix."""

import os
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from reuse.caching import files
from reuse.caching.probing import Probe

PROBE = "probe.safetensors"
VERSION = "1"  # of `probing.far_outside`: a probe of another version is taken anew


def write_probe(folder: Path, probe: Probe) -> None:
    """Keep a probe in the folder of its prefix, whole or not at all; where that cannot be, it makes no difference."""
    tensors = dict(zip(_names(len(probe.ordinary)), probe.ordinary, strict=True))
    tensors |= {f"output/{n}": tensor.contiguous() for n, tensor in enumerate(probe.outputs)}
    tensors |= {f"rounding/{n}": tensor for n, tensor in enumerate(probe.rounding)}
    about = {"version": VERSION, "setting": probe.setting, "exact": str(probe.exact), "outside": str(probe.outside)}
    building = folder / f"{PROBE}.{os.getpid()}.new"
    with suppress(OSError):
        try:
            files.create(building, lambda path: save_file(tensors, path, about))
            files.fsync(building)
            files.rename(building, folder / PROBE)
        finally:
            files.remove(building)


def read_probe(folder: Path) -> Probe | None:
    """Return the probe in the folder of a prefix; None where there is none, or one of another version or damaged."""
    try:
        with safe_open(folder / PROBE, "pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        if about["version"] != VERSION:
            return None
        count = sum(name.startswith("output/") for name in tensors)
        outputs, rounding = (tuple(tensors[f"{kind}/{n}"] for n in range(count)) for kind in ("output", "rounding"))
        outside, exact = (about[name] == "True" for name in ("outside", "exact"))
        ordinary = tuple(tensors[name] for name in _names(sum(name.startswith("ordinary") for name in tensors)))
        return Probe(ordinary, outside, outputs, rounding, about["setting"], exact)
    except (OSError, SafetensorError, KeyError):
        return None


def _names(count: int) -> list[str]:
    """Return what the inputs of a probe are called in its file."""
    return ["ordinary", *(f"ordinary/{number}" for number in range(1, count))]
