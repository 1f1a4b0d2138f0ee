"""Good files of every kind that were damaged at random: one clear line and exit code 2, or a result, in a gigabyte."""

import gzip
import io
import os
import random
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from limited import Answer, answers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does it"),
]

COUNT = int(os.environ.get("REUSE_ATTACKS", "36"))
TRAIN = ("pretrain", "supervised", "--model", "mlp:4", "--epochs", 1, "--out", "{} out")
REUSE = ("finetune", "{}", "--model", "mlp:4", "--data", "digits", "--labels", 40, "--epochs", 1, "--out", "{} out")
X, Y = np.random.default_rng(0).random((40, 6), np.float32), np.arange(40) % 2
TABLE = pd.DataFrame({**{f"c{number}": X[:, number] for number in range(6)}, "word": ["a", "b"] * 20, "y": Y})


def picture(number: int) -> bytes:
    written = io.BytesIO()
    Image.fromarray(np.full((6, 6, 3), number, np.uint8)).save(written, "PNG" if number % 2 else "JPEG")
    return written.getvalue()


def arrays(path: Path) -> None:
    np.savez(path, x=X, y=Y)


def packed_arrays(path: Path) -> None:
    np.savez_compressed(path, x=X, y=Y)


def hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=X, chunks=(8, 6), compression="gzip")
        file["y"] = Y


def csv(path: Path) -> None:
    TABLE.to_csv(path, index=False)


def parquet(path: Path) -> None:
    TABLE.to_parquet(path)


def archive(path: Path) -> None:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as made:
        for number in range(24):
            member = tarfile.TarInfo(f"{number % 2}/{number}.{'png' if number % 2 else 'jpg'}")
            content = picture(number)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))


def images(path: Path) -> None:
    for number in range(24):
        place = path / str(number % 2) / f"{number}.{'png' if number % 2 else 'jpg'}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(picture(number))


def digits_of_mnist(path: Path) -> None:
    path.mkdir()
    pixels, labels = b"\0\0\x08\3\0\0\0\x28\0\0\0\4\0\0\0\4", b"\0\0\x08\1\0\0\0\x28"
    (path / "train-images-idx3-ubyte").write_bytes(pixels + bytes(range(16)) * 40)
    (path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels + bytes([0, 1]) * 20))


def settings(path: Path) -> None:
    path.write_text('model = "mlp:4"\nepochs = 1\ndata = "digits"\nlabels = 40\n')


def word_vectors(path: Path) -> None:
    path.write_bytes(gzip.compress(b"".join(b"word%d 0.5 %d\n" % (number, number % 3) for number in range(60))))


def weights(path: Path) -> None:
    tensors = {"hidden1.linear.weight": torch.ones(4, 64), "hidden1.linear.bias": torch.zeros(4)}
    (save_file if path.suffix == ".safetensors" else torch.save)(tensors, path)


GOOD: dict[str, tuple[Callable[[Path], None], tuple[object, ...]]] = {
    **{
        name: (make, (*TRAIN, "--data", "{}"))
        for name, make in {
            "arrays.npz": arrays, "packed.npz": packed_arrays, "a.h5": hdf5, "a.csv": csv, "a.csv.gz": csv,
            "a.csv.bz2": csv, "a.csv.xz": csv, "a.parquet": parquet,
            "a.tar": archive, "a.tar.gz": archive, "images": images, "idx": digits_of_mnist,
        }.items()
    },
    "a.toml": (settings, ("pretrain", "supervised", "--config", "{}", "--out", "{} out")),
    "a.safetensors": (weights, REUSE),
    "a.pt": (weights, REUSE),
    "a.vectors.gz": (word_vectors, (*TRAIN, "--data", "texts.csv", "--text", "text", "--embeddings", "{}")),
}  # fmt: skip


def cut(content: bytearray, draw: random.Random) -> None:
    del content[draw.randrange(len(content)) :]


def flip(content: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice([1, 2, 20])):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)


def flip_early(content: bytearray, draw: random.Random) -> None:
    """Where most formats say what follows, and how much."""
    for _ in range(draw.choice([1, 3])):
        content[draw.randrange(min(200, len(content)))] ^= 1 << draw.randrange(8)


def fill(content: bytearray, draw: random.Random) -> None:
    start, count = draw.randrange(len(content)), draw.choice([4, 8, 64])
    content[start : start + count] = bytes([draw.choice([0, 255, 127])]) * count


def double(content: bytearray, draw: random.Random) -> None:
    start, stop = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    content[start:start] = content[start:stop]


def leave_out(content: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(content))
    del content[start : start + draw.choice([1, 7, 100])]


DAMAGES = (cut, flip, flip_early, fill, double, leave_out)


def damaged(number: int, folder: Path) -> tuple[str, str, list[str]]:
    """Make a good file, damage it at random, and return of what kind it is, how, and the command that is to read it."""
    draw, kind = random.Random(number), [*GOOD][number % len(GOOD)]
    make, command = GOOD[kind]
    path = folder / f"{number}-{kind}"
    make(path)
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    damage, harmed = draw.choice(DAMAGES), draw.choice(files)
    content = bytearray(harmed.read_bytes())
    damage(content, draw)
    harmed.write_bytes(content)
    return kind, damage.__name__, [str(part).replace("{}", path.name) for part in command]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("damaged")
    lines = "".join(f"word{row} word{row + 1},{row % 2}\n" for row in range(59))
    (made / "texts.csv").write_text(f"text,y\n{lines}")
    return made


def test_good_files_are_read(folder: Path) -> None:
    """Else to refuse the damaged ones would show nothing."""
    for kind, (make, _) in GOOD.items():
        make(folder / kind)
    commands = [[str(part).replace("{}", kind) for part in command] for kind, (_, command) in GOOD.items()]
    for kind, answer in zip(GOOD, answers(commands, folder), strict=True):
        assert answer.code == 0, (kind, answer)


def test_a_damaged_file_is_one_line_or_a_result(folder: Path) -> None:
    made = [damaged(number, folder) for number in range(COUNT)]
    found = answers([command for *_, command in made], folder)
    wrong = [
        (number, *of, said) for number, (of, said) in enumerate(zip(made, found, strict=True)) if not is_clear(said)
    ]
    assert wrong == []
    assert sum(answer.code == 2 for answer in found) > COUNT / 4  # most are seen to be damaged


def is_clear(answer: Answer) -> bool:
    """Return whether an answer is a result or one line. Of damaged weights that may be that the loss is not finite."""
    lines = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    diverged = answer.code == 1 and lines == answer.err.splitlines()[-1:] and "look for NaN in the data" in lines[0]
    if answer.code != 0 and not diverged:
        try:
            answer.refusal()
        except AssertionError:
            return False
    return True
