"""Bombs, loops and files that are none: one clear line and exit code 2, or a right result, within a gigabyte."""

import gzip
import io
import os
import socket
import struct
import sys
import tarfile
import tomllib
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from limited import Answer, answers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does it"),
]

MB, GB, TB = 2**20, 2**30, 2**40
RIGHT = ()
TRAIN = ("pretrain", "supervised", "--model", "mlp:4", "--epochs", 1)


def zeros_deflated(num_bytes: int) -> bytes:
    """Return raw deflate data of so many zero bytes, a multiple of a megabyte, made in a moment."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    part = packer.compress(bytes(MB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return part * (num_bytes // MB) + zlib.compressobj(9, zlib.DEFLATED, -15).flush()


def gz(path: Path, num_bytes: int, begin: bytes = b"") -> None:
    """Write a file that gzip unpacks to some bytes and then so many zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(begin) + packer.flush(zlib.Z_FULL_FLUSH)
    path.write_bytes(b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + first + zeros_deflated(num_bytes) + bytes(8))


def array_header(shape: tuple[int, ...], kind: str = "<f4") -> bytes:
    """Return the beginning of a .npy file."""
    written = io.BytesIO()
    np.lib.format.write_array_header_1_0(written, {"descr": kind, "fortran_order": False, "shape": shape})
    return written.getvalue()


def zip_of(path: Path, name: str, content: bytes, deflated: bytes = b"", size: int | None = None) -> None:
    """Write a zip file of one member, which says that it unpacks to `size` bytes; what it holds may be deflated."""
    crc, kept = zlib.crc32(content), deflated or content
    size = len(content) if size is None else size
    method = 8 if deflated else 0
    extra = struct.pack("<HHQQ", 1, 16, size, len(kept))
    fields = struct.pack("<HHHHHIIIHH", 45, 0, method, 0, 0, crc, 2**32 - 1, 2**32 - 1, len(name), len(extra))
    local = b"PK\3\4" + fields + name.encode() + extra + kept
    central = b"PK\1\2" + struct.pack("<H", 45) + fields + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name.encode() + extra
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
    path.write_bytes(local + central + end)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def listening(path: Path) -> None:
    place = Path.cwd()
    os.chdir(path.parent)  # names of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(place)


def pictures(path: Path) -> None:
    for name in ("a", "b"):
        (path / name).mkdir(parents=True)
        for number in range(8):
            Image.fromarray(np.full((4, 4, 3), number * 20, np.uint8)).save(path / name / f"{number}.png")


def with_pipe(path: Path) -> None:
    pictures(path)
    pipe(path / "a" / "pipe.png")


def with_device(path: Path) -> None:
    pictures(path)
    device(path / "a" / "zero.png")


def with_circle(path: Path) -> None:
    pictures(path)
    (path / "a" / "round").symlink_to(path)
    (path / "b" / "own").symlink_to(path / "b" / "own")


def with_huge(path: Path) -> None:
    pictures(path)
    chunk = struct.pack(">IIBBBBB", 20_000, 9_001, 8, 0, 0, 0, 0)
    begin = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", chunk)
    (path / "a" / "huge.png").write_bytes(begin + _chunk(b"IDAT", zlib.compress(bytes(1000))) + _chunk(b"IEND", b""))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def declared(path: Path) -> None:
    zip_of(path, "x.npy", array_header((10**12,)) + bytes(100))


def unpacked(path: Path) -> None:
    header = array_header((TB // 4,))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(header) + packer.flush(zlib.Z_FULL_FLUSH)
    zip_of(path, "x.npy", header, first + zeros_deflated(64 * MB), TB + len(header))


def lying(path: Path) -> None:
    zip_of(path, "x.npy", array_header((64, 4)) + bytes(100))


def negative(path: Path) -> None:
    zip_of(path, "x.npy", array_header((-1, 4)) + bytes(100))


def pickled(path: Path) -> None:
    np.savez(path, x=np.array([{}, []], dtype=object), y=[0, 1])


def encrypted(path: Path) -> None:
    np.savez(path, x=np.ones((20, 3), np.float32))
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)


def strangely_packed(path: Path) -> None:
    np.savez(path, x=np.ones((20, 3), np.float32))
    content = bytearray(path.read_bytes())
    content[8] = content[content.index(b"PK\1\2") + 10] = 97
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    np.savez(path, x=np.ones((200, 3), np.float32))
    path.write_bytes(path.read_bytes()[:900])


def external_link(path: Path) -> None:
    with h5py.File(path.with_name("other.h5"), "w") as file:
        file["x"] = np.ones((20, 3))
    with h5py.File(path, "w") as file:
        file["x"] = h5py.ExternalLink("other.h5", "x")


def virtual(path: Path) -> None:
    external_link(path.with_name("made.h5"))
    layout = h5py.VirtualLayout((20, 3), np.float64)
    layout[...] = h5py.VirtualSource(path.with_name("other.h5"), "x", shape=(20, 3))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("x", layout)


def raw_storage(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (20, 3), "f8", external=[("/etc/passwd", 0, 480)])


def unallocated(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (10**12, 3), "f4", chunks=(1024, 3), compression="gzip")


def round_links(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"], file["y"] = h5py.SoftLink("/y"), h5py.SoftLink("/x")


def round_groups(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"], file["y"] = np.ones((40, 3)), np.arange(40) % 2
        group = file
        for _ in range(40):  # two links to each: two to the fortieth ways through
            below = group.create_group("a")
            group["b"] = below
            group = below
        group["c"] = file["a"]


def half(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = np.ones((2000, 30))
    path.write_bytes(path.read_bytes()[:4000])


def compound(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(20, [("a", "f4"), ("b", "S3")])


def references(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["z"] = np.ones(3)
        file.create_dataset("x", (20,), h5py.ref_dtype, data=[file["z"].ref] * 20)


def idx_bomb(path: Path) -> None:
    path.mkdir()
    gz(path / "train-images-idx3-ubyte.gz", 8 * GB, b"\0\0\x08\x03" + struct.pack(">III", 2**31, 2, 2))
    (path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"\0\0\x08\x01" + bytes(4)))


def idx_announcing(path: Path) -> None:
    path.mkdir()
    begin = b"\0\0\x0e\xff" + b"\xff" * 4 * 255
    (path / "train-images-idx3-ubyte").write_bytes(begin)
    (path / "train-labels-idx1-ubyte").write_bytes(begin)


def endless_line(path: Path) -> None:
    gz(path, 8 * GB, b"a,b,y\n1,2,3\n")


def endless_header(path: Path) -> None:
    gz(path, 8 * GB)


def tar_bomb(path: Path) -> None:
    member = tarfile.TarInfo("a/1.png")
    member.size = 8 * GB
    gz(path, 8 * GB, member.tobuf(tarfile.GNU_FORMAT))


def tar_sparse(path: Path) -> None:
    member = tarfile.TarInfo("a/1.png")
    member.size, member.type = 512, tarfile.GNUTYPE_SPARSE
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"%011o\0%011o\0" % (0, 512)
    header[483:495] = b"%011o\0" % (8 * GB - 1)
    header[148:156] = b"%06o\0 " % sum(header[:148] + b" " * 8 + header[156:512])
    path.write_bytes(bytes(header) + bytes(512 * 3))


def tar_damaged(path: Path) -> None:
    with tarfile.open(path, "w:xz") as archive:
        archive.addfile(tarfile.TarInfo("a/1.png"), io.BytesIO())
    content = bytearray(path.read_bytes())
    content[30:60] = b"\xff" * 30
    path.write_bytes(content)


def rows_of_nothing(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(10**6, np.int8)), pa.array([1.0]))
    part = pa.table({"x": column, "y": column})
    with pq.ParquetWriter(path, part.schema) as writer:
        for _ in range(60):
            writer.write_table(part, row_group_size=10**6)


def parquet_cut(path: Path) -> None:
    rows_of_nothing(path)
    path.write_bytes(path.read_bytes()[:-100] + b"PAR1")


def categories(count: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        lines = "".join(f"name {row},{row % 7},{row % 2}\n" for row in range(count))
        path.write_text(f"who,number,y\n{lines}")

    return make


def classes(count: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        lines = "".join(f"{row % 13},{row % 7},class {row % count}\n" for row in range(2 * count))
        path.write_text(f"a,b,y\n{lines}")

    return make


def many_columns(path: Path) -> None:
    names = ",".join(f"c{number}" for number in range(3000))
    row = ",".join(["1"] * 3000)
    path.write_text(f"{names},y\n{row},0\n{row},1\n")


def wide_row(path: Path) -> None:
    path.write_bytes(b"a,b,y\n" + b"1," * 2_000_000 + b"\n" + b"1,2,0\n3,4,1\n" * 20)


def wide_header(path: Path) -> None:
    path.write_bytes(b"a," * 1_000_000 + b"y\n1,2,0\n")


def nul_bytes(path: Path) -> None:
    path.write_bytes(b"a,b,y\n1,\0,3\n" * 30)


def endless_quote(path: Path) -> None:
    path.write_text('a,b,y\n1,"2,3\n' + "4,5,6\n" * 100_000)


def deep_toml(path: Path) -> None:
    path.write_text(f"epochs = {'[' * 100_000}{']' * 100_000}\n")


def deep_tables(path: Path) -> None:
    path.write_text(f"[{'.'.join('a' * 20_000)}]\nepochs = 3\n")


def long_number(path: Path) -> None:
    path.write_text(f"epochs = {'9' * 10_000}\n")


def deep_run(path: Path) -> None:
    path.mkdir()
    (path / "run.json").write_text("[" * 1_000_000)


def piped_run(path: Path) -> None:
    path.mkdir()
    pipe(path / "run.json")


def device_run(path: Path) -> None:
    path.mkdir()
    device(path / "run.json")


def sparse_weights(path: Path) -> None:
    header = b'{"a":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}' % (TB // 4, TB)
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    os.truncate(path, 8 + len(header) + TB)


def packed_weights(path: Path) -> None:
    torch.save({"a": torch.zeros(4)}, path)
    with zipfile.ZipFile(path) as saved:
        members = {info.filename: saved.read(info) for info in saved.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        for name, content in members.items():
            bomb.writestr(name, bytes(1500 * MB) if name.endswith("/data/0") else content)


def vectors(path: Path) -> None:
    gz(path, 4 * GB, b"the 0.1 0.2\n")


def texts(path: Path) -> None:
    lines = "".join(f"the words of row {row},{row % 2}\n" for row in range(60))
    path.write_text(f"text,y\n{lines}")


DATA: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    **{f"pipe{suffix}": (pipe, ("a pipe",)) for suffix in (".csv", ".npz", ".h5", ".parquet", ".tar", ".csv.gz")},
    **{f"zero{suffix}": (device, ("a device",)) for suffix in (".csv", ".npz", ".h5", ".parquet", ".tar")},
    "socket.csv": (listening, ()),
    "with pipe": (with_pipe, RIGHT),
    "with device": (with_device, ("zero.png", "a device")),
    "with circle": (with_circle, ("own",)),
    "with huge": (with_huge, ("huge.png", "20000×9001")),
    "declared.npz": (declared, ("larger than it is",)),
    "unpacked.npz": (unpacked, ("of memory",)),
    "lying.npz": (lying, ("larger than it is",)),
    "negative.npz": (negative, ()),
    "pickled.npz": (pickled, ("without pickles",)),
    "encrypted.npz": (encrypted, ()),
    "strange.npz": (strangely_packed, ()),
    "cut.npz": (cut_short, ()),
    "link.h5": (external_link, ("a link to another file", "other.h5")),
    "virtual.h5": (virtual, ("of other files",)),
    "raw.h5": (raw_storage, ("of other files",)),
    "unallocated.h5": (unallocated, ("of memory",)),
    "round.h5": (round_links, ()),
    "groups.h5": (round_groups, RIGHT),
    "half.h5": (half, ()),
    "compound.h5": (compound, ()),
    "references.h5": (references, ()),
    "idx": (idx_bomb, ("unpacks to more",)),
    "announcing": (idx_announcing, ("IDX",)),
    "line.csv.gz": (endless_line, ("unpacks to more",)),
    "header.csv.gz": (endless_header, ("unpacks to more",)),
    "bomb.tar.gz": (tar_bomb, ("of memory",)),
    "sparse.tar": (tar_sparse, ("of memory",)),
    "damaged.tar.xz": (tar_damaged, ()),
    "nothing.parquet": (rows_of_nothing, ("of memory",)),
    "cut.parquet": (parquet_cut, ()),
    "columns.csv": (many_columns, ()),
    "wide.csv": (wide_row, ("row 0 (from 0) has 2000001 cells", "3 columns")),
    "wide header.csv": (wide_header, ("of memory",)),
    "nul.csv": (nul_bytes, ()),
    "quote.csv": (endless_quote, ()),
}
OTHERS: dict[str, tuple[Callable[[Path], None], tuple[object, ...], tuple[str, ...]]] = {
    "12000 names.csv": (categories(12_000), (*TRAIN, "--data", "{}"), RIGHT),
    "100000 names.csv": (categories(100_000), (*TRAIN, "--data", "{}"), RIGHT),
    "12000 classes.csv": (classes(12_000), (*TRAIN, "--data", "{}"), RIGHT),
    "deep.toml": (deep_toml, ("pretrain", "--config", "{}"), ("deep.toml",)),
    "tables.toml": (deep_tables, ("pretrain", "--config", "{}"), ("tables.toml",)),
    "number.toml": (long_number, ("pretrain", "--config", "{}"), ("number.toml",)),
    "zero.toml": (device, ("pretrain", "--config", "{}"), ("a device",)),
    "deep run": (deep_run, ("evaluate", "{}"), ("deep run",)),
    "piped run": (piped_run, ("evaluate", "{}"), ("a pipe",)),
    "device run": (device_run, ("finetune", "{}"), ("a device",)),
    "sparse.safetensors": (sparse_weights, ("finetune", "{}", "--model", "mlp:4", "--data", "digits"), ("of memory",)),
    "packed.pt": (packed_weights, ("finetune", "{}", "--model", "mlp:4", "--data", "digits"), ("of memory",)),
    "words.gz": (vectors, (*TRAIN, "--data", "texts.csv", "--text", "text", "--embeddings", "{}"), ("words.gz",)),
}
CASES = {
    **{name: (make, (*TRAIN, "--data", "{}"), words) for name, (make, words) in DATA.items()},
    **OTHERS,
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """What the commands answer, on each of the files."""
    folder = tmp_path_factory.mktemp("odd")
    texts(folder / "texts.csv")
    for name, (make, _, _) in CASES.items():
        make(folder / name)
    commands = [[str(part).replace("{}", name) for part in words] for name, (_, words, _) in CASES.items()]
    return dict(zip(CASES, answers(commands, folder), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_an_odd_file_is_one_line_or_a_right_result(found: dict[str, Answer], name: str) -> None:
    words = CASES[name][2]
    if found[name].code != 0 or words:
        found[name].refusal(*words)


def test_what_is_made_here_is_what_it_is_called(tmp_path: Path) -> None:
    """The bombs unpack: one of a few megabytes does, to as many zeros as it says."""
    gz(tmp_path / "small.gz", 4 * MB, b"begin")
    with gzip.open(tmp_path / "small.gz") as file:
        assert file.read(5 + 4 * MB) == b"begin" + bytes(4 * MB)
    zip_of(tmp_path / "one.npz", "x.npy", array_header((3,)) + np.arange(3, dtype=np.float32).tobytes())
    assert np.load(tmp_path / "one.npz")["x"].tolist() == [0, 1, 2]
    with pytest.raises(RecursionError):
        tomllib.loads("a = " + "[" * 100_000)
