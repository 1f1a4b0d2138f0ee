"""What sweeps begin with."""

from pathlib import Path

import pytest

from reuse.pretraining.pretrain import pretrain


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretraining run of an autoencoder on digits."""
    folder = tmp_path_factory.mktemp("runs") / "source"
    pretrain(model="mlp:16,8", epochs=2, out=folder)
    return folder
