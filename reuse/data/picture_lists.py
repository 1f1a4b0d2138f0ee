"""Pictures in a list: files by their paths, or Pillow's images."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from reuse.data.image_formats import image_suffixes, suffix_of
from reuse.data.images import ImageFile


def are_pictures(x: Any) -> bool:
    """Return whether `x` is one picture a row: paths that are called like images, or Pillow's images."""
    if not isinstance(x, Sequence | np.ndarray) or isinstance(x, str | bytes) or len(x) == 0:
        return False
    if isinstance(x, np.ndarray) and (x.ndim != 1 or x.dtype.kind not in "UO"):
        return False
    return all(
        isinstance(item, Image.Image) or (isinstance(item, str | Path) and suffix_of(str(item)) in image_suffixes())
        for item in x
    )


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
    path = Path(item).expanduser()
    beside = path if folder is None else folder / path
    return ImageFile(str(item), beside if beside.exists() else path)


def _encoded(image: Image.Image) -> bytes:
    """Return a picture as the bytes of a file that loses nothing of it."""
    buffer = BytesIO()
    image.save(buffer, "TIFF" if image.mode in ("F", "CMYK") else "PNG")
    return buffer.getvalue()
