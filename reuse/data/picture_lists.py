"""Pictures in a list or a column: files by their paths, their bytes, or Pillow's images."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from reuse.data.image_formats import image_suffixes, is_image, suffix_of
from reuse.data.images import ImageFile
from reuse.paths import from_home


def are_pictures(x: Any) -> bool:
    """Return whether `x` is one picture a row: paths that are called like images, or Pillow's images."""
    if not isinstance(x, Sequence | np.ndarray) or isinstance(x, str | bytes) or len(x) == 0:
        return False
    if isinstance(x, np.ndarray) and (x.ndim != 1 or x.dtype.kind not in "UO"):
        return False
    return all(is_embedded(item) or (isinstance(item, str | Path) and _is_called_like_one(str(item))) for item in x)


def is_embedded(item: Any) -> bool:
    """Return whether something is itself a picture: Pillow's, the bytes of a file, or a mapping as `datasets` has it.

    Such a mapping has the `bytes` of a file, or where they are None its `path`.
    """
    if isinstance(item, Mapping) and set(item) == {"bytes", "path"}:
        content, path = item["bytes"], item["path"]
        return is_embedded(content) if content is not None else path is not None and _is_called_like_one(str(path))
    return isinstance(item, Image.Image) or (isinstance(item, bytes) and is_image("", item))


def as_image_files(x: Sequence[Any], folder: Path | None = None) -> list[ImageFile]:
    """Return pictures as files.

    Args:
        x: what `are_pictures` takes.
        folder: where relative paths begin; those that are not there are sought in the working folder.
    """
    return [_file(item, number, folder) for number, item in enumerate(x)]


def _file(item: Any, number: int, folder: Path | None) -> ImageFile:
    if isinstance(item, Image.Image):
        return ImageFile(f"image {number}", _encoded(item))
    if isinstance(item, bytes):
        return ImageFile(f"image {number}", item)
    if isinstance(item, Mapping):
        name = str(item["path"] or f"image {number}")
        return _file(name, number, folder) if item["bytes"] is None else ImageFile(name, item["bytes"])
    path = from_home(item)
    beside = path if folder is None else folder / path
    return ImageFile(str(item), beside if beside.exists() else path)


def _encoded(image: Image.Image) -> bytes:
    """Return a picture as the bytes of a file that loses nothing of it."""
    buffer = BytesIO()
    image.save(buffer, "TIFF" if image.mode in ("F", "CMYK") else "PNG")
    return buffer.getvalue()


def _is_called_like_one(name: str) -> bool:
    return suffix_of(name) in image_suffixes()
