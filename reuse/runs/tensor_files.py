"""Tensors on disk by name, in safetensors files."""

import filecmp
from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from reuse.distributed import is_main, whole
from reuse.errors import RunError
from reuse.layers.weights import BESIDE, read_safetensors
from reuse.runs.disk import drafted, saving

FROZEN = "frozen.safetensors"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], *, beside: str | None = None) -> None:
    """Write tensors to a safetensors file, as a whole or not at all; tied ones are written under each name.

    That holds for a kill, not for a power cut: the disk is not waited for. Of several processes the first one writes;
    all must call it where tensors are divided among them.

    Args:
        path: of the file.
        tensors: by name.
        beside: name of the file in the same folder that holds the others; reading this one reads it too.
    """
    copies = {name: whole(tensor.detach()).cpu().contiguous().clone() for name, tensor in tensors.items()}
    if is_main():
        draft = _draft(path)
        with saving(path), drafted(draft):
            save_file(copies, draft, None if beside is None else {BESIDE: beside})
            draft.replace(path)


def save_shared(path: Path, tensors: Mapping[str, Tensor], others: Iterable[Path]) -> None:
    """Write tensors as `save_tensors` does, as a hard link to another file where one of the same bytes is there.

    Files are written whole and replaced, never changed, so none of them changes another. Where the file system has no
    links, each is a file of its own.

    Args:
        path: of the file.
        tensors: by name.
        others: files that may hold the same.
    """
    save_tensors(path, tensors)
    if not is_main():
        return
    for other in others:
        try:
            if not other.is_symlink() and other.samefile(path):
                return
            if other.is_symlink() or not filecmp.cmp(other, path, shallow=False):
                continue
            draft = _draft(path)
            draft.unlink(missing_ok=True)
            draft.hardlink_to(other)
            draft.replace(path)
            return
        except OSError:  # it is gone, may not be read, or cannot be linked to
            continue


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.draft")


def load_tensors_file(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, on the CPU.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        return read_safetensors(path)
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing: the run is damaged or was not finished") from error
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path} is damaged: {error}") from error
