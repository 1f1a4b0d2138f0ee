"""HDF5 files that take more memory than they say: texts that share one place, chunks that unpack to anything.

Each is answered with one line and exit code 2, or a right result, within a gigabyte.
"""

import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from attacks.test_odd_files import GB, MB, RIGHT, TRAIN, zeros_deflated
from limited import Answer, answers
from reuse.data.h5_files import arrays_of_h5
from reuse.data.h5_sizes import _boxes
from reuse.errors import DataError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does it"),
]


def one_long_text(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["y"] = np.arange(20_000) % 2
        texts = file.create_dataset("x", (20_000,), h5py.string_dtype())
        texts[:] = ["some words"] * 20_000
        texts[7] = "z" * MB


def heap_of_all(path: Path) -> None:
    """Three thousand rows share one text of 16 million letters."""
    rows = 3000
    with h5py.File(path, "w") as file:
        file["y"] = np.arange(rows) % 2
        texts = file.create_dataset("x", (rows,), h5py.string_dtype())
        texts[:] = ["z" * 16_000_000, *["a"] * (rows - 1)]
        place = texts.id.get_offset()
    content = bytearray(path.read_bytes())
    content[place : place + 16 * rows] = content[place : place + 16] * rows
    path.write_bytes(content)


def hidden_texts(path: Path) -> None:
    """The same in a field, and in numbers of any length."""
    heap_of_all(path)
    with h5py.File(path, "a") as file:
        texts = file["x"].id.get_offset()
        kind = np.dtype([("text", h5py.string_dtype())])
        fields = file.create_dataset("fields", (3000,), kind)
        fields[:] = np.array([("a",)] * 3000, kind)
        place = fields.id.get_offset()
    content = bytearray(path.read_bytes())
    content[place : place + 16 * 3000] = content[texts : texts + 16 * 3000]
    path.write_bytes(content)
    with h5py.File(path, "a") as file:
        del file["x"]
        file["x"] = np.arange(6000.0).reshape(3000, 2)


def giant_chunk(path: Path) -> None:
    with h5py.File(path, "w") as file:
        how = {"chunks": (2**28, 4), "maxshape": (None, 4), "compression": "gzip"}
        numbers = file.create_dataset("x", (100, 4), "f4", **how)
        packed = b"\x78\x9c" + zeros_deflated(4 * GB) + struct.pack(">I", 4 * GB % 65521 << 16 | 1)
        numbers.id.write_direct_chunk((0, 0), packed)


def chunk_of_more(path: Path) -> None:
    """A chunk of 1600 bytes that gzip unpacks to 4 GB."""
    with h5py.File(path, "w") as file:
        numbers = file.create_dataset("x", (100, 4), "f4", chunks=(100, 4), compression="gzip")
        packed = b"\x78\x9c" + zeros_deflated(4 * GB) + struct.pack(">I", 4 * GB % 65521 << 16 | 1)
        numbers.id.write_direct_chunk((0, 0), packed)


def packed_twice(path: Path) -> None:
    """A chunk of 1600 bytes that gzip unpacks twice, to 4 GB."""
    with h5py.File(path, "w") as file:
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk((100, 4))
        made.set_deflate(9)
        made.set_deflate(9)
        space = h5py.h5s.create_simple((100, 4))
        numbers = h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, made)
        packed = b"\x78\x9c" + zeros_deflated(4 * GB) + struct.pack(">I", 4 * GB % 65521 << 16 | 1)
        numbers.write_direct_chunk((0, 0), zlib.compress(packed, 9))


def packed_well(path: Path) -> None:
    """Numbers in chunks that could be bombs and are none."""
    with h5py.File(path, "w") as file:
        numbers = np.random.default_rng(0).standard_normal((2000, 300)).astype(np.float32)
        file.create_dataset("x", data=numbers, chunks=(2000, 300), compression="gzip", shuffle=True, fletcher32=True)
        file["y"] = np.arange(2000) % 2


def waiting(path: Path) -> None:
    path.symlink_to("/proc/kmsg")


CASES: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "long.h5": (one_long_text, RIGHT),
    "heap.h5": (heap_of_all, ("of memory",)),
    "hidden.h5": (hidden_texts, RIGHT),
    "chunk.h5": (giant_chunk, ("of memory",)),
    "more.h5": (chunk_of_more, ("more than it says",)),
    "twice.h5": (packed_twice, ("of memory",)),
    "well.h5": (packed_well, RIGHT),
    "waiting.h5": (waiting, ("waiting.h5",)),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """What a training answers, on each of the files."""
    folder = tmp_path_factory.mktemp("h5")
    for name, (make, _) in CASES.items():
        make(folder / name)
    return dict(zip(CASES, answers([(*TRAIN, "--data", name) for name in CASES], folder), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_a_bomb_is_one_line_and_what_is_none_is_read(found: dict[str, Answer], name: str) -> None:
    words = CASES[name][1]
    if words:
        found[name].refusal(*words)
    else:
        assert found[name].code == 0, found[name].err


def test_texts_are_the_same_read_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = np.array([[f"é{row}", "😀" * (row % 5)] for row in range(1000)], object)
    with h5py.File(tmp_path / "texts.h5", "w") as file:
        file.create_dataset("any", data=wanted, dtype=h5py.string_dtype())
        file.create_dataset("packed", data=wanted[:, 0], dtype=h5py.string_dtype(), chunks=(7,), compression="gzip")
        file.create_dataset("fixed", data=np.char.encode(wanted[:, 0].astype(str), "utf-8"))
        file.create_dataset("none", (0,), h5py.string_dtype())
    monkeypatch.setattr("reuse.data.h5_sizes.room", lambda: 2_000_000)
    found = arrays_of_h5(tmp_path / "texts.h5")
    np.testing.assert_array_equal(found["any"], wanted)
    np.testing.assert_array_equal(found["packed"], wanted[:, 0])
    np.testing.assert_array_equal(found["fixed"], wanted[:, 0])
    assert found["none"].shape == (0,)


def test_wide_texts_of_which_one_is_long_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = np.full((3, 400), "word", object)
    wanted[1, 7] = "z" * 200_000
    with h5py.File(tmp_path / "wide.h5", "w") as file:
        file.create_dataset("texts", data=wanted, dtype=h5py.string_dtype())
    monkeypatch.setattr("reuse.data.h5_sizes.room", lambda: 2_000_000)  # 1,200 texts as long as one would take 240 MB
    np.testing.assert_array_equal(arrays_of_h5(tmp_path / "wide.h5")["texts"], wanted)


@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 7), (2, 3, 4), (3, 0)])
@pytest.mark.parametrize("count", [1, 2, 5, 100])
def test_parts_of_an_array_cover_it_once(shape: tuple[int, ...], count: int) -> None:
    covered = np.zeros(shape, int)
    for part in _boxes(shape, count):
        covered[part] += 1
        assert covered[part].size <= count
    assert (covered == 1).all()


def checked_first(made: h5py.h5p.PropDCID) -> None:
    """As PyTables packs: the checksum is of what is not packed yet, and is packed with it."""
    made.set_fletcher32()
    made.set_deflate(1)


def by_lzf(made: h5py.h5p.PropDCID) -> None:
    made.set_shuffle()
    made.set_filter(h5py.h5z.FILTER_LZF, h5py.h5z.FLAG_OPTIONAL)
    made.set_fletcher32()


@pytest.mark.parametrize("pack", [checked_first, by_lzf])
def test_chunks_that_are_packed_in_other_ways_are_no_bombs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[h5py.h5p.PropDCID], None]
) -> None:
    draw = np.random.default_rng(0)
    wanted = np.concatenate([draw.random((500, 300)), np.zeros((500, 300)), draw.integers(0, 9, (500, 300))])
    monkeypatch.setattr("reuse.data.h5_sizes.room", lambda: 3 * wanted.nbytes)
    with h5py.File(tmp_path / "packed.h5", "w") as file:
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk(wanted.shape)
        pack(made)
        space = h5py.h5s.create_simple(wanted.shape)
        h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F64LE, space, made).write(h5py.h5s.ALL, h5py.h5s.ALL, wanted)
    np.testing.assert_array_equal(arrays_of_h5(tmp_path / "packed.h5")["x"], wanted)
    monkeypatch.setattr("reuse.data.h5_sizes.ADDED_BYTES", -wanted.nbytes // 2)
    with pytest.raises(DataError, match="unpacks to more than it says"):
        arrays_of_h5(tmp_path / "packed.h5")
