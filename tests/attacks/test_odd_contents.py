"""Files that hold more than they say: texts written once and read a million times, pictures within pictures, depth.

Each is answered with one line of a length that can be read, and exit code 2, or a right result, within a gigabyte.
"""

import io
import os
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from attacks.test_odd_files import GB, MB, TRAIN, array_header, zeros_deflated
from limited import Answer, answers
from reuse.data.parquet_sizes import check_parquet
from reuse.data.pictures import TooManyPixelsError, decode, opened
from reuse.data.preprocessing import Preprocessing
from reuse.errors import RunError
from reuse.escaping import shortened
from reuse.layers.weights import load_weights

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does it"),
]

ROWS = 60
LINE = 6000  # characters that a line may have, beside what libraries say


def table(path: Path, **columns: pa.Array) -> None:
    numbers = np.arange(len(next(iter(columns.values()))))
    pq.write_table(pa.table({**columns, "a": numbers * 1.0, "y": numbers % 2}), path)


def text_of_all(path: Path) -> None:
    places = pa.array(np.zeros(20_000, np.int32))
    table(path, text=pa.DictionaryArray.from_arrays(places, pa.array(["x" * MB])))


def list_of_all(path: Path) -> None:
    numbers = pa.array(np.zeros(300_000_000, np.int8))
    column = pa.ListArray.from_arrays(pa.array([0, len(numbers)]), numbers)
    pq.write_table(pa.table({"a": column, "y": pa.array([1])}), path, compression="zstd")


def deep_metadata(path: Path) -> None:
    numbers = np.arange(ROWS)
    about = {b"pandas": b"[" * 100_000}
    pq.write_table(pa.table({"a": numbers, "y": numbers % 2}).replace_schema_metadata(about), path)


def deep_header(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x02\0" + struct.pack("<I", 9000) + b"(" * 9000)


def many_arrays(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(5000):
            archive.writestr(f"array number {number}.npy", array_header((1,)) + bytes(4))


def long_cell(path: Path) -> None:
    path.write_bytes(b"a,b,y\n" + b"1,2,0\n" * ROWS + b"x" * MB + b",3,1\n")


def long_number(path: Path) -> None:
    path.write_bytes(b"a,b,y\n" + b"1,2,0\n" * ROWS + b"9" * 100_000 + b",3,1\n")


def in_16_bits(path: Path) -> None:
    path.write_bytes(("a,b,y\n" + "1,2,0\n3,4,1\n" * ROWS).encode("utf-16-be"))


def wide_dictionary(path: Path) -> None:
    import lzma

    how = [{"id": lzma.FILTER_LZMA2, "dict_size": 3 * GB // 2}]
    path.write_bytes(lzma.compress(b"a,b,y\n" + b"1,2,0\n3,4,1\n" * ROWS, filters=how))


def class_folders(folder: Path) -> None:
    for name in "ab":
        (folder / name).mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (8, 8), (40 * number, 9, 9)).save(folder / name / f"{number}.png")


def deep_folders(folder: Path) -> None:
    class_folders(folder)
    place = os.open(folder / "a", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=place)
        below = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = below
    os.close(place)


def ring(path: Path) -> None:
    weights: dict[str, object] = {"a": torch.zeros(2)}
    weights["model"] = weights
    torch.save(weights, path)


def long_comment(folder: Path) -> None:
    class_folders(folder)
    (folder / "a" / "odd.ppm").write_bytes(b"P6\n#" + b"c" * 20 * MB + b"\n8 8 255\n" + bytes(192))


def marks(path: Path, count: int = 20 * MB) -> None:
    path.write_bytes(b"\x80\x02" + b"(" * count + b".")


def packed_marks(path: Path, count: int = 20 * MB) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + b"(" * count + b".")
        archive.writestr("a/version", b"3\n")


WEIGHTS = ("finetune", "{}", "--model", "mlp:4", "--data", "digits")
CASES: dict[str, tuple[Callable[[Path], None], tuple[object, ...], tuple[str, ...]]] = {
    "text.parquet": (text_of_all, (), ("of memory",)),
    "list.parquet": (list_of_all, (), ("of memory",)),
    "metadata.parquet": (deep_metadata, (), ("parquet",)),
    "header.npz": (deep_header, (), (".npz",)),
    "many.npz": (many_arrays, (), ("array number 0", "expected x and y")),
    "cell.csv": (long_cell, (), ("column 'a'", "put a letter before categories")),
    "number.csv": (long_number, (), ("column 'a'",)),
    "16 bits.csv": (in_16_bits, (), ("UTF-8",)),
    "wide.csv.xz": (wide_dictionary, (), ("too little memory",)),
    "deep": (deep_folders, (), ("deep",)),
    "comment": (long_comment, (), ("odd.ppm", "no height and width")),
    "marks.pt": (marks, WEIGHTS, ("marks.pt", "of memory")),
    "packed.pt": (packed_marks, WEIGHTS, ("packed.pt", "of memory")),
    "ring.pt": (ring, WEIGHTS, ("ring.pt", "without an end")),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """What the commands answer, on each of the files."""
    folder = tmp_path_factory.mktemp("odd")
    for name, (make, _, _) in CASES.items():
        make(folder / name)
    commands = [
        [str(part).replace("{}", name) for part in words or (*TRAIN, "--data", "{}")]
        for name, (_, words, _) in CASES.items()
    ]
    given = dict(zip(CASES, answers(commands, folder), strict=True))
    flatten(folder / "deep" / "a")
    return given


def flatten(folder: Path) -> None:
    """Leave one folder of those that lie in each other, as no library removes so many."""
    while (folder / "d").is_dir():
        (folder / "d").rename(folder.parent / "below")
        if (folder.parent / "below" / "d").is_dir():
            (folder.parent / "below" / "d").rename(folder / "d")
        (folder.parent / "below").rmdir()


@pytest.mark.parametrize("name", CASES)
def test_what_holds_more_than_it_says_is_one_line_or_a_right_result(found: dict[str, Answer], name: str) -> None:
    words = CASES[name][2]
    if found[name].code != 0 or words:
        assert len(found[name].refusal(*words)) < LINE


def png(width: int, height: int) -> bytes:
    """Return a picture of zeros, whatever its size in a few kilobytes."""
    size = height * (3 * width + 1)
    content = b"\x78\x9c" + zeros_deflated((size // MB + 1) * MB) + bytes(4)
    parts = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", content), (b"IEND", b""))
    chunks = (struct.pack(">I", len(c)) + kind + c + struct.pack(">I", zlib.crc32(kind + c)) for kind, c in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def ico(inner: bytes) -> bytes:
    return struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 8, 8, 0, 0, 1, 32, len(inner), 22) + inner


def icns(inner: bytes) -> bytes:
    return b"icns" + struct.pack(">I", 16 + len(inner)) + b"ic07" + struct.pack(">I", 8 + len(inner)) + inner


PLAIN = Preprocessing("images", 255.0, image_size=(8, 8), channels=3)


@pytest.mark.parametrize("container", [ico, icns])
def test_a_picture_within_a_picture_is_no_larger_than_pictures_may_be(container: Callable[[bytes], bytes]) -> None:
    with pytest.raises(TooManyPixelsError, match="a picture within it"):
        decode(container(png(300, 300)), PLAIN, max_pixels=128 * 128 + 1)
    assert Image.MAX_IMAGE_PIXELS is not None


def test_a_line_of_pixels_is_not_enlarged_beyond_memory() -> None:
    as_timm = Preprocessing("images", 255.0, image_size=(224, 224), channels=3, crop_pct=0.875)
    with pytest.raises(ValueError, match="20000×1 pixels are too long"):
        decode(png(20_000, 1), as_timm)
    assert decode(png(2000, 100), as_timm).shape == (3, 224, 224)


def test_texts_that_fit_are_read_however_long_the_longest_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows are counted where memory would not hold them if each were as long as the longest."""
    for in_row, name in ((np.r_[0, np.ones(9999)], "one row"), (np.zeros(10_000), "all rows")):
        places = pa.array(in_row.astype(np.int32))
        column = pa.DictionaryArray.from_arrays(places, pa.array(["x" * 1000, "y"]))
        table(tmp_path / name, text=column, more=pa.array([None, "z"] * 5000))
    for module in ("files", "data.parquet_sizes"):
        monkeypatch.setattr(f"reuse.{module}.room", lambda: 10**6)
    with (tmp_path / "one row").open("rb") as file:
        check_parquet(file)
    with (tmp_path / "all rows").open("rb") as file, pytest.raises(OSError, match=r"10\.0 MB.*of memory"):
        check_parquet(file)


def test_texts_that_are_all_written_out_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"text": ["x" * 2000] * 1000}), tmp_path / "t", compression="zstd", use_dictionary=False)
    monkeypatch.setattr("reuse.files.room", lambda: 10**6)
    with (tmp_path / "t").open("rb") as file, pytest.raises(OSError, match=r"2\.0 MB.*of memory"):
        check_parquet(file)


@pytest.mark.parametrize("shape", [(5, 7), (3000, 1), (1, 3000), (1500, 1500)])
def test_grey_in_blocks_is_grey_at_once(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).integers(0, 4096, shape).astype(np.uint16)
    written = io.BytesIO()
    Image.fromarray(values).save(written, "TIFF")
    wanted = Preprocessing("images", 255.0, channels=1, white=4095.0)
    expected = np.round(values.astype(np.float64) * (255 / 4095.0)).astype(np.uint8)
    np.testing.assert_array_equal(decode(written.getvalue(), wanted)[0], expected)


def test_what_is_cut_short_keeps_beginning_and_end() -> None:
    text = "begin " + "x" * 10**6 + " end"
    cut = shortened(text, 100)
    assert cut.startswith("begin x")
    assert cut.endswith("x end")
    assert len(cut) < 140
    assert shortened(text, len(text)) == text


@pytest.mark.parametrize("is_archive", [True, False])
def test_weights_of_today_and_of_before_are_read(tmp_path: Path, *, is_archive: bool) -> None:
    wanted = torch.nn.Linear(30, 20).state_dict()
    torch.save(wanted, tmp_path / "w.pt", _use_new_zipfile_serialization=is_archive)
    found = load_weights(tmp_path / "w.pt")
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("make", [marks, packed_marks])
def test_pickles_of_more_steps_than_tensors_take_are_answered_in_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path, int], None]
) -> None:
    monkeypatch.setattr("reuse.layers.pickles.room", lambda: 10**12)
    monkeypatch.setattr("reuse.files.room", lambda: 10**12)
    make(tmp_path / "marks.pt", 2 * MB)

    def seconds(steps: int, reason: str) -> float:
        monkeypatch.setattr("reuse.layers.pickles.MOST_STEPS", steps)
        begun = time.process_time()
        with pytest.raises(RunError, match=reason):
            load_weights(tmp_path / "marks.pt")
        return time.process_time() - begun

    whole = seconds(10**9, "damaged|cut short")
    assert seconds(10**5, r"marks\.pt.*more than 100,000 steps.*state_dict\(\) alone") < whole / 3


@pytest.mark.parametrize("is_archive", [True, False])
def test_tensors_take_fewer_than_forty_steps_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_archive: bool
) -> None:
    """So that the limit is of a hundred thousand tensors and more."""
    state = {f"encoder.layers.{number}.attention.weight": torch.zeros(2, 2) for number in range(500)}
    torch.save(state, tmp_path / "w.pt", _use_new_zipfile_serialization=is_archive)
    monkeypatch.setattr("reuse.layers.pickles.MOST_STEPS", 40 * 500)
    assert load_weights(tmp_path / "w.pt").keys() == state.keys()
    monkeypatch.setattr("reuse.layers.pickles.MOST_STEPS", 5 * 500)
    with pytest.raises(RunError, match="more than 2,500 steps"):
        load_weights(tmp_path / "w.pt")


@pytest.mark.parametrize(("mode", "begin"), [("L", b"P5"), ("RGB", b"P6"), ("1", b"P4")])
def test_pictures_of_netpbm_are_read_whatever_their_values(mode: str, begin: bytes) -> None:
    """Grey 35 is how a comment begins."""
    written = io.BytesIO()
    Image.new(mode, (300, 300), 35 if mode == "L" else None).save(written, "PPM")
    content = written.getvalue()
    assert content.startswith(begin)
    for header in (content, content.replace(b"\n", b"\n# a word\n  ", 1)):
        with opened(header, 10**6) as image:
            np.testing.assert_array_equal(np.asarray(image), np.asarray(Image.open(io.BytesIO(content))))
