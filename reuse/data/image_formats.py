"""Image formats that the installed Pillow reads, told by a file's content, and by its name where that says enough."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from PIL import Image

from reuse.files import open_regular

# Containers that Pillow opens and does not decode, and programs: EPS runs Ghostscript.
NOT_DECODED = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
# Formats of pictures under any name: those whose first bytes nothing else begins with.
UNMISTAKABLE = ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "AVIF", "JPEG2000")
HEAD_BYTES = 32
# Pictures to people, which Pillow reads with a plugin or not at all: refused by name, never left aside.
FOREIGN = {
    ".heic": "install pillow-heif and register it",
    ".heif": "install pillow-heif and register it",
    ".jxl": "install pillow-jxl-plugin and import it",
    **dict.fromkeys((".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2"), "develop raw photographs first"),
    ".svg": "draw it as pixels first",
}


@cache
def readable_formats() -> tuple[str, ...]:
    """Return Pillow's names of the formats that are read."""
    Image.init()
    return tuple(sorted(set(Image.OPEN) - NOT_DECODED))


@cache
def image_suffixes() -> frozenset[str]:
    """Return the endings of names, in lower case, that mean one of the formats that are read, or of `FOREIGN`."""
    formats = {*readable_formats(), "MPO"}
    own = {suffix for suffix, name in Image.registered_extensions().items() if name in formats}
    return frozenset(own | FOREIGN.keys())


def is_image(name: str, content: Path | bytes) -> bool:
    """Return whether a file is a picture: by its name, else by its first bytes, whatever it is called.

    A file that is called like a picture and is none counts as one, so that it is refused by name and not left aside.
    """
    if suffix_of(name) in image_suffixes():
        return True
    head = content[:HEAD_BYTES] if isinstance(content, bytes) else _head(content)
    return any(accepts(head) for accepts in _signatures())


def suffix_of(name: str) -> str:
    """Return the ending of a file's name, in lower case."""
    stem, dot, ending = name.rpartition("/")[2].rpartition(".")
    return f".{ending.lower()}" if stem and dot and ending else ""


def _head(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read(HEAD_BYTES)
    except OSError:  # what is called like no picture and cannot be read is none
        return b""


@cache
def _signatures() -> tuple[Callable[[bytes], bool | str], ...]:
    readable_formats()
    found = (Image.OPEN[name][1] for name in UNMISTAKABLE if name in Image.OPEN)
    return tuple(accepts for accepts in found if accepts is not None)
