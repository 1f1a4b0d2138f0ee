"""What decoding showed of images, remembered by their digests: their shapes, or what is wrong with them.

So an image whose activations are cached is not decoded to learn that it can be.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

import PIL
from xxhash import xxh3_64_hexdigest

from reuse.data.preprocessing import Preprocessing
from reuse.hints import Hints

Shape = tuple[int, ...]
Finding = Shape | str
"""Shape of a decoded image, `(channels, height, width)`, or what is wrong with it."""


@dataclass
class ImageFindings:
    """Findings of images that are prepared in one way, by digest.

    Attributes:
        hints: where they are remembered; None: nowhere.
        preprocessing: how they are decoded and resized.
        new: what was found in this process.
    """

    hints: Hints | None
    preprocessing: Preprocessing
    new: dict[bytes, Finding] = field(default_factory=dict)

    def find(self, digests: Iterable[bytes]) -> dict[bytes, Finding]:
        """Return what is known of images."""
        names = {digest.hex(): digest for digest in digests}
        noted = {} if self.hints is None else self.hints.find(self._kind, list(names))
        return {names[name]: _read(value) for name, value in noted.items()}

    def keep(self) -> None:
        """Remember what was found."""
        if self.hints is not None:
            self.hints.keep(
                self._kind, {digest.hex(): json.dumps(found).encode() for digest, found in self.new.items()}
            )

    @property
    def _kind(self) -> str:
        way = json.dumps(self.preprocessing.to_dict(), sort_keys=True)
        return f"image {PIL.__version__} {xxh3_64_hexdigest(way.encode())}"


def _read(value: bytes) -> Finding:
    found = json.loads(value)
    return found if isinstance(found, str) else tuple(found)
