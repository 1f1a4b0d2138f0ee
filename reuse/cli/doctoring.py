"""Checking an installation: versions, devices, data, folders, and what gets in the way."""

import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from reuse.data.catalogue import found_places
from reuse.devices import free_memory
from reuse.paths import from_home, real_path
from reuse.units import format_bytes
from reuse.version import __version__

PACKAGES = ("torch", "timm", "torchvision", "h5py", "scikit-learn", "safetensors")
# What needs an extra, and which.
EXTRAS = {
    "transformers": ("models hf:…", "hf"),
    "matplotlib": ("lr-find --plot", "report"),
    "tensorboard": ("--tensorboard", "report"),
    "onnx": ("export --to onnx", "onnx"),
    "onnxscript": ("export --to onnx", "onnx"),
    "onnxruntime": ("export --to onnx", "onnx"),
}
COMPILERS = ("c++", "g++", "clang++", "cl")
NETWORK_FILE_SYSTEMS = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p")
LITTLE_SPACE = 10**9


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        name: what was looked at.
        value: what was found.
        problem: what is wrong and what to do; empty where all is well.
    """

    name: str
    value: str
    problem: str = ""


def examine(cache: Path) -> list[Finding]:
    """Return what there is to know about this installation.

    Args:
        cache: where activations are kept.
    """
    checks: tuple[Callable[[], list[Finding]], ...] = (_python, _packages, _devices, _memory, _compiler, _data)
    findings = [finding for check in checks for finding in check()]
    return [*findings, *_cache(cache), _program()]


def _python() -> list[Finding]:
    return [Finding("python", f"{platform.python_version()} at {sys.executable}"), Finding("reuse", _reuse_version())]


def _reuse_version() -> str:
    return f"{__version__} at {Path(__file__).parents[1]}"


def _packages() -> list[Finding]:
    findings = []
    for name in PACKAGES:
        found = _version(name)
        findings.append(Finding(name, found or "missing", "" if found else f"install it: pip install {name}"))
    for name, (what, extra) in EXTRAS.items():
        missing = f"not installed; {what} needs it: pip install 'torch-reuse[{extra}]'"
        findings.append(Finding(name, _version(name) or missing))
    return findings


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _devices() -> list[Finding]:
    cuda = (
        [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )
    driver = not cuda and shutil.which("nvidia-smi") is not None
    problem = "a GPU driver is there, and torch does not use it: install torch's build for CUDA" if driver else ""
    return [
        Finding("cuda", ", ".join(cuda) or f"none (torch built for CUDA {torch.version.cuda})", problem),
        Finding("mps", "yes" if torch.backends.mps.is_available() else "none"),
    ]


def _memory() -> list[Finding]:
    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    return [
        Finding("threads", f"{threads} of torch on {cores} processors"),
        Finding("memory", f"{format_bytes(free_memory(torch.device('cpu')))} free"),
    ]


def _compiler() -> list[Finding]:
    found = next((path for name in COMPILERS if (path := shutil.which(name))), None)
    return [Finding("compiler", found or "none: models are not compiled, all else works")]


def _data() -> list[Finding]:
    given = os.environ.get("REUSE_DATA")
    missing = bool(given) and not from_home(given or "").is_dir()
    problem = "there is no such folder: set REUSE_DATA to the folder of your data sets" if missing else ""
    findings = [Finding("REUSE_DATA", given or "not set", problem)]
    for name, place in found_places().items():
        findings.append(Finding(name, str(place) if place else "not found here: fetched when it is first used"))
    return findings


def _bytes_in(folder: Path) -> int:
    """Return the bytes of the files in a folder and below, as far as they may be looked at; links are not followed."""
    size = 0
    for inside, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                size += os.lstat(os.path.join(inside, name)).st_size  # noqa: PTH118 - of which there may be many
    return size


def _cache(folder: Path) -> list[Finding]:
    existing = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.is_dir())
    size = _bytes_in(folder)
    free = shutil.disk_usage(existing).free
    kind = _file_system(existing)
    problem = ""
    if not os.access(existing, os.W_OK):
        problem = f"{existing} cannot be written: give another folder with --cache-dir or REUSE_CACHE"
    elif kind in NETWORK_FILE_SYSTEMS:
        problem = f"{kind} is a network file system, on which locks may not hold: set REUSE_CACHE to a local disk"
    elif free < LITTLE_SPACE:
        problem = "the disk is nearly full: `reuse cache prune`, or set REUSE_CACHE to another disk"
    value = f"{folder.absolute()}: {format_bytes(size)}, {format_bytes(free)} free, {kind or 'unknown file system'}"
    return [Finding("cache", value, problem)]


def _file_system(folder: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """Return the kind of file system that a folder is on, as Linux calls it; empty elsewhere."""
    if not mounts.exists():
        return ""
    rows = [line.split() for line in mounts.read_text().splitlines()]
    points = {row[1].replace("\\040", " "): row[2] for row in rows if len(row) > 2}  # noqa: PLR2004, RUF100 - see row[2]
    around = [str(place) for place in (real_path(folder), *real_path(folder).parents)]
    return next((points[place] for place in around if place in points), "")


def _program() -> Finding:
    """FSFE's licence checker is called `reuse` too, and its package would even take this one's place."""
    if _version("reuse") is not None:
        problem = "the licence checker `reuse` is installed beside this package and overwrites it: keep them apart"
        return Finding("program", f"the distribution reuse {_version('reuse')} is installed", problem)
    found = shutil.which("reuse")
    ours = Path(sysconfig.get_path("scripts")) / "reuse"
    if found is None:
        return Finding("program", "no `reuse` on the PATH", f"call {ours} or `{sys.executable} -m reuse`")
    if real_path(found) != real_path(ours):
        problem = f"it is not this installation's, and may be FSFE's licence checker: call `{sys.executable} -m reuse`"
        return Finding("program", found, problem)
    return Finding("program", found)
