"""What decoding showed of images, remembered by their digests: their shapes, or what is wrong with them.

So an image whose activations are cached is not decoded to learn that it can be.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import lru_cache

import PIL
from xxhash import xxh3_64_hexdigest

from reuse.data.pictures import MOST_PIXELS, ValueRange
from reuse.data.preprocessing import Preprocessing
from reuse.hints import Hints

Shape = tuple[int, ...]


@dataclass(frozen=True)
class ImageFinding:
    """What decoding showed of one image.

    Attributes:
        shape: `(channels, height, width)` of what was decoded; empty where nothing can be.
        depth: the values of a picture deeper than 8 bits, where it waits for a white; else None.
        reason: what is wrong with it; else empty.
        is_large: whether that is its number of pixels.
        is_promised: whether its header alone was read, which says in which shape it will decode, if it does.
        is_first: whether its file holds more pictures behind it, as frames or pages.
    """

    shape: Shape = ()
    depth: ValueRange | None = None
    reason: str = ""
    is_large: bool = False
    is_promised: bool = False
    is_first: bool = False


@dataclass
class ImageFindings:
    """Findings of images that are prepared in one way, by digest.

    Attributes:
        hints: where they are remembered; None: nowhere.
        preprocessing: how they are decoded and resized.
        max_pixels: most pixels of one.
        new: what was found in this process since it was last kept.
    """

    hints: Hints | None
    preprocessing: Preprocessing
    max_pixels: int = MOST_PIXELS
    new: dict[bytes, ImageFinding] = field(default_factory=dict)

    def find(self, digests: Iterable[bytes]) -> dict[bytes, ImageFinding]:
        """Return what is known of images."""
        names = {digest.hex(): digest for digest in digests}
        noted = {} if self.hints is None else self.hints.find(self._kind, list(names))
        return {names[name]: _read(value) for name, value in noted.items()}

    def keep(self) -> None:
        """Remember what was found."""
        new, self.new = self.new, {}
        if self.hints is not None:
            self.hints.keep(self._kind, {digest.hex(): _written(found) for digest, found in new.items()})

    @property
    def _kind(self) -> str:
        way = json.dumps([self.preprocessing.to_dict(), self.max_pixels], sort_keys=True)
        return f"image {PIL.__version__} {xxh3_64_hexdigest(way.encode())}"


def _written(found: ImageFinding) -> bytes:
    return json.dumps({name: value for name, value in asdict(found).items() if value}).encode()


@lru_cache(maxsize=1024)  # most images of a data set are alike
def _read(value: bytes) -> ImageFinding:
    found = json.loads(value)
    depth = ValueRange(**found["depth"]) if "depth" in found else None
    shape, said = tuple(found.get("shape", ())), found.get("reason", "")
    flags = {name: found.get(name, False) for name in ("is_large", "is_promised", "is_first")}
    return ImageFinding(shape, depth, said, **flags)
