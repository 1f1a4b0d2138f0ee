"""What a run's settings name is neither imported nor called by a report, unless the run is trusted."""

from pathlib import Path

import pytest

import reuse

QUICK = {"data": "digits", "labels": 60, "epochs": 1}


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that tells that it was imported; where it tells it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    told = tmp_path / "told"
    lines = ["from pathlib import Path", f"Path({str(told)!r}).touch()", "def attack(*_):", "    raise SystemExit(1)"]
    (tmp_path / "attacking.py").write_text("\n".join(lines))
    return told


@pytest.mark.parametrize("kind", ["pretrain", "finetune"])
@pytest.mark.parametrize("name", ["model", "schedule"])
def test_code_in_the_settings_of_a_run_does_not_run(ran: Path, kind: str, name: str) -> None:
    source = reuse.pretrain("supervised", model="mlp:8", out="source", **QUICK).run
    run = Path(source) if kind == "pretrain" else Path(reuse.finetune(source, out="tuned", **QUICK).run)
    settings = run / "settings.toml"
    kept = [line for line in settings.read_text().splitlines() if not line.startswith(f"{name} =")]
    settings.write_text("\n".join([f'{name} = "attacking:attack"', *kept]))
    page = reuse.report(run, out="page.html").read_text()
    assert not ran.exists()
    assert "allow it by --trust" in page
