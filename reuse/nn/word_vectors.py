"""Word vectors from files of word2vec (text or binary) and GloVe: read as a stream, only what is needed is kept."""

import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reuse.errors import DataError, UsageError
from reuse.files import check_regular

SNIFFED = 4096  # bytes that tell a binary file from text
FLOAT_BYTES = 4
LONGEST_WORD = 10_000  # bytes without a space in a binary file: it is something else
LONGEST_LINE = 2**20  # bytes


@dataclass(frozen=True)
class WordVectors:
    """A vector for every token.

    Attributes:
        source: the file.
        matrix: float32 `(tokens, size)`; tokens without a vector in the file have random ones.
        found: how many words the file has a vector for.
        missing: the words that it has none for.
    """

    source: str
    matrix: Tensor
    found: int
    missing: tuple[str, ...]

    @property
    def size(self) -> int:
        """Numbers in a vector."""
        return self.matrix.shape[1]

    @property
    def note(self) -> str:
        """The words that were found and missed, in a line worth printing."""
        said = (
            f"{self.source}: vectors of {self.size} numbers for {self.found} of {self.found + len(self.missing)} words"
        )
        if not self.missing:
            return said
        few = ", ".join(self.missing[:3]) + (", …" if len(self.missing) > 3 else "")
        return f"{said}; the {len(self.missing)} others ({few}) begin at random"


def read_word_vectors(path: str | Path, words: Sequence[str]) -> WordVectors:
    """Return the vectors of `words` from a file of word2vec or GloVe, whose format is told from its content.

    Words without a vector are drawn from a normal distribution with the standard deviation of the vectors that were
    found, from torch's global generator. Words are compared as they are written. Formats: a line a word, its numbers
    behind it (https://nlp.stanford.edu/projects/glove), in word2vec's under a first line of two counts; word2vec's
    binary one (https://code.google.com/archive/p/word2vec) has 32-bit floats instead. A name that ends in .gz is
    unpacked on the way.

    Args:
        path: the file.
        words: what each token is called, by its number; "" for those that are no words, such as padding.

    Raises:
        DataError: no such file, a line that is broken, or no vector for any of the words.

    Example:
        >>> read_word_vectors("glove.6B.100d.txt", ("", "the", "cat")).matrix.shape  # doctest: +SKIP
        torch.Size([3, 100])
    """
    places: dict[str, list[int]] = {}
    for place, word in enumerate(words):
        if word:
            places.setdefault(word, []).append(place)
    if not places:
        raise UsageError(
            f"embeddings={str(path)!r} needs the words of the data, and its tokens are numbers without names"
        )
    found = dict(_wanted(Path(path), {word.encode() for word in places}))
    if not found:
        few = ", ".join(list(places)[:5])
        raise DataError(f"{path} has a vector for none of the {len(places)} words ({few}): check language and spelling")
    known = np.stack(list(found.values()))
    matrix = torch.randn(len(words), known.shape[1]) * float(known.std())
    for name, vector in found.items():
        matrix[places[name.decode()]] = torch.from_numpy(vector)
    missing = tuple(word for word in places if word.encode() not in found)
    return WordVectors(str(path), matrix, len(found), missing)


def _wanted(path: Path, words: set[bytes]) -> Iterator[tuple[bytes, np.ndarray]]:
    """Yield the words that are wanted and in the file, each once, with their vectors."""
    left = set(words)
    try:
        with _opened(path) as file:
            for word, vector in _records(file, path, words):
                if word in left:
                    left.discard(word)
                    yield word, vector
                if not left:
                    return
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"the word vectors {path} cannot be read ({error}): give a file of word2vec or GloVe"
        ) from error


def _opened(path: Path) -> BufferedReader:
    check_regular(path.stat())
    return BufferedReader(gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _records(file: BufferedReader, path: Path, words: set[bytes]) -> Iterator[tuple[bytes, np.ndarray]]:
    """Yield the records of either format that are wanted, repeated words too."""
    first = file.readline(LONGEST_LINE)
    counts = first.split()
    if len(counts) != 2 or not all(count.isdigit() for count in counts):
        return _text_records(chain([first], _lines(file)), path, words, len(counts) - 1, 1)
    num_records, size = map(int, counts)
    start = file.peek(SNIFFED)[:SNIFFED]
    if any(byte < ord(" ") and byte not in b"\t\n\r" for byte in start):
        return _binary_records(file, path, words, num_records, size)
    return _text_records(_counted(_lines(file), num_records, path), path, words, size, 2)


def _lines(file: BufferedReader) -> Iterator[bytes]:
    """Yield the lines; one without an end, which no memory holds, in parts that are none."""
    return iter(lambda: file.readline(LONGEST_LINE), b"")


def _text_records(
    lines: Iterable[bytes], path: Path, words: set[bytes], size: int, number: int
) -> Iterator[tuple[bytes, np.ndarray]]:
    """Read the numbers of only those lines that are wanted; of the others, count them."""
    if size < 1:
        raise DataError(f"{path}, line {number}: no vector; expected a word and its numbers, separated by spaces")
    for at, line in enumerate(lines, start=number):
        record = line.rstrip()
        if record.count(b" ") == size and record[: record.index(b" ")] not in words:
            continue
        fields = record.rsplit(b" ", size)  # from the right: some words hold spaces
        if len(fields) != size + 1 or (b" " in fields[0] and _is_number(fields[0].rsplit(b" ", 1)[1])):
            count = max(len(record.split()) - 1, 0)
            raise DataError(f"{path}, line {at}: {count} numbers behind a word, and vectors here have {size}")
        if fields[0] in words:
            yield fields[0], _vector(fields[1:], path, at)


def _binary_records(
    file: BufferedReader, path: Path, words: set[bytes], num_records: int, size: int
) -> Iterator[tuple[bytes, np.ndarray]]:
    for number in range(1, num_records + 1):
        word = bytearray()
        while (byte := file.read(1)) != b" ":
            if not byte or len(word) > LONGEST_WORD:
                raise DataError(f"{path}, word {number} of {num_records}: the file ends or is damaged; fetch it again")
            word += byte
        content = file.read(FLOAT_BYTES * size)
        if len(content) < FLOAT_BYTES * size:
            raise DataError(f"{path} ends within word {number} of {num_records}: fetch it again")
        if (name := bytes(word.lstrip(b"\n"))) in words:
            yield name, np.frombuffer(content, "<f4").astype(np.float32)


def _counted(lines: Iterable[bytes], expected: int, path: Path) -> Iterator[bytes]:
    count = 0
    for line in lines:
        count += 1
        yield line
    if count != expected:
        raise DataError(f"{path} announces {expected} words in its first line and has {count}: fetch it again")


def _vector(fields: Sequence[bytes], path: Path, line: int) -> np.ndarray:
    try:
        vector = np.array([float(field) for field in fields], np.float32)
    except ValueError as error:
        raise DataError(f"{path}, line {line}: {error}; expected a word and its numbers") from error
    if not np.isfinite(vector).all():
        raise DataError(f"{path}, line {line}: a number that is not finite; expected a word and its numbers")
    return vector


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
