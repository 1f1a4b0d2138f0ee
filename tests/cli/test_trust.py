"""A folder or file that came from elsewhere does not get its code run by being replayed."""

from pathlib import Path
from typing import Any

import pytest

from reuse.errors import UsageError
from reuse.finetuning.finetune import finetune
from reuse.pretraining.pretrain import pretrain

MODULE = """
from pathlib import Path
from torch import nn

def network(in_features, num_classes):
    Path("has_run").touch()
    return nn.Sequential(nn.Flatten(), nn.Linear(in_features, 4), nn.ReLU(), nn.Linear(4, num_classes))
"""
SPEC = "brought_along:network"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Path:
    Path("brought_along.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    result = pretrain("supervised", model=SPEC, epochs=1, out="run")
    Path("has_run").unlink()
    return Path(result.run)


def test_a_config_that_names_code_needs_trust(run: Path, reuse) -> None:
    arguments = ["pretrain", "--config", f"{run}/settings.toml", "--out"]
    refused = reuse(*arguments, "other")
    assert refused.code == 2
    assert "allow it by --trust" in refused.err
    assert not Path("has_run").exists()
    assert reuse(*arguments, "another", "--trust").code == 0
    assert Path("has_run").exists()


def test_resuming_and_reusing_need_trust(run: Path) -> None:
    with pytest.raises(UsageError, match="allow it by --trust"):
        pretrain(resume=run)
    with pytest.raises(UsageError, match="allow it by --trust"):
        finetune(run, epochs=1)
    assert not Path("has_run").exists()
    assert pretrain(resume=run, trust=True, epochs=2).epochs == 2
    assert finetune(run, epochs=1, trust=True, compare=False).epochs == 1


def test_no_folder_says_that_it_is_trusted(run: Path, reuse) -> None:
    pretrain(resume=run, trust=True, epochs=2)
    settings = run / "settings.toml"
    assert "trust" not in settings.read_text()
    settings.write_text(settings.read_text() + "trust = true\n")
    with pytest.raises(UsageError, match="allow it by --trust"):
        pretrain(resume=run)
    assert "only the command line may" in reuse("pretrain", "--config", str(settings)).err


def test_a_schedule_that_is_code_needs_trust_when_a_file_names_it(reuse: Any) -> None:
    Path("rates.py").write_text("def falling(epoch):\n    return 1 / (1 + epoch)\n")
    begin = ("pretrain", "supervised", "--data", "digits", "--model", "mlp:8", "--labels", "60", "--epochs", "1")
    assert reuse(*begin, "--schedule", "rates:falling", "--out", "coded").code == 0
    reuse("pretrain", "--resume", "coded", "--epochs", "2").is_refused("rates:falling", "--trust")
    reuse("pretrain", "--config", "coded/settings.toml").is_refused("rates:falling", "--trust")
    assert reuse("pretrain", "--resume", "coded", "--epochs", "2", "--trust").code == 0
    reuse(*begin, "--schedule", "rates:rising").is_refused("no 'rising'", "falling")
