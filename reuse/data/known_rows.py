"""Digests of the rows of a file of arrays, remembered as long as the file is as it was when it was read as a whole.

So a row whose activations are cached is neither read nor digested again. What is known of a file holds as in
`file_digests`: for its size, times and inode.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from reuse.data.digests import DIGEST_BYTES, digest_rows, seed_of
from reuse.data.file_digests import FILE_DIGESTS, FileState, is_settled, name_of, state_of
from reuse.errors import DataError
from reuse.hints import Hints

KNOWN_ROWS = "rows"  # their kind of hints
LARGEST = 16 * 2**20  # bytes of digests that are remembered of one array


@dataclass
class FileRows:
    """The rows of the one array of inputs in a file, as far as their digests are known.

    Attributes:
        path: the file.
        hints: where digests are remembered; None: nowhere.
        begun: when it began to be read, in nanoseconds.
        state: that of the file then; None where it is not there.
        found: digests of all rows, `(n, 16)` uint8, and which of them are known, bool `(n,)`, by type and shape.
    """

    path: Path
    hints: Hints | None
    begun: int
    state: FileState | None
    found: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    @property
    def is_known(self) -> bool:
        """Whether an earlier run has read the file as a whole, as it is now."""
        return self.hints is not None and self.state is not None and self._noted("") is not None

    def stays(self) -> bool:
        """Return whether the file is as it was when it began to be read."""
        return self.state is not None and self.state == state_of(self.path)

    def digests(self, samples: np.ndarray, rows: np.ndarray, meaning: str) -> np.ndarray:
        """Return the digests of some rows, as `digest_rows` gives them; those that are not known are remembered."""
        if not self.stays():  # what was read may be newer than what is remembered of the file
            return digest_rows(samples, rows, meaning)
        digests, is_known = self._of(samples, meaning)
        lacking = np.unique(rows[~is_known[rows]])
        if len(lacking):
            digests[lacking], is_known[lacking] = digest_rows(samples, lacking, meaning), True
            self._keep(_kind_of(samples, meaning), digests, is_known)
        found: np.ndarray = digests[rows]
        return found

    def check(self, samples: np.ndarray, rows: np.ndarray, meaning: str) -> np.ndarray:
        """Return some rows of an array, those that the file holds as it was.

        Raises:
            DataError: they lie in the file, and it was written to since it was first read.
        """
        if not _is_mapped(samples):
            in_memory: np.ndarray = samples[rows]
            return in_memory
        digests, is_known = self._of(samples, meaning)
        block: np.ndarray | None = samples[rows] if self.stays() else None
        if block is not None:
            known = np.flatnonzero(is_known[rows])
            same = np.array_equal(digest_rows(block, known, meaning), digests[rows[known]])
        if block is None or not same:
            raise DataError(
                f"{self.path} was written to since it was first read: begin again when nothing changes the file"
            )
        return block

    def _of(self, samples: np.ndarray, meaning: str) -> tuple[np.ndarray, np.ndarray]:
        kind, count = _kind_of(samples, meaning), len(samples)
        if kind not in self.found:
            noted = self._noted(kind) or b""
            marks, digests = noted[: -(-count // 8)], noted[-(-count // 8) :]
            if len(digests) == count * DIGEST_BYTES:
                is_known = np.unpackbits(np.frombuffer(marks, np.uint8), count=count).astype(bool)
                self.found[kind] = np.frombuffer(digests, np.uint8).reshape(-1, DIGEST_BYTES).copy(), is_known
            else:
                self.found[kind] = np.zeros((count, DIGEST_BYTES), np.uint8), np.zeros(count, bool)
        return self.found[kind]

    def _noted(self, kind: str) -> bytes | None:
        """Return what is remembered of the file as it is; None where that is nothing."""
        if self.hints is None or FILE_DIGESTS in self.hints.anew or self.state is None:
            return None
        name = name_of(self.path, seed_of(kind))
        state, _, noted = self.hints.find(KNOWN_ROWS, [name]).get(name, b"").partition(b"\n")
        return noted if state == self.state.text.encode() else None

    def _keep(self, kind: str, digests: np.ndarray, is_known: np.ndarray) -> None:
        if self.hints is None or self.state is None or digests.nbytes > LARGEST:
            return
        if self.stays() and is_settled(self.state, self.begun):
            state, marks = f"{self.state.text}\n".encode(), np.packbits(is_known).tobytes()
            noted = {kind: state + marks + digests.tobytes(), "": state}
            self.hints.keep(KNOWN_ROWS, {name_of(self.path, seed_of(k)): value for k, value in noted.items()})


def _is_mapped(array: np.ndarray | None) -> bool:
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False


def _kind_of(samples: np.ndarray, meaning: str) -> str:
    return f"{samples.dtype.str}{samples.shape[1:]}{meaning}"
