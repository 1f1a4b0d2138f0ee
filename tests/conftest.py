"""What every test shares: quiet threads, the data folder, a private cache and runs folder."""

import os
from pathlib import Path

import pytest
import torch

from costly import find_frozen_layers_costly

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def private_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep caches and runs of a test inside its own folder."""
    monkeypatch.setenv("REUSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def real_data(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of real data sets, as REUSE_DATA; the test is skipped where there is none."""
    folder = Path(os.environ.get("REUSE_DATA", SHARED_DATA))
    if not folder.is_dir():
        pytest.skip("no real data: set REUSE_DATA")
    monkeypatch.setenv("REUSE_DATA", str(folder))
    return folder


@pytest.fixture
def cached_however_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each plan find frozen layers costly: whatever can be cut is cached, on disk."""
    find_frozen_layers_costly(monkeypatch)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs CUDA"))
