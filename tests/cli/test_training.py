"""`reuse pretrain` and `reuse finetune` as a user calls them: what they print, and replaying a run."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

KEYS = {
    "run",
    "source",
    "settings",
    "frozen",
    "frontier",
    "cache",
    "epochs",
    "sizes",
    "phases",
    "metrics",
    "seconds",
    "plan",
}
SECONDS = {"start", "load", "digest", "cache", "train", "total"}


def test_json_is_one_object_with_the_agreed_keys(reuse: Any) -> None:
    pretrained = reuse("pretrain", "autoencoder", "--model", "mlp:16,8", "--epochs", 2, "--json").json
    tuned = reuse("finetune", "--freeze", "hidden1", "--epochs", 2, "--no-compare", "--json").json
    for values in (pretrained, tuned):
        assert values.keys() >= KEYS
        assert values["seconds"].keys() >= SECONDS
        assert values["metrics"].keys() == values["sizes"].keys() == {"train", "valid", "test"}
        assert values["epochs"] == 2
        assert Path(values["run"]).is_dir()
    assert pretrained["cache"] is None
    assert pretrained["metrics"]["test"].keys() == {"loss", "mse"}
    assert tuned["source"] == pretrained["run"]
    assert tuned["frozen"] == ["hidden1"]
    assert tuned["frontier"] == [{"name": "hidden1", "shape": [16], "dtype": "float32"}]
    assert tuned["metrics"]["test"].keys() == {"loss", "accuracy", "macro_f1"}
    assert tuned["cache"].keys() >= {"hit", "key", "path", "bytes", "rows"}
    assert tuned["cache"]["rows"] == {"computed": sum(tuned["sizes"].values()), "found": 0}
    assert tuned["settings"]["freeze"] == ["hidden1"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not say when a process began")
def test_the_total_begins_with_the_process() -> None:
    """Half a second that passes before anything is imported is part of it; nothing is lost when it leaves at once."""
    program = "import sys, time; time.sleep(0.5); from reuse.cli.main import main; sys.argv[0] = 'reuse'; main()"
    arguments = ["pretrain", "--epochs", "1", "--json"]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    seconds = json.loads(done.stdout)["seconds"]
    assert seconds["start"] >= 0.5
    assert seconds["total"] >= seconds["start"] + seconds["load"] + seconds["train"]


@pytest.mark.skipif(shutil.which("bash") is None or not Path("/proc/self/stat").exists(), reason="for Linux")
@pytest.mark.parametrize("waiting", ["sleep 3", "read -t 3 < <(sleep 4)"])
def test_the_total_is_that_of_the_command_and_not_of_its_shell(waiting: str) -> None:
    """A shell that becomes its last command leaves it a process that is as old as the shell."""
    program = "import time; began = time.perf_counter(); from reuse.cli.starting import command_start; "
    line = shlex.join([sys.executable, "-c", program + "print(began - command_start())"])
    done = subprocess.run(["bash", "-c", f"{waiting}; exec {line}"], capture_output=True, text=True, check=True)
    assert 0 < float(done.stdout) < 2.5


def test_the_second_run_finds_its_activations(reuse: Any) -> None:
    reuse("pretrain", "--model", "mlp:16,8,4", "--epochs", 2)
    command = ("finetune", "--freeze", "hidden1,hidden2", "--epochs", 2, "--no-compare", "--json")
    first, second = reuse(*command).json, reuse(*command).json
    assert not first["cache"]["hit"]
    assert second["cache"]["hit"]
    assert second["cache"]["rows"] == {"computed": 0, "found": sum(second["sizes"].values())}
    assert second["cache"]["key"] == first["cache"]["key"]
    assert second["metrics"] == first["metrics"]


def test_replaying_a_run_from_its_settings(reuse: Any, finetuned: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    again = reuse("finetune", "--config", finetuned / "settings.toml", "--out", out, "--json").json
    assert again["metrics"] == reuse("finetune", "--resume", finetuned, "--json").json["metrics"]
    assert Path(again["run"]) == out
    same = {name: value for name, value in again["settings"].items() if name != "seconds"}
    assert (out / "settings.toml").read_text() == (finetuned / "settings.toml").read_text(), same


def test_what_the_user_says_counts_more_than_the_file(reuse: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('model = "mlp:6"\nepochs = 50\nlearning-rate = 0.5\n')
    values = reuse("pretrain", "--config", tmp_path / "mine.toml", "--epochs", 1, "--json").json
    assert values["epochs"] == 1
    assert values["settings"]["learning_rate"] == 0.5
    assert values["settings"]["model"] == "mlp:6"


def test_the_comparison_is_a_table_of_three(reuse: Any, pretrained: Path) -> None:
    answer = reuse("finetune", pretrained, "--freeze", "hidden1", "--epochs", 2)
    assert answer.code == 0
    assert re.search(r"^the command as a whole: about .*, and .* go into what is trained after this$", answer.err, re.M)
    assert re.search(r"^the command as a whole: predicted .*, took .*$", answer.out, re.M)
    labels = ("from scratch", "reused and frozen", "reused, unfrozen")
    for label in labels:
        assert len(re.findall(rf"^{label}  ", answer.out, re.MULTILINE)) == 1


@pytest.mark.usefixtures("cached_however_small")
def test_the_report_says_what_the_plan_foretold_and_what_views_there_were(reuse: Any, pretrained: Path) -> None:
    settings = ["--freeze", "hidden1", "--data", "digits", "--labels", 100, "--epochs", 5, "--no-compare"]
    settings += ["--cache-kind", "disk", "--no-early-stopping"]
    views = ["--augment", "shift:1", "--views", 3, "--refresh-views", 2]
    answer = reuse("finetune", pretrained, *settings, *views)
    assert re.search(r"^views: 3 versions .* changed by shift:1, a new one every 2 epochs$", answer.err, re.MULTILINE)
    assert re.search(
        r"^5 epochs: predicted .*, took .* \(without the cache predicted .*\); 3 versions of each training row, "
        r"and 1 new ones since$",
        answer.out,
        re.MULTILINE,
    )
    assert re.search(
        r"^the command as a whole: about .*, of which .* starting, reading and planning$", answer.err, re.M
    )
    assert re.search(r"^the command as a whole: predicted .*, took .*$", answer.out, re.MULTILINE)


@pytest.mark.usefixtures("cached_however_small")
def test_the_report_has_a_line_for_each_phase(reuse: Any, pretrained: Path) -> None:
    settings = ["--data", "digits", "--labels", 100, "--epochs", 5, "--no-compare", "--no-early-stopping"]
    answer = reuse("finetune", pretrained, "--freeze", "hidden1,hidden2", "--unfreeze", "2:hidden2,3:all", *settings)
    lines = [line for line in answer.out.splitlines() if re.match(r"epochs? \d", line)]
    assert lines == [
        "epochs 1 to 2: hidden1, hidden2 frozen, cut behind hidden2",
        "epoch 3: hidden1 frozen, cut behind hidden1",
        "epochs 4 to 5: nothing frozen",
    ]
    (told,) = [line for line in answer.out.splitlines() if "predicted" in line]
    assert re.fullmatch(r"the command as a whole: predicted .*, took .*", told)


def test_progress_goes_to_standard_error_as_lines(reuse: Any) -> None:
    answer = reuse("pretrain", "--model", "mlp:6", "--epochs", 2, "--json")
    assert answer.json["epochs"] == 2
    assert "epoch 2/2" in answer.err
    assert "\r" not in answer.err


@pytest.mark.parametrize("command", [("pretrain", "--list"), ("recipes", "list"), ("cache", "list"), ("doctor",)])
def test_json_is_one_object_everywhere(reuse: Any, command: tuple[str, ...]) -> None:
    answer = reuse(*command, "--json")
    assert answer.code == 0
    assert answer.json
    assert reuse(*command).out


def test_a_warning_is_one_line_without_code(reuse: Any) -> None:
    settings = ("--model", "mlp:4", "--activation", "selu", "--norm", "batch", "--epochs", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        lines = reuse("pretrain", "supervised", *settings).err.splitlines()
    (line,) = [line for line in lines if "it keeps activations at mean 0" in line]
    assert line.startswith("warning: activation 'selu' with norm 'batch'")
    assert not any("UserWarning" in line or line.startswith(" ") for line in lines)


def test_objectives_are_listed(reuse: Any) -> None:
    listed = reuse("pretrain", "--list", "--json").json["objectives"]
    assert {"autoencoder", "denoising_autoencoder", "supervised"} <= {entry["name"] for entry in listed}


def test_quiet_prints_the_last_line_and_warnings_alone(reuse: Any, tmp_path: Path) -> None:
    before = reuse("pretrain", "autoencoder", "--model", "mlp:16,8", "--epochs", 1, "--quiet", "--out", tmp_path / "a")
    assert before.out == f"run folder: {tmp_path / 'a'}; next: reuse finetune --freeze LAYERS\n"
    assert before.err == ""
    few = ("finetune", tmp_path / "a", "--freeze", "hidden1", "--data", "digits", "--epochs", 3, "--quiet")
    tuned = reuse(*few, "--out", tmp_path / "b")
    assert tuned.out == f"run folder: {tmp_path / 'b'}; next: reuse predict {tmp_path / 'b'} --data SPEC\n"
    assert tuned.err == ""
    assert reuse(*few, "--json", "--out", tmp_path / "c").json["epochs"] == 3
    untrained = reuse("finetune", "mlp:16,8", "--data", "digits", "--freeze", "hidden1", "--epochs", 1, "--quiet")
    assert [line.partition(":")[0] for line in untrained.err.splitlines()] == ["warning"]
    np.savez(tmp_path / "alike.npz", x_train=np.full((30, 8, 8), 0.5), y_train=np.arange(30) % 3)
    alike = ("--data", tmp_path / "alike.npz", "--epochs", 1, "--no-compare", "--quiet")
    unlearned = reuse("finetune", tmp_path / "a", "--freeze", "hidden1", *alike)
    kinds = [line.partition(":")[0] for line in unlearned.err.splitlines()]
    assert kinds == ["test", "valid", "nothing was learned"], "rows that were drawn, and the warning"
    reuse(*few, "--learning-rate", -1).is_refused("learning rate is -1")


@pytest.mark.parametrize(
    "command", [("pretrain", "autoencoder", "--target", "none", "--model", "mlp:4"), ("finetune", "mlp:4")]
)
def test_quiet_prints_what_is_left_aside_of_the_data(reuse: Any, tmp_path: Path, command: tuple[str, ...]) -> None:
    rows = "".join(f"{n},{n * n % 11},{n % 2}\n" for n in range(60))
    (tmp_path / "t.csv").write_text(f",two,kind\n{rows}")
    answer = reuse(*command, "--data", tmp_path / "t.csv", "--epochs", 1, "--quiet")
    assert answer.code == 0, answer.err
    assert "column '' is left aside: it has no name and numbers the rows" in answer.err.splitlines()
    assert answer.out.startswith("run folder: ")
