"""A first run decodes images while frozen layers compute, each once, and keeps few; what is wrong is said as ever."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import reuse
from costly import find_frozen_layers_costly
from reuse.caching.probing import ORDINARY_ROWS
from reuse.data import file_digests, image_check, image_reading, images, pictures
from reuse.data.image_check import ImageCheck
from reuse.errors import DataError, UnusableImagesError
from reuse.features import cutting, filling

ROWS, SAMPLE, TOGETHER = 40, 4, 6


class Watch:
    """What was decoded, in order, by which kind of thread, and what the frozen layers had computed by then."""

    def __init__(self) -> None:
        self.decoded: list[bytes] = []
        self.in_background = 0
        self.checks: list[ImageCheck] = []
        self.decoded_before: list[int] = []


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """A folder of photos that seem old, few rows at a time, and a watch on what is done."""
    random = np.random.default_rng(0)
    for row in range(ROWS):
        path = tmp_path / f"photos/class{row % 2}/{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(file_digests, "GRAIN", -(10**12))
    monkeypatch.setattr(cutting, "SAMPLE_ROWS", SAMPLE)
    monkeypatch.setattr(filling, "COMPUTE_ROWS", TOGETHER)
    find_frozen_layers_costly(monkeypatch)
    seen, pixels_of, run_frozen = Watch(), pictures.pixels_of, filling.run_frozen

    def decoding(image: Image.Image, *arguments: Any) -> np.ndarray:
        found = pixels_of(image, *arguments)
        seen.decoded.append(found.tobytes())
        seen.in_background += threading.current_thread() is not threading.main_thread()
        return found

    def computing(*arguments: Any, **settings: Any) -> Any:
        seen.decoded_before.append(len(seen.decoded))
        return run_frozen(*arguments, **settings)

    class Noted(ImageCheck):
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **settings)
            seen.checks.append(self)

    for module in (pictures, image_check):
        monkeypatch.setattr(module, "pixels_of", decoding)
    monkeypatch.setattr(filling, "run_frozen", computing)
    monkeypatch.setattr(image_reading, "ImageCheck", Noted)
    return seen


def train(**settings: Any) -> Any:
    given = {"random_weights": True, "freeze": "conv1", "data": "photos", "epochs": 2, "compare": False, **settings}
    return reuse.finetune("convnet:4,6", **given)


def cut_short(path: str, share: float = 0.5) -> None:
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: int(len(content) * share)])


@pytest.mark.parametrize("cache_kind", ["disk", "memory"])
def test_images_are_decoded_once_while_frozen_layers_compute(watch: Watch, cache_kind: str) -> None:
    result = train(cache_kind=cache_kind)
    assert result.cache["rows"]["computed"] == ROWS
    assert len(watch.decoded) == len(set(watch.decoded)) == ROWS
    assert watch.decoded_before[0] <= SAMPLE + ORDINARY_ROWS + 2 * TOGETHER
    assert watch.in_background == ROWS
    assert int(watch.checks[0].is_decoded.sum()) <= SAMPLE + ORDINARY_ROWS  # no more pixels are held


def test_what_it_comes_to_is_the_same_as_when_all_are_decoded_at_first(watch: Watch) -> None:
    late, early = train(cache_dir="late"), train(cache_dir="early", skip_bad=True)
    assert [check.is_late for check in watch.checks] == [True, False]
    assert early.metrics == late.metrics
    assert early.cache["key"] == late.cache["key"]
    assert train(cache_dir="late", skip_bad=True).cache["hit"]


@pytest.mark.parametrize("settings", [{"unfreeze": "1:conv1"}, {"compare": True}, {"augment": "noise:0.1", "views": 2}])
def test_pixels_that_are_needed_again_are_kept(watch: Watch, settings: dict[str, Any]) -> None:
    train(**settings)
    assert len(watch.decoded) == len(set(watch.decoded)) == ROWS


def test_no_file_is_read_or_decoded_when_another_command_looks_at_all_of_them(watch: Watch) -> None:
    train()
    watch.decoded.clear()
    reuse.finetune("convnet:4,6", random_weights=True, freeze="conv1", data="photos", epochs=1, skip_bad=True)
    assert len(watch.decoded) <= SAMPLE + ORDINARY_ROWS


@pytest.mark.parametrize("settings", [{}, {"cache_kind": "memory"}, {"compare": True}])
def test_broken_images_are_refused_as_when_all_are_decoded_at_first(watch: Watch, settings: dict[str, Any]) -> None:
    for name in ("photos/class0/38.png", "photos/class1/7.png", "photos/class1/39.png"):
        cut_short(name)
    said = set()
    for work in (lambda: reuse.load("photos"), lambda: train(**settings), lambda: train(**settings)):
        with pytest.raises(
            UnusableImagesError, match=r"3 broken images \(.*38\.png.*39\.png.*7\.png.*--skip-bad"
        ) as error:
            work()
        said.add(str(error.value))
    assert len(said) == 1
    assert not list(Path().glob("runs/*"))
    assert train(skip_bad=True, **settings).sizes["train"] < ROWS


def test_once_an_image_is_mended_the_run_goes_through(watch: Watch) -> None:
    cut_short("photos/class1/39.png")
    with pytest.raises(UnusableImagesError, match=r"1 broken image \(photos/class1/39\.png"):
        train()
    Image.fromarray(np.full((16, 16, 3), 9, np.uint8)).save("photos/class1/39.png")
    assert sum(train().cache["rows"].values()) == ROWS
    assert train().cache["hit"]


def test_images_that_are_not_what_their_header_says_are_refused_by_their_shape(watch: Watch) -> None:
    picture = Image.fromarray(np.full((16, 16, 3), 9, np.uint8))
    picture.resize((16, 20)).save("photos/class0/8.png")
    for work in (lambda: reuse.load("photos"), train):
        with pytest.raises(UnusableImagesError, match=r"class0/8\.png is 20×16: say with --image-size"):
            work()
    assert not Path("runs").exists()


def test_a_file_that_changes_while_it_waits_is_an_error(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    read = images.read_bytes
    monkeypatch.setattr(images, "read_bytes", lambda path: read(path) + (b"\0" if path.name == "20.png" else b""))
    with pytest.raises(DataError, match=r"20\.png was written to since it was first read"):
        train()


def test_a_run_that_is_resumed_stays_when_an_image_breaks(watch: Watch) -> None:
    run = train(labels=20, out="run").run
    cut_short("photos/class1/1.png")
    with pytest.raises(DataError):
        reuse.finetune(resume=run, epochs=3)
    assert json.loads((Path(run) / "result.json").read_text())["epochs"] == 2
