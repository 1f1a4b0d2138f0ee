"""Pictures as people have them: formats by content, turned, deep, transparent, huge, damaged."""

import io
import random
import re
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import reuse
from reuse.data.dataset import Dataset
from reuse.data.image_formats import is_image
from reuse.data.pictures import MOST_PIXELS, decode, without_pillows_warnings
from reuse.data.preprocessing import Preprocessing
from reuse.data.scales import white_of
from reuse.errors import DataError

RNG = np.random.default_rng(3)
EVERY: dict[str, Any] = {"valid_fraction": 0, "test_fraction": 0}
COLOUR = Preprocessing("images", 255.0, channels=3)


def colours(height: int = 8, width: int = 6) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def rows(data: Dataset) -> np.ndarray:
    inputs = data.train.inputs.resident()
    assert inputs is not None
    return (inputs * 255).round().numpy()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.jfif", "JPEG"), ("a.jpe", "JPEG"), ("a.avif", "AVIF"), ("a.JP2", "JPEG2000"), ("a.WEBP", "WEBP"),
     ("a.ico", "ICO"), ("a.tga", "TGA"), ("IMG_0001", "JPEG"), ("scan.dat", "PNG"), ("photo.jpg.part", "TIFF")],
)  # fmt: skip
def test_what_pillow_opens_is_an_image_whatever_it_is_called(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).write_bytes(encoded(colours(16, 16), kind))
    assert reuse.load(str(tmp_path), image_size=8, **EVERY).sizes["train"] == 1


@pytest.mark.parametrize("content", [b"", b"BM, a text on birds", b"P6 or not P6", b"\x00" * 200, b"%!PS-Adobe\n"])
def test_other_files_are_no_images(content: bytes) -> None:
    assert not is_image("notes", content)
    assert not is_image("notes.txt", content)


def test_a_picture_that_pillow_cannot_read_is_not_left_aside(tmp_path: Path) -> None:
    colours().save(tmp_path / "a.png")
    (tmp_path / "b.heic").write_bytes(b"\x00\x00\x00\x18ftypheic" + bytes(50))
    with pytest.raises(DataError, match=r"b\.heic: not read by the Pillow that is installed: install pillow-heif"):
        reuse.load(str(tmp_path), **EVERY)


def test_postscript_is_never_run(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(DataError, match="not an image"):
        reuse.load(str(tmp_path), **EVERY)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_pictures_are_turned_as_viewers_turn_them(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x112] = orientation
    content = encoded(colours(), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    with Image.open(io.BytesIO(content)) as image:
        shown = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert (decode(content, COLOUR).transpose(1, 2, 0) == shown).all()


@pytest.mark.parametrize(
    "tags",
    [
        [(0x112, 2, 4, b"up\0\0")],
        [(0x112, 3, 1, b"\x4d\0\0\0")],
        [(0x112, 3, 2, b"\x06\0\x08\0")],
        [(0x112, 3, 0, b"\0\0\0\0"), (0x132, 2, 9999, b"\xff\xff\xff\0")],
        [(0x8825, 2, 5, b"\xff\xff\0\0"), (0x8769, 12, 1, b"\x10\0\0\0"), (0x9286, 5, 3, b"\x10\0\0\0")],
    ],
    ids=["text", "unknown", "two", "none", "others"],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_odd_tags_are_nobodys_business(kind: str, tags: list[tuple[int, int, int, bytes]]) -> None:
    entries = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in tags)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    picture = Image.new("RGB", (6, 8), (200, 100, 50))
    with without_pillows_warnings():
        found = decode(encoded(picture, kind, exif=exif), COLOUR)
    assert found.shape in ((3, 8, 6), (3, 6, 8))  # turned where the first of two values says so
    assert abs(found[:, 4, 4].astype(int) - (200, 100, 50)).max() < 5


def test_damaged_exif_is_no_damaged_picture() -> None:
    picture = colours()
    content = encoded(picture, exif=b"Exif\x00\x00" + b"MM\x00*" + b"\xff" * 30)
    assert (decode(content, COLOUR).transpose(1, 2, 0) == np.asarray(picture)).all()


@pytest.mark.parametrize(
    ("highest", "is_whole", "white"),
    [(200, True, 255), (256, True, 1023), (3000, True, 4095), (16_000, True, 16_383), (40_000, True, 65_535),
     (70_000, True, 262_143), (0, True, 255), (0.2, False, 1), (1, False, 1), (250.5, False, 255), (900, False, 1023)],
)  # fmt: skip
def test_white_is_the_end_of_the_bits_that_a_data_set_fills(highest: float, is_whole: bool, white: float) -> None:
    assert white_of(highest, is_whole=is_whole) == white


def scans(folder: Path, *highest: float, dtype: Any = np.uint16) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    for number, value in enumerate(highest):
        Image.fromarray(np.full((4, 4), value, dtype)).save(folder / f"{number}.tif")
    return str(folder)


def test_one_white_for_a_data_set_of_16_bits(tmp_path: Path) -> None:
    """A dark picture stays dark beside a bright one."""
    data = reuse.load(scans(tmp_path, 4000, 400, 40), channels=1, **EVERY)
    assert rows(data)[:, 0, 0, 0].tolist() == [round(value / 4095 * 255) for value in (4000, 400, 40)]
    assert data.preprocessing.white == 4095
    assert data.notes == ("3 images are deeper than 8 bits: white is 4095, their largest value 4000",)


def test_floats_and_8_bits_side_by_side(tmp_path: Path) -> None:
    scans(tmp_path, 0.5, 0.25, dtype=np.float32)
    Image.new("L", (4, 4), 100).save(tmp_path / "9.png")
    data = reuse.load(str(tmp_path), **EVERY)
    assert rows(data)[:, 0, 0, 0].tolist() == [128, 64, 100]
    assert data.preprocessing.white == 1


@pytest.mark.parametrize("value", [-3, np.nan, np.inf])
def test_grey_without_a_scale_is_broken(tmp_path: Path, value: float) -> None:
    scans(tmp_path, 0.5, value, dtype=np.float32)
    with pytest.raises(DataError, match=r"1 broken image \(.*1\.tif: grey with values from"):
        reuse.load(str(tmp_path), **EVERY)


def test_whole_numbers_and_fractions_have_no_scale_in_common(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 4000, np.uint16)).save(tmp_path / "deep.tif")
    scans(tmp_path, 0.5, dtype=np.float32)
    with pytest.raises(
        DataError, match=r"deep\.tif holds whole numbers beyond 8 bits, and .*0\.tif numbers with a point"
    ):
        reuse.load(str(tmp_path), **EVERY)


def test_the_white_of_a_run_is_that_of_its_training(tmp_path: Path) -> None:
    learned = reuse.load(scans(tmp_path / "a", 4000, 30), channels=1, **EVERY).preprocessing
    later = Preprocessing.from_dict(learned.to_dict())
    dark = reuse.load(scans(tmp_path / "b", 30), preprocessing=later, **EVERY)
    assert rows(dark)[0, 0, 0, 0] == round(30 / 4095 * 255)
    with pytest.raises(DataError, match="values up to 60000, where white is 4095"):
        reuse.load(scans(tmp_path / "c", 60_000), preprocessing=later, **EVERY)


def test_a_preprocessing_for_8_bits_is_kept_as_it_always_was() -> None:
    assert "white" not in COLOUR.to_dict()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_hidden_under_transparency_changes_nothing(mode: str) -> None:
    def disc(hidden: int) -> bytes:
        grey = np.full((8, 8), hidden, np.uint8)
        grey[2:6, 2:6] = 90
        alpha = np.zeros((8, 8), np.uint8)
        alpha[2:6, 2:6] = 255
        if mode == "P":
            image = Image.fromarray(grey).convert("P")
            return encoded(image, transparency=hidden)
        return encoded(Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)]).convert(mode))

    first, second = decode(disc(0), COLOUR), decode(disc(200), COLOUR)
    assert (first == second).all()
    assert (first[:, 0, 0] == 255).all()
    assert (first[:, 3, 3] == 90).all()
    four = Preprocessing("images", 255.0, channels=4)
    assert (decode(disc(0), four) == decode(disc(200), four)).all()


def test_half_transparent_colours_are_mixed_with_the_ground() -> None:
    image = Image.new("RGBA", (2, 2), (100, 0, 200, 51))
    found = decode(encoded(image), COLOUR)[:, 0, 0].astype(float)
    np.testing.assert_allclose(found, np.array([100, 0, 200]) * 0.2 + 255 * 0.8, atol=1)


def test_huge_pictures_are_refused_with_how_to_read_them(tmp_path: Path) -> None:
    colours().save(tmp_path / "a.png")
    Image.new("1", (300, 200), 1).save(tmp_path / "map.png")
    expected = r"1 image of more than 5,000 pixels \(.*map\.png: 300×200 pixels\): make them smaller.*--max-pixels"
    with pytest.raises(DataError, match=expected):
        reuse.load(str(tmp_path), image_size=8, max_pixels=5000, **EVERY)
    data = reuse.load(str(tmp_path), image_size=8, max_pixels=5000, skip_bad=True, **EVERY)
    assert (data.sizes["train"], len(data.notes)) == (1, 1)
    assert reuse.load(str(tmp_path), image_size=8, **EVERY).sizes["train"] == 2


def test_a_limit_of_pillows_own_neither_warns_nor_stays_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    assert decode(encoded(colours()), COLOUR).shape == (3, 8, 6)
    assert Image.MAX_IMAGE_PIXELS == 20
    assert MOST_PIXELS == 178_956_970


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def odd_pictures() -> list[tuple[str, bytes]]:
    """Whole pictures of all kinds, by format."""
    found = []
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO", "TGA", "JPEG2000", "AVIF"):
        for mode in ("RGB", "L", "P", "1", "RGBA", "LA", "CMYK", "I;16"):
            image = colours(9, 7).convert(mode) if mode != "I;16" else Image.fromarray(np.full((9, 7), 900, np.uint16))
            try:
                how = {"sizes": [image.size]} if kind == "ICO" else {}  # older Pillow writes none of so small ones
                found.append((kind, encoded(image, kind, **how)))
            except (OSError, ValueError, KeyError, SystemError):
                continue  # there is no such kind of picture
    return found


def _damaged(content: bytes, chance: random.Random) -> bytes:
    """Return a file cut short, overwritten, shuffled or with other bytes in it."""
    bytes_ = bytearray(content)
    ways = chance.sample(range(5), chance.randint(1, 2))
    for way in ways:
        start = chance.randrange(len(bytes_) or 1)
        if way == 0:
            del bytes_[start:]
        elif way == 1:
            for place in range(min(12, len(bytes_))):
                bytes_[(start + place * 7) % len(bytes_)] = chance.randrange(256)
        elif way == 2:
            bytes_[start : start + 20] = bytes(20)
        elif way == 3:
            bytes_[start:start] = chance.randbytes(30)
        else:
            bytes_[start:] = bytes_[start:][::-1]
    return bytes(bytes_)


def test_500_damaged_and_odd_pictures_are_used_or_named(tmp_path: Path) -> None:
    chance, whole = random.Random(0), odd_pictures()
    names = set()
    for number in range(500):
        kind, content = whole[number % len(whole)]
        name = f"{number:03d}.{kind.lower().replace('jpeg2000', 'jp2')}"
        (tmp_path / name).write_bytes(content if number < len(whole) else _damaged(content, chance))
        names.add(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = reuse.load(str(tmp_path), image_size=8, skip_bad=True, **EVERY)
    used = {Path(name).name for name in data.train.inputs.names() or ()}
    set_aside = {note.split(" (")[0].rpartition("/")[2] for note in data.notes if note.startswith("set aside: ")}
    assert used | set_aside == names
    assert not used & set_aside
    assert {f"{number:03d}" for number in range(len(whole))} <= {name[:3] for name in used}
    assert len(set_aside) > 100
    values = data.train.inputs.gather(torch.arange(len(used)))[0]
    assert bool(((values >= 0) & (values <= 1)).all())
    with pytest.raises(DataError) as refused:
        reuse.load(str(tmp_path), image_size=8, **EVERY)
    counts = re.findall(r"([0-9]+) (?:broken images?|images? of more than)", str(refused.value))
    assert sum(map(int, counts)) == len(set_aside)
    assert "\n" not in str(refused.value)
