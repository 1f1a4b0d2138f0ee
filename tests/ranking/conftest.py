"""What rankings begin with."""

from pathlib import Path

import pytest

from reuse.pretraining.pretrain import pretrain


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two pretraining runs on digits: of an autoencoder, and one that has learned the classes below 8."""
    folder = tmp_path_factory.mktemp("runs")
    made = {"coder": folder / "coder", "labelled": folder / "labelled"}
    common = {"model": "mlp:16,8", "epochs": 3, "pictures": False}
    pretrain(**common, out=made["coder"])
    pretrain("supervised", **common, classes="0-7", out=made["labelled"])
    return made
