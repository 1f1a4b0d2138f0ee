"""Image folders and archives: sizes, orientation, broken files, timm's transform."""

import io
import tarfile
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from reuse.data import file_digests
from reuse.data.loading import load
from reuse.data.preprocessing import image_preprocessing
from reuse.data.raw import Options
from reuse.data.reading import read
from reuse.errors import DataError, UsageError
from reuse.hints import Hints
from reuse.reporting import Reporter

RNG = np.random.default_rng(2)
EVERY = {"valid_fraction": 0, "test_fraction": 0}


def picture(height=8, width=6, channels=3) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (height, width, channels), dtype=np.uint8).squeeze())


def fill(folder, count=5, classes=("cat", "dog"), **size):
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            picture(**size).save(folder / name / f"{number}.png")
    return folder


def test_class_folders(tmp_path):
    data = load(str(fill(tmp_path / "pets")), **EVERY)
    assert data.classes == ("cat", "dog")
    assert data.input_shape == (3, 8, 6)
    assert data.train.targets.tolist() == [0] * 5 + [1] * 5
    pixels = np.asarray(Image.open(tmp_path / "pets/dog/2.png")).transpose(2, 0, 1)
    assert torch.equal(data.train.inputs.gather(torch.tensor([7]))[0][0], torch.from_numpy(pixels.copy()).float() / 255)


class Counting(Reporter):
    """Counts what is told of work on images."""

    def __init__(self):
        self.total, self.done = 0, 0

    @contextmanager
    def rows(self, total, what, unit="row"):
        assert (what, unit) == ("reading images", "image")
        self.total += total
        yield SimpleNamespace(advance=self.advance)

    def advance(self, rows, note=""):
        self.done += rows


def test_the_reading_of_images_is_told_and_of_known_ones_there_is_nothing_to_tell(tmp_path, monkeypatch):
    folder, hints = str(fill(tmp_path / "pets")), Hints(tmp_path / "cache")
    monkeypatch.setattr(file_digests, "GRAIN", 0)  # else files that were written just now are read again
    first, again = Counting(), Counting()
    for told in (first, again):
        load(folder, **EVERY, reporter=told, hints=hints, decode_late=True)
    assert first.done == first.total == 9  # the one before them says how large all are
    assert again.total == 0


def test_the_users_splits_above_the_classes(tmp_path):
    for part in ("train", "val", "test"):
        fill(tmp_path / "pets" / part, count=3)
    data = load(str(tmp_path / "pets"))
    assert data.sizes == {"train": 6, "valid": 6, "test": 6}
    assert data.test.rows.tolist() == list(range(6))


def test_folders_called_train_and_bus_are_classes(tmp_path):
    assert load(str(fill(tmp_path / "vehicles", classes=("train", "bus")))).classes == ("bus", "train")


def test_an_archive_reads_as_the_folder_in_it(tmp_path):
    fill(tmp_path / "pets")
    with tarfile.open(tmp_path / "pets.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "pets", "pets")
    folder, packed = load(str(tmp_path / "pets"), **EVERY), load(str(tmp_path / "pets.tar.xz"), **EVERY)
    assert torch.equal(folder.train.inputs.resident(), packed.train.inputs.resident())
    assert (folder.train.inputs.digests() == packed.train.inputs.digests()).all()
    assert folder.classes == packed.classes


def test_decoding_on_gather_equals_decoding_at_once(tmp_path, monkeypatch):
    folder = str(fill(tmp_path / "pets"))
    kept = load(folder, image_size=5, **EVERY).train.inputs
    monkeypatch.setattr("reuse.data.image_check.free_memory", lambda device: 100)
    lazy = load(folder, image_size=5, **EVERY).train.inputs
    assert lazy._samples.checked.pixels is None
    indices = torch.tensor([9, 0, 3])
    assert torch.equal(lazy.gather(indices)[0], kept.gather(indices)[0])
    assert (lazy.digests() == kept.digests()).all()
    (tmp_path / "pets/dog/4.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"dog/4.png could be read before"):
        lazy.gather(indices)


def test_sizes_that_differ(tmp_path):
    fill(tmp_path / "pets")
    picture(9, 9).save(tmp_path / "pets/dog/odd.png")
    with pytest.raises(DataError, match=r"dog/odd.png is 9×9: .*--image-size"):
        load(str(tmp_path / "pets"))
    assert load(str(tmp_path / "pets"), image_size=(7, 5)).input_shape == (3, 7, 5)


def test_a_digest_is_of_the_bytes_of_the_file(tmp_path):
    fill(tmp_path / "pets")
    before = load(str(tmp_path / "pets"), **EVERY).train.inputs.digests()
    path = tmp_path / "pets/cat/1.png"
    path.write_bytes(path.read_bytes() + b"\0")
    after = load(str(tmp_path / "pets"), image_size=4, **EVERY).train.inputs.digests()
    assert np.flatnonzero((before != after).any(axis=1)).tolist() == [1]


def test_orientation_is_respected(tmp_path):
    upright = picture(8, 6)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise for display
    (tmp_path / "pets/a").mkdir(parents=True)
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "pets/a/turned.png", exif=exif)
    upright.save(tmp_path / "pets/a/upright.png")
    images = load(str(tmp_path / "pets/a"), **EVERY).train.inputs.resident()
    assert torch.equal(images[0], images[1])


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16"])
def test_every_kind_of_picture_becomes_colour_or_grey(tmp_path, mode):
    grey = RNG.integers(0, 256, (6, 6), dtype=np.uint8)
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) << 8)
    else:
        image = Image.fromarray(grey).convert("RGB").convert(mode)
    suffix = "tif" if mode in ("CMYK", "I;16") else "png"
    (tmp_path / "x").mkdir()
    image.save(tmp_path / f"x/a.{suffix}")
    colour = load(str(tmp_path / "x"), **EVERY).train.inputs.resident()[0]
    assert colour.shape == (3, 6, 6)
    assert load(str(tmp_path / "x"), channels=1, **EVERY).input_shape == (1, 6, 6)
    if mode in ("L", "LA", "RGBA", "CMYK", "I;16"):
        torch.testing.assert_close(colour[0] * 255, torch.from_numpy(grey).float(), atol=1.0, rtol=0)


def test_broken_images_are_named_or_set_aside(tmp_path):
    fill(tmp_path / "pets")
    whole = (tmp_path / "pets/cat/0.png").read_bytes()
    (tmp_path / "pets/cat/0.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "pets/dog/3.jpg").write_bytes(b"not a picture")
    (tmp_path / "pets/notes.txt").write_text("two cats")
    with pytest.raises(DataError, match=r"2 broken images \(.*cat/0.png.*dog/3.jpg: not an image"):
        load(str(tmp_path / "pets"))
    data = load(str(tmp_path / "pets"), skip_bad=True, **EVERY)
    assert data.train.rows.tolist() == [1, 2, 3, 4, 5, 6, 7, 9, 10]
    assert [note for note in data.notes if "cat/0.png" in note]
    assert [note for note in data.notes if "dog/3.jpg (not an image)" in note]
    assert [note for note in data.notes if "1 file is not an image" in note]


def test_folders_that_cannot_be_a_data_set(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty folder"):
        load(str(tmp_path / "empty"))
    fill(tmp_path / "pets")
    (tmp_path / "pets/eel").mkdir()
    with pytest.raises(DataError, match="no images in eel"):
        load(str(tmp_path / "pets"))
    (tmp_path / "pets/eel").rmdir()
    picture().save(tmp_path / "pets/stray.png")
    with pytest.raises(DataError, match=r"stray\.png lies beside class folders"):
        load(str(tmp_path / "pets"))
    (tmp_path / "text").mkdir()
    (tmp_path / "text/a.txt").write_text("a")
    with pytest.raises(DataError, match="holds no images"):
        load(str(tmp_path / "text"))


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize(("size", "interpolation", "crop_pct"), [(24, "bicubic", 0.875), ((20, 28), "bilinear", 0.9)])
def test_files_are_prepared_as_timm_evaluates(tmp_path, crop_mode, size, interpolation, crop_pct):
    fill(tmp_path / "pets", count=1, height=40, width=50)
    picture(61, 33).save(tmp_path / "pets/dog/tall.png")
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    preprocessing = image_preprocessing(mean, std, interpolation, crop_pct, size, 3, crop_mode=crop_mode)
    data = load(str(tmp_path / "pets"), preprocessing=preprocessing, **EVERY)
    pair = (size, size) if isinstance(size, int) else size
    timms = create_transform(
        (3, *pair), interpolation=interpolation, crop_pct=crop_pct, crop_mode=crop_mode, mean=mean, std=std
    )
    files = ["cat/0.png", "dog/0.png", "dog/tall.png"]
    expected = torch.stack([timms(Image.open(tmp_path / "pets" / name)) for name in files])
    assert data.preprocessing == preprocessing
    torch.testing.assert_close(data.train.inputs.resident(), expected, atol=1e-6, rtol=0)


def test_arrays_take_timms_crop_too(tmp_path):
    preprocessing = image_preprocessing((0.5,) * 3, (0.25,) * 3, "bicubic", 0.9, 18, 3)
    pixels = RNG.integers(0, 256, (6, 30, 40, 3), dtype=np.uint8)
    arrays = load({"x": pixels}, preprocessing=preprocessing, **EVERY).train.inputs.resident()
    (tmp_path / "x").mkdir()
    for number, array in enumerate(pixels):
        Image.fromarray(array).save(tmp_path / f"x/{number}.png")
    files = load(str(tmp_path / "x"), preprocessing=preprocessing, **EVERY).train.inputs.resident()
    assert arrays.shape == files.shape == (6, 3, 18, 18)
    levels = (
        (arrays - files).abs() * 0.25 * 255
    )  # Pillow also clips between its two passes: a few pixels of noise differ
    assert (levels < 1.5).float().mean() > 0.99


def test_settings_that_contradict_the_preprocessing(tmp_path):
    preprocessing = image_preprocessing((0.5,) * 3, (0.25,) * 3, "bicubic", 0.9, 18, 3)
    with pytest.raises(UsageError, match="image_size"):
        load("digits", preprocessing=preprocessing, image_size=20)
    with pytest.raises(DataError, match="iris holds feature vectors, and the model was made for images"):
        load("iris", preprocessing=preprocessing)
    for size in (0, -3, (1, 2, 3), 1.5, "large", True, (True, 8)):
        with pytest.raises(UsageError, match=r"image.size"):
            load("digits", image_size=size)
    assert load("digits", image_size="12x16").input_shape == (1, 12, 16)  # as on the command line


def test_jpeg_bytes_are_what_is_digested():
    from reuse.data.pictures import decode
    from reuse.data.preprocessing import Preprocessing

    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (255, 0, 0)).save(buffer, "JPEG", quality=100)
    pixels = decode(buffer.getvalue(), Preprocessing("images", channels=3))
    assert pixels.shape == (3, 4, 4)
    assert pixels[0].min() > 250


def test_train_alone_is_split_further(tmp_path):
    fill(tmp_path / "pets/train", count=10)
    data = load(str(tmp_path / "pets"))
    assert data.classes == ("cat", "dog")
    assert data.sizes == {"train": 12, "valid": 4, "test": 4}


@pytest.mark.parametrize("part", ["test", "val"])
def test_a_split_without_class_folders_is_no_class(tmp_path, part):
    fill(tmp_path / "pets/train")
    (tmp_path / "pets" / part).mkdir()
    picture().save(tmp_path / "pets" / part / "1.png")
    with pytest.raises(DataError, match=rf"{part}/1\.png has no class folder: predict it with `reuse predict`"):
        load(str(tmp_path / "pets"))


def test_an_image_beside_the_class_folders_of_train(tmp_path):
    fill(tmp_path / "pets/train")
    picture().save(tmp_path / "pets/train/1.png")
    with pytest.raises(DataError, match=r"train/1\.png lies beside class folders"):
        load(str(tmp_path / "pets"))


def test_nothing_stands_beside_the_splits(tmp_path):
    for part in ("train", "test"):
        fill(tmp_path / "pets" / part)
    fill(tmp_path / "pets/extra", classes=("cat",))
    with pytest.raises(DataError, match="pets: extra stands beside train"):
        load(str(tmp_path / "pets"))
    with tarfile.open(tmp_path / "pets.tar", "w") as archive:
        archive.add(tmp_path / "pets", "pets")
    with pytest.raises(DataError, match="extra stands beside train"):
        load(str(tmp_path / "pets.tar"))


def test_images_for_a_model_of_vectors(tmp_path):
    vectors = load("iris").preprocessing
    with pytest.raises(DataError, match="pets holds images, and the model was made for feature vectors: choose"):
        load(str(fill(tmp_path / "pets")), preprocessing=vectors)


def test_without_targets_folders_are_no_classes(tmp_path):
    assert read(str(fill(tmp_path / "pets")), Options(without_targets=True)).targets is None


def test_a_file_that_was_rewritten_after_it_was_listed_is_not_taken_for_the_one_that_was(tmp_path, monkeypatch):
    folder = str(fill(tmp_path / "pets"))
    monkeypatch.setattr("reuse.data.image_check.free_memory", lambda device: 100)
    inputs = load(folder, image_size=5, **EVERY).train.inputs
    path = tmp_path / "pets/dog/4.png"
    row = next(row for row, name in enumerate(inputs.names()) if name.endswith("dog/4.png"))
    before, other = path.read_bytes(), (tmp_path / "pets/cat/1.png").read_bytes()
    path.write_bytes(other)
    with pytest.raises(DataError, match=r"dog/4.png was written to since it was first read: begin again"):
        inputs.gather(torch.tensor([row]))
    path.write_bytes(before)
    assert inputs.gather(torch.tensor([row]))[0].shape == (1, *inputs.shape)


@pytest.mark.parametrize("kind", ["gif", "tif", "png", "webp"])
def test_files_of_several_frames_are_named(tmp_path, kind):
    fill(tmp_path, height=8, width=8)
    frames = [picture(8, 8) for _ in range(3)]
    frames[0].save(tmp_path / "cat" / f"moving.{kind}", save_all=True, append_images=frames[1:])
    for options in ({}, {"decode_late": True}):
        [note] = [note for note in load(str(tmp_path), **options).notes if "frames" in note]
        assert note.startswith("1 file holds several frames or pages (")
        assert note.endswith(f"moving.{kind}): the first of each is taken")
    (tmp_path / "cat" / f"moving.{kind}").unlink()
    assert not [note for note in load(str(tmp_path)).notes if "frames" in note]
