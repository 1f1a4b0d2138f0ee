"""Reading weights from files that cannot run code."""

import argparse
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PosixPath
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from reuse.errors import RunError
from reuse.files import UnfitFileError, check_file, open_regular
from reuse.layers.pickles import opened_for_torch
from reuse.paths import from_home

# Where training scripts keep the weights inside their checkpoints; of several, the first is taken.
WRAPPINGS = (
    "state_dict", "model", "model_state", "model_state_dict", "teacher", "target_encoder", "model_ema",
    "state_dict_ema", "ema", "student", "network", "net", "module", "backbone", "encoder", "weights", "params",
)  # fmt: skip

# What checkpoints hold beside tensors, and what makes nothing but values: settings, a best accuracy, a path.
_SCALAR = np.float64(0).__reduce__()[0]
HARMLESS: list[Any] = [
    argparse.Namespace, PosixPath, np.dtype, _SCALAR, (_SCALAR, "numpy.core.multiarray.scalar"),
    *(type(np.dtype(name)) for name in ("float16", "float32", "float64", "int32", "int64", "bool")),
]  # fmt: skip

SUFFIXES = (".pt", ".pth", ".bin")

# What wrappers put in front of every name: data-parallel training, compilation.
PREFIXES = ("module.", "_orig_mod.")

BESIDE = "beside"
"""In the metadata of a safetensors file: the name of a file in the same folder that holds the other tensors."""


@dataclass(frozen=True)
class FileWeights:
    """Weights of a file.

    Attributes:
        tensors: by name, on the CPU.
        notes: what was chosen of several and taken off names, in lines.
    """

    tensors: dict[str, Tensor]
    notes: tuple[str, ...] = ()


def load_weights(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a weights file by name, on the CPU; as `read_weights`, without its notes."""
    return read_weights(path).tensors


def read_weights(path: str | Path) -> FileWeights:
    """Return the tensors of a weights file, whatever it is called.

    Args:
        path: a safetensors file, or a file of torch (`.pt`, `.pth`, `.bin`, `.ckpt`, `.pth.tar`): a state dict, or a
            checkpoint that holds one under a name of `WRAPPINGS`. Prefixes of wrappers (`module.`) go when every name
            has them.

    Raises:
        RunError: the file is missing, damaged, of another kind, holds what is no tensor, or would have to run code.
    """
    path = from_home(path)
    if not path.exists() or path.is_dir():
        raise RunError(f"no weights file at {path}: give a .safetensors, .pt, .pth or .bin file")
    if path.suffix == ".safetensors" or (path.suffix not in SUFFIXES and _looks_like_safetensors(path)):
        return _without_prefixes(FileWeights(_from_safetensors(path)))
    if path.suffix in SUFFIXES or _looks_like_torch(path):
        try:
            state, notes = _unwrap(_from_torch(path), path)
        except RecursionError as error:
            raise RunError(
                f"{path} holds dictionaries in dictionaries without an end: save a state_dict() alone"
            ) from error
        return _without_prefixes(FileWeights(state, notes))
    raise RunError(f"{path} is no weights file: give a .safetensors, .pt, .pth, .bin or .ckpt file")


def _looks_like_torch(path: Path) -> bool:
    return _head(path, 4).startswith((b"PK\x03\x04", b"\x80\x02"))  # the archives of today, the pickles of before


def _looks_like_safetensors(path: Path) -> bool:
    head = _head(path, 9)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size


def _head(path: Path, size: int) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read(size) or b""
    except OSError as error:
        raise RunError(f"{path} cannot be read as a weights file ({error})") from error


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, and those of the file beside it that it names, on the CPU.

    Raises:
        FileNotFoundError, SafetensorError: the file cannot be read.
        RunError: the file beside it is missing.
    """
    check_file(path)
    with safe_open(path, "pt") as file:
        beside = (file.metadata() or {}).get(BESIDE)
    tensors = load_file(path)
    if beside is None:
        return tensors
    other = path.with_name(Path(beside).name)
    if not other.is_file():
        raise RunError(f"{path} holds what trained, and {other.name} the rest, which is not beside it: put it there")
    check_file(other)
    return {**load_file(other), **tensors}


def _from_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return read_safetensors(path)
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path} cannot be read as safetensors ({error}): it may be cut short; get it again") from error


def _from_torch(path: Path) -> object:
    try:
        check_file(path)
        with warnings.catch_warnings():
            # torch wonders at pickles that other programs wrote; what comes of them is said below.
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            with torch.serialization.safe_globals(HARMLESS), opened_for_torch(path) as file:
                return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise RunError(
            f"{path} holds more than tensors, or is damaged, and is not opened, since reading it could run code: "
            "save its state_dict() alone, best as .safetensors"
        ) from error
    except UnfitFileError as error:
        raise RunError(f"{path} cannot be read as weights of torch ({error})") from error
    except Exception as error:  # torch's reader of old pickles raises anything over what is none
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(f"{path} cannot be read as weights of torch ({reason}): it may be cut short") from error


def _unwrap(loaded: object, path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    if isinstance(loaded, Mapping):
        keys = [key for key in WRAPPINGS if isinstance(loaded.get(key), Mapping) and loaded[key]]
        if not keys:
            return _checked(loaded, path), ()
        inner, notes = _unwrap(loaded[keys[0]], path)
        others = [key for key in keys[1:] if _are_tensors(loaded[key])]
        beside = f"{path.name} holds {' and '.join([keys[0], *others])}: {keys[0]} is taken"
        return inner, (*([beside] if others else []), *notes)
    raise RunError(f"{path} holds a {type(loaded).__name__}; a state dict of named tensors was expected")


def _are_tensors(state: Mapping[Any, Any]) -> bool:
    return all(isinstance(value, Tensor) for value in state.values())


def _checked(state: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    others = [str(name) for name, value in state.items() if not isinstance(name, str) or not isinstance(value, Tensor)]
    if others or not state:
        held = f"{', '.join(others[:5])}, which are no tensors" if others else "nothing"
        raise RunError(f"{path} holds {held}: a state dict of named tensors, or one under {WRAPPINGS}, was expected")
    return dict(state)


def _without_prefixes(weights: FileWeights) -> FileWeights:
    tensors, notes = weights.tensors, weights.notes
    for prefix in PREFIXES * 2:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
            notes = (*notes, f"all names begin with {prefix}: it is taken off")
    return FileWeights(tensors, notes)
