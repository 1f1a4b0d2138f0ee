"""Objectives on the command line: `--set`, and the list in groups."""

import json
from pathlib import Path
from typing import Any

import pytest

from reuse.cli.objectives import with_own
from reuse.errors import UsageError
from reuse.objectives.menu import OBJECTIVES


def test_what_is_set_stands_behind_the_colon() -> None:
    assert with_own([], {"epochs": 1}) == {"epochs": 1}
    assert with_own(["size=8"], {"objective": "byol"}) == {"objective": "byol:size=8"}
    assert with_own(["size=8", " noise=1 "], {"objective": "x:a=1"}) == {"objective": "x:a=1,size=8,noise=1"}
    assert with_own(["weights=1,2"], {"objective": "multitask"}) == {"objective": "multitask:weights=1/2"}
    assert with_own(["noise=1"], {}) == {"objective": "autoencoder:noise=1"}


@pytest.mark.parametrize(
    ("own", "settings", "message"),
    [(["size"], {}, "write NAME=VALUE"), (["=3"], {}, "write NAME=VALUE"), (["size=3"], {"resume": "x"}, "name the")],
)
def test_what_names_nothing_is_refused(own: list[str], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        with_own(own, settings)


def test_both_ways_are_the_same_run(reuse: Any) -> None:
    rest = ("--model", "mlp:6", "--epochs", 1, "--labels", 60, "--json")
    rest = rest[:4] + rest[6:]
    one = reuse("pretrain", "variational:size=4,beta=2", *rest, "--out", "one").json
    other = reuse("pretrain", "variational", "--set", "size=4", "--set", "beta=2", *rest, "--out", "other").json
    assert one["settings"]["objective"] == other["settings"]["objective"] == "variational:size=4,beta=2"
    assert one["metrics"] == other["metrics"]
    refused = reuse("pretrain", "variational", "--set", "sizes=4", "--out", "none")
    assert refused.code == 2
    assert "did you mean 'size'" in refused.err
    assert not Path("none").exists()


def test_the_list_has_a_line_each_in_groups(reuse: Any) -> None:
    lines = reuse("pretrain", "--list").out.splitlines()
    for name, entry in OBJECTIVES.items():
        (line,) = [line for line in lines if line.startswith(f"{name} ")]
        assert entry.kind.summary in line
        assert entry.kind.paper in line
        assert all(f"{setting}=" in line for setting in entry.settings)
    heads = [line.split("  ")[0] for line in lines if "learns to" in line]
    assert heads == list(dict.fromkeys(entry.group for entry in OBJECTIVES.values()))


def test_the_list_in_json(reuse: Any) -> None:
    listed = {entry["name"]: entry for entry in reuse("pretrain", "--list", "--json").json["objectives"]}
    assert listed.keys() == OBJECTIVES.keys()
    assert listed["variational"]["settings"] == {"size": 16, "beta": 1.0}
    assert listed["scarf"]["data"] == ["tables"]
    assert json.dumps(listed)


def test_a_teacher_in_another_folder_is_read_and_resumed(reuse: Any) -> None:
    rest = ("--model", "mlp:6", "--epochs", 1, "--json")
    reuse("pretrain", "supervised", *rest, "--out", "runs/teacher")
    told = reuse("pretrain", "distillation", "--set", "teacher=runs/teacher", *rest, "--out", "runs/pupil").json
    assert told["settings"]["objective"] == "distillation:teacher=runs/teacher"
    assert reuse("pretrain", "--resume", "runs/pupil", "--epochs", 2, "--json").json["epochs"] == 2
    refused = reuse("pretrain", "distillation", "--set", "teacher=runs/none", "--out", "other")
    assert "runs/none" in refused.is_refused()


def test_labels_are_not_learned_from_where_test_rows_are_trained_on(reuse: Any) -> None:
    reuse("pretrain", "supervised", "--transductive", "--out", "run").is_refused("learns from labels", "leave it out")
    assert not Path("run").exists()
