"""Tensors on disk by name, in safetensors files."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from reuse.distributed import is_main, whole
from reuse.errors import RunError


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors to a safetensors file, as a whole or not at all; tied ones are written under each name.

    That holds for a kill, not for a power cut: the disk is not waited for. Of several processes the first one writes;
    all must call it where tensors are divided among them.
    """
    copies = {name: whole(tensor.detach()).cpu().contiguous().clone() for name, tensor in tensors.items()}
    if is_main():
        draft = path.with_name(f".{path.name}.draft")
        save_file(copies, draft)
        draft.replace(path)


def load_tensors_file(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, on the CPU.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing: the run is damaged or was not finished") from error
    except SafetensorError as error:
        raise RunError(f"{path} is damaged: {error}") from error
