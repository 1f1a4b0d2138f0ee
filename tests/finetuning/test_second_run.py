"""A run that finds all activations cached reads, decodes, traces and measures nothing that an earlier one has."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import reuse
from costly import find_frozen_layers_costly
from reuse.caching.probing import ORDINARY_ROWS
from reuse.data import file_digests, image_check, images, pictures
from reuse.features import choosing, cutting
from reuse.features.opening import COMPARED_ROWS

ROWS = 40


@pytest.fixture
def counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """A folder of photos, files that seem old, and a count of what is done."""
    random = np.random.default_rng(0)
    for row in range(ROWS):
        path = tmp_path / f"photos/class{row % 2}/{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(file_digests, "GRAIN", -(10**12))
    find_frozen_layers_costly(monkeypatch)
    done = Counter[str]()

    def count(module: Any, name: str) -> None:
        function: Callable[..., Any] = getattr(module, name)

        def counting(*arguments: Any, **settings: Any) -> Any:
            done[name] += 1
            return function(*arguments, **settings)

        monkeypatch.setattr(module, name, counting)

    for module in (pictures, image_check):
        count(module, "pixels_of")
    count(cutting, "cut")
    count(choosing, "measure_work")
    return done


def train(**settings: Any) -> dict[str, Any]:
    given = {"random_weights": True, "freeze": "conv1", "data": "photos", "epochs": 2, "compare": False, **settings}
    result = reuse.finetune("convnet:4,6", **given)
    assert result.cache is not None
    return result.cache


def test_the_second_run_does_nothing_again(counts: Counter[str]) -> None:
    assert not train()["hit"]
    assert (counts["pixels_of"], counts["cut"], counts["measure_work"]) == (ROWS, 1, 1)
    counts.clear()
    assert train()["hit"]
    assert 0 < counts["pixels_of"] <= COMPARED_ROWS + ORDINARY_ROWS  # rows of the spot check
    assert (counts["cut"], counts["measure_work"]) == (0, 0)


def test_new_photos_alone_are_decoded(counts: Counter[str]) -> None:
    train()
    counts.clear()
    Image.fromarray(np.full((16, 16, 3), 77, np.uint8)).save("photos/class0/new.png")
    cache = train()
    assert (cache["rows"]["computed"], cache["rows"]["found"]) == (1, ROWS)
    assert counts["pixels_of"] <= 1 + COMPARED_ROWS + ORDINARY_ROWS
    assert counts["cut"] == 0


def test_rehash_decodes_nothing_and_finds_all(counts: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    train()
    counts.clear()
    read = Counter[str]()
    digest = images.FileDigests.read

    def reading(self: Any, path: Path) -> tuple[bytes, bytes]:
        read["file"] += 1
        return digest(self, path)

    monkeypatch.setattr(images.FileDigests, "read", reading)
    assert train()["hit"]
    assert read["file"] == 0
    assert train(rehash=True)["hit"]
    assert read["file"] == ROWS
    assert counts["pixels_of"] <= 2 * (COMPARED_ROWS + ORDINARY_ROWS)


def test_another_head_measures_only_itself_and_another_layer_all(counts: Counter[str]) -> None:
    train()
    counts.clear()
    assert train(learning_rate=0.1, seed=0)["hit"]
    assert (counts["cut"], counts["measure_work"]) == (0, 0)
    assert not train(freeze="conv1,conv2")["hit"]
    assert (counts["cut"], counts["measure_work"]) == (1, 1)


def test_clearing_the_cache_forgets_what_was_known(counts: Counter[str]) -> None:
    train()
    from reuse.caching.cache import ActivationCache
    from reuse.paths import cache_folder

    ActivationCache(cache_folder(None)).clear()
    assert not list(cache_folder(None).rglob("hints*"))
    counts.clear()
    assert not train()["hit"]
    assert (counts["pixels_of"], counts["cut"]) == (ROWS, 1)
