"""Whole reports: what a run lacks is said, nothing crashes, and no name becomes markup."""

import json
import re
import shutil
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import torch

import reuse
from reports.conftest import HOSTILE
from reports.test_markup import Read
from reuse.errors import RunError, UsageError
from reuse.escaping import escaped

SECTIONS = ["Facts", "Curves", "Right and wrong", "Worst mistakes", "Calibration", "Model", "Weights", "Features"]


def headings(page: str) -> list[str]:
    return [unescape(title) for title in re.findall(r"<h3>(.*?)</h3>", page)]


def written(runs: list[Path], tmp_path: Path, **settings: object) -> str:
    return reuse.report(runs, out=tmp_path / "report.html", **settings).read_text(encoding="utf-8")  # type: ignore[arg-type]


def test_a_run_with_everything_has_every_section(runs: Path, tmp_path: Path) -> None:
    page = written([runs / "frozen"], tmp_path)
    assert headings(page) == SECTIONS
    result = json.loads((runs / "frozen" / "result.json").read_text())
    assert f'<span class="value">{result["metrics"]["test"]["accuracy"]:.3f}</span>' in page
    for words in ("gradient norms", "training, without dropout", "learning rate", "cut at hidden1", "restored, frozen"):
        assert words in page, words
    assert "frozen until epoch 3" in page
    assert f"{result['cache']['rows']['computed']:,} rows computed" in page
    assert "have changed since" not in page  # what is computed anew is what the run recorded


def test_it_is_the_same_each_time(runs: Path, tmp_path: Path) -> None:
    assert written([runs / "frozen"], tmp_path) == written([runs / "frozen"], tmp_path)


def test_a_pretraining_without_labels_says_what_it_lacks(runs: Path, tmp_path: Path) -> None:
    page = written([runs / "pre"], tmp_path)
    assert headings(page) == ["Facts", "Curves", "Model", "Weights", "Features", "Not shown"]
    assert "Confusion matrix, Worst mistakes, Calibration: the run was trained without labels" in page
    assert len(re.findall(r'alt="Filter \d+"', page)) == 30  # units of the first layer
    assert page.count('class="chart map"') == 2  # before and after


def test_a_pretraining_in_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reuse.pretrain("stacked", model="mlp:8,5", epochs=3, out="run", pictures=False)
    page = written([Path("run")], tmp_path)
    assert "from epoch 2 on stage hidden2 trains" in page
    assert page.count('class="chart map"') == 2


def test_no_name_becomes_markup(runs: Path, tmp_path: Path) -> None:
    page = written([runs / "odd <b>"], tmp_path)
    read = Read(page)
    assert "script" not in read.tags
    assert "b" in read.tags  # of the mistakes, not of the run's name
    assert "odd <b>" in read.words
    for name in HOSTILE:
        assert escaped(name) in read.words
        assert any(escaped(name) in (value or "") for key, value in read.attributes if key in ("alt", "title"))
    assert not [key for key, _ in read.attributes if key.startswith("on")]
    assert not [
        value
        for key, value in read.attributes
        if key in ("src", "href") and not (value or "").startswith(("data:", "#"))
    ]
    assert "\x1b" not in page


@pytest.mark.parametrize("task", ["numbers", "labels"])
def test_other_tasks(task: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    page = written([request.getfixturevalue(task)], tmp_path)
    assert ("No confusion matrix: the task is multilabel" in page) == (task == "labels")
    assert ("Calibration: the task is regression" in page) == (task == "numbers")


def test_data_that_is_gone_leaves_what_the_folder_tells(numbers: Path, tmp_path: Path) -> None:
    run = shutil.copytree(numbers, tmp_path / "run")
    (run / "settings.toml").write_text((run / "settings.toml").read_text().replace("table.csv", "gone.csv"))
    page = written([run], tmp_path)
    assert headings(page) == ["Facts", "Curves", "Model", "Weights", "Not shown"]
    assert "gone.csv" in page
    assert "without intervals" in page


def test_data_that_has_changed_is_said(numbers: Path, tmp_path: Path) -> None:
    table = (numbers.parent / "table.csv").read_text().splitlines()
    changed = [table[0], *(line.rpartition(",")[0] + ",1" + line.rpartition(",")[2] for line in table[1:])]
    (tmp_path / "table.csv").write_text("\n".join(changed))
    run = shutil.copytree(numbers, tmp_path / "run")
    settings = (run / "settings.toml").read_text()
    (run / "settings.toml").write_text(settings.replace(str(numbers.parent), str(tmp_path)))
    assert "the data or the code have changed since" in written([run], tmp_path)


def test_arrays_are_given_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    data = (x, (x[:, 0] > 0).astype(np.int64))
    reuse.pretrain("supervised", data=data, model="mlp:5", epochs=2, out="run")
    assert "was trained on arrays, which a run does not keep" in written([Path("run")], tmp_path)
    assert "Not shown" not in written([Path("run")], tmp_path, data=data)


def test_rows_of_another_split_may_be_looked_at(runs: Path, tmp_path: Path) -> None:
    assert "40 validation rows of digits" in written([runs / "frozen"], tmp_path, split="valid")


def test_a_run_that_was_killed(runs: Path, tmp_path: Path) -> None:
    run = shutil.copytree(runs / "frozen", tmp_path / "run")
    (run / "result.json").unlink()
    (run / "weights.safetensors").unlink()
    page = written([run], tmp_path)
    assert "the run is not finished" in page
    assert headings(page) == ["Facts", "Curves", "Not shown"]


def test_a_sweep_has_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reuse.sweep("mlp:8,6", freeze="hidden1", random_weights=True, data="digits", epochs=1, out="swept", keep="best")
    page = written([Path("swept")], tmp_path)
    assert "has no model of its own" in page
    assert "The best settings" in page
    assert headings(written([Path("swept/best")], tmp_path))[0] == "Facts"


def test_a_model_of_somebodys_code_is_built_with_trust_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_nets.py").write_text(
        "from torch import nn\n\ndef net(input_shape, num_outputs):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7), nn.ReLU(), nn.Linear(7, num_outputs))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    reuse.pretrain("supervised", model="own_nets:net", epochs=1, out="run")
    page = written([Path("run")], tmp_path)
    assert "the run names the code own_nets:net" in page
    assert headings(page) == ["Facts", "Curves", "Weights", "Not shown"]
    assert headings(written([Path("run")], tmp_path, trust=True)) == SECTIONS


def test_several_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "two_nets.py").write_text(
        "import torch\nfrom torch import nn\n\nclass Two(nn.Module):\n"
        "    def __init__(self, input_shape, num_outputs):\n        super().__init__()\n"
        "        self.one, self.head = nn.Linear(3, 4), nn.Linear(8, num_outputs)\n        self.two = nn.Linear(5, 4)\n"
        "    def forward(self, a, b):\n        return self.head(torch.cat([self.one(a), self.two(b)], 1).relu())\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    generator = np.random.default_rng(0)
    a, b = (generator.normal(size=(60, width)).astype(np.float32) for width in (3, 5))
    data = {"x": {"a": a, "b": b}, "y": (a[:, 0] > 0).astype(np.int64)}
    reuse.finetune("two_nets:Two", data=data, epochs=1, out="run", compare=False)
    page = written([Path("run")], tmp_path, data=data, trust=True)
    assert "Features: the model takes several inputs a row" in page
    assert {"Right and wrong", "Worst mistakes", "Calibration", "Model"} <= set(headings(page))


def test_several_runs_stand_side_by_side(runs: Path, tmp_path: Path) -> None:
    page = written([runs / "frozen", runs / "free"], tmp_path)
    assert re.findall(r"<h2[^>]*>(.*?)</h2>", page) == ["Comparison", "frozen", "free"]
    anchors = set(re.findall(r'id="([^"]+)"', page))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= anchors
    assert len(anchors) == page.count(' id="')


def test_runs_of_one_name_are_told_apart_by_their_folders(runs: Path, tmp_path: Path) -> None:
    other = shutil.copytree(runs / "frozen", tmp_path / "frozen")
    page = written([runs / "frozen", other], tmp_path)
    assert f"{tmp_path.name}/frozen" in page


def test_it_leaves_the_callers_random_numbers_alone(runs: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    written([runs / "pre"], tmp_path)
    assert torch.equal(before, torch.get_rng_state())


def test_what_cannot_be_taken_is_refused(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run folder"):
        reuse.report([tmp_path / "nothing"])
    with pytest.raises(UsageError, match="name run folders"):
        reuse.report([])
    with pytest.raises(UsageError, match="split 'tset' is not there: did you mean 'test'"):
        reuse.report([runs / "pre"], split="tset")
    with pytest.raises(UsageError, match="cannot be written"):
        reuse.report([runs / "pre"], out=tmp_path)


def test_weights_of_many_frozen_layers_are_shown_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for layers, behind in (("!output", 5), ("hidden1,hidden2,hidden3,hidden4", 0)):
        run = reuse.finetune(
            "mlp:9,8,7,6,5", freeze=layers, random_weights=True, data="digits", labels=60, epochs=1, compare=False
        ).run
        section = written([Path(run)], tmp_path).partition("<h3>Weights</h3>")[2].partition("<h3>")[0]
        at_once, _, folded = section.partition("<details")
        assert section.count("Weights of ") == 6 + (behind == 5)
        assert folded.count("Weights of hidden") == behind
        assert ("Weights of 5 frozen tensors" in folded) == (behind == 5)
        assert "Weights of output" in at_once
