"""Word vectors: the three formats give the same, random ones are like the others, what is broken is named by line."""

import gzip
import struct
from pathlib import Path

import pytest
import torch

from reuse.errors import DataError, UsageError
from reuse.nn.building import build
from reuse.nn.word_vectors import read_word_vectors

SIZE = 5
WORDS = [f"word{number}" for number in range(50)] + ["häuser", "two words"]
VECTORS = {word: torch.randn(SIZE, generator=torch.Generator().manual_seed(n)) * 3 for n, word in enumerate(WORDS)}
TOKENS = ("", "", "word7", "absent", "häuser", "word7")


def line(word: str) -> str:
    return " ".join([word, *(f"{value:.9g}" for value in VECTORS[word].tolist())]) + "\n"


def write(path: Path, kind: str, words: list[str]) -> Path:
    """Write the words in one of the formats, by this test's own reading of their descriptions."""
    header = f"{len(words)} {SIZE}\n".encode()
    lines = "".join(map(line, words)).encode()
    binary = b"".join(w.encode() + b" " + struct.pack(f"<{SIZE}f", *VECTORS[w].tolist()) + b"\n" for w in words)
    content = {"glove": lines, "word2vec": header + lines.replace(b"\n", b" \n"), "binary": header + binary}
    content["packed"] = gzip.compress(content["binary"])
    path = path / f"vectors.{'gz' if kind == 'packed' else 'bin'}"
    path.write_bytes(content[kind])
    return path


@pytest.mark.parametrize("kind", ["glove", "word2vec", "binary", "packed"])
def test_every_format_gives_the_same_vectors(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    vectors = read_word_vectors(write(tmp_path, kind, WORDS), TOKENS)
    assert (vectors.size, vectors.found, vectors.missing) == (SIZE, 2, ("absent",))
    assert "2 of 3 words" in vectors.note
    assert "absent" in vectors.note
    for token in (2, 4, 5):
        torch.testing.assert_close(vectors.matrix[token], VECTORS[TOKENS[token]])


def test_missing_words_are_drawn_with_the_deviation_of_the_others(tmp_path: Path) -> None:
    torch.manual_seed(0)
    absent = tuple(f"absent{number}" for number in range(4000))
    vectors = read_word_vectors(write(tmp_path, "glove", WORDS), (*WORDS[:51], *absent))
    expected = torch.stack([VECTORS[word] for word in WORDS[:51]]).std(correction=0)
    assert vectors.matrix[51:].std().item() == pytest.approx(expected.item(), rel=0.02)
    torch.manual_seed(0)
    again = read_word_vectors(tmp_path / "vectors.bin", (*WORDS[:51], *absent))
    assert torch.equal(vectors.matrix, again.matrix)


@pytest.mark.parametrize("spec", ["gru:3", "mlp:3"])
def test_an_embedding_is_filled(spec: str, tmp_path: Path) -> None:
    path = write(tmp_path, "word2vec", WORDS)
    model = build(spec, (4,), 2, num_tokens=6, embeddings=path, words=TOKENS)
    torch.testing.assert_close(model.embedding.weight[2], VECTORS["word7"])
    assert not model.embedding.weight[0].any()
    model = build(spec, (4,), 2, num_tokens=6, embeddings=read_word_vectors(path, TOKENS), embedding_size=SIZE)
    torch.testing.assert_close(model.embedding.weight[4], VECTORS["häuser"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"word7 1 2 3\nword8 1 2\nx 1 2 3\n", "line 2: 2 numbers.*vectors here have 3"),
        (b"word7 1 2 3\nword8 1 2 3 4\n", "line 2: 4 numbers"),
        (b"2 3\nx 1 2 3\nhello 1 two 3\n", "line 3: .*two"),
        (b"2 3\nx 1 2 3\nhello 1 nan 3\n", "line 3: a number that is not finite"),
        (b"3 3\nx 1 2 3\nhello 1 2 3\n", "announces 3 words.* has 2"),
        (b"2 3\nx \0\0\0\0\0\0\0\0\0\0\0\0\nhello \0\0\0", "ends within word 2 of 2"),
        (b"x 1 2 3\ny 1 2 3\n", "none of the 2 words"),
        (b"x\ny\n", "line 1: no vector"),
        (b"", "line 1: no vector"),
    ],
)
def test_broken_files_are_named_by_line(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_word_vectors(path, ("", "hello", "absent"))


def test_what_does_not_fit(tmp_path: Path) -> None:
    path = write(tmp_path, "glove", WORDS)
    with pytest.raises(DataError, match="cannot be read"):
        read_word_vectors(tmp_path / "absent.txt", TOKENS)
    (tmp_path / "not.gz").write_bytes(b"word7 1 2 3\n")
    with pytest.raises(DataError, match="cannot be read"):
        read_word_vectors(tmp_path / "not.gz", TOKENS)
    with pytest.raises(UsageError, match="without names"):
        build("gru:3", (4,), 2, num_tokens=6, embeddings=path)
    with pytest.raises(UsageError, match="leave embedding_size out"):
        build("gru:3", (4,), 2, num_tokens=6, embeddings=path, words=TOKENS, embedding_size=9)
    with pytest.raises(UsageError, match="6 tokens, and the data has 7"):
        build("gru:3", (4,), 2, num_tokens=7, embeddings=path, words=TOKENS)
