"""Running the command line in this process, errors and exit code included, and small runs to look at."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reuse.cli.main import main
from reuse.finetuning.finetune import finetune
from reuse.pretraining.pretrain import pretrain


@dataclass(frozen=True)
class Answer:
    """What a command printed and left with."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output as the one JSON object that it must be."""
        values = json.loads(self.out)
        assert isinstance(values, dict)
        return values

    def is_refused(self, *words: str, code: int = 2) -> str:
        """Assert one clear line that holds all `words`, and return it."""
        assert self.code == code, self.err
        assert "Traceback" not in self.err + self.out
        assert code != 2 or not self.out  # noqa: PLR2004, RUF100 - a script that reads this must not take it for a result
        lines = [line for line in self.err.splitlines() if line.lower().startswith("error:")]
        assert len(lines) == 1, self.err
        assert self.err.splitlines()[-1] == lines[0]
        for word in words:
            assert word in lines[0]
        return lines[0]


Command = Callable[..., Answer]


@pytest.fixture
def reuse(capsys: pytest.CaptureFixture[str]) -> Command:
    """Calls the program as a shell would."""

    def call(*arguments: object) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert isinstance(leaving.value.code, int)
        return Answer(leaving.value.code, printed.out, printed.err)

    return call


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretraining run of an autoencoder on digits."""
    folder = tmp_path_factory.mktemp("runs") / "pretrained"
    pretrain(model="mlp:16,8", epochs=2, out=folder)
    return folder


@pytest.fixture(scope="session")
def finetuned(tmp_path_factory: pytest.TempPathFactory, pretrained: Path) -> Path:
    """A fine-tuning run on three classes of digits, its first layer frozen."""
    folder = tmp_path_factory.mktemp("runs") / "finetuned"
    settings: dict[str, Any] = {"classes": "3,5,8", "labels": 60, "epochs": 8, "learning_rate": 0.01}
    cache = tmp_path_factory.mktemp("cache")
    finetune(pretrained, freeze="hidden1", data="digits", cache_dir=cache, out=folder, **settings)
    return folder
