"""Values that a shell completes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from reuse.augmenting.augmentation import IMAGE_MENU, SEQUENCE_MENU, TABLE_MENU
from reuse.cli import completing
from reuse.cli.completion import PLACES
from reuse.cli.main import COMMANDS, cli
from reuse.cli.menu_names import names_in
from reuse.data.catalogue import NAMED
from reuse.inference.metrics import METRICS
from reuse.nn.activations import ACTIVATIONS
from reuse.nn.initializers import INITIALIZERS
from reuse.nn.norm_specs import WEIGHT_NORMS
from reuse.nn.norms import MAP_NORMS, VECTOR_NORMS
from reuse.objectives.menu import OBJECTIVES
from reuse.optim.optimizers import OPTIMIZERS
from reuse.optim.schedules import SCHEDULES
from reuse.precision import PRECISIONS

IMPORTED = {
    "activation": {*ACTIVATIONS},
    "optimizer": {*OPTIMIZERS},
    "schedule": {*SCHEDULES},
    "init": {*INITIALIZERS},
    "norm": {*VECTOR_NORMS, *MAP_NORMS, *WEIGHT_NORMS},
    "objective": {*OBJECTIVES},
    "precision": {*PRECISIONS},
    "augment": {*IMAGE_MENU, *TABLE_MENU, *SEQUENCE_MENU},
    "metrics": {name for menu in METRICS.values() for name in menu},
}
START_SECONDS = 1.0  # of processor time; with torch it takes twice as much


def completed(*words: str) -> list[str]:
    """Return the values that complete the last of some words."""
    found = ShellComplete(cli, {}, "reuse", "_REUSE_COMPLETE").get_completions(list(words[:-1]), words[-1])
    return [item.value for item in found if item.type == "plain"]


@pytest.mark.parametrize("setting", [*completing.MENUS, *completing.LISTED])
def test_names_that_are_read_are_those_that_are_imported(setting: str) -> None:
    menus = (completing.MENUS | completing.LISTED)[setting]
    assert {name for file, menu in menus for name in names_in(file, menu)} == IMPORTED[setting]
    assert setting in IMPORTED


def test_data_are_those_of_the_catalogue() -> None:
    assert completed("finetune", "--data", "") == [*NAMED, "openml:"]


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (("pretrain", "--activation", "leaky"), ["leaky_relu"]),
        (("pretrain", "--optimizer", "nes"), ["nesterov"]),
        (("pretrain", "sim"), ["simclr", "simsiam"]),
        (("finetune", "timm:resnet10t"), ["timm:resnet10t"]),
        (("inspect", "resnet10t"), ["resnet10t"]),
        (("finetune", "--data", "cif"), ["cifar10"]),
        (("evaluate", "runs/x", "--split", "t"), ["test", "train"]),
        (("ensemble", "a", "--soup", "g"), ["greedy"]),
        (("recipes", "run", "frozen_fine"), ["frozen_finetune"]),
        (("finet",), ["finetune"]),
        (("finetune", "--augment", "mirror,zo"), ["mirror,zoom"]),
        (("evaluate", "runs/x", "--metrics", "roc"), ["roc_auc"]),
        (("sweep", "--solver", ""), ["logistic", "ridge"]),
    ],
)
def test_a_value(words: tuple[str, ...], values: list[str]) -> None:
    assert completed(*words) == values


def test_runs_and_their_layers(pretrained: Path, finetuned: Path, tmp_path: Path) -> None:
    for run, moment in ((pretrained, 1), (finetuned, 2)):
        shutil.copytree(run, tmp_path / "runs" / run.name)
        os.utime(tmp_path / "runs" / run.name / "run.json", (moment, moment))
    assert completed("predict", "runs/") == ["runs/finetuned", "runs/pretrained"]
    assert completed("finetune", "--resume", "runs/f") == ["runs/finetuned"]
    layers = ["hidden1", "hidden1.linear", "hidden2", "hidden2.linear"]
    assert set(layers) <= set(completed("finetune", "--freeze", "hid")) <= {*layers, "output"}
    assert "output" in completed("finetune", "runs/finetuned", "--freeze", "")
    assert completed("finetune", "runs/finetuned", "--freeze", "hidden1,!out") == ["hidden1,!output"]
    assert completed("inspect", "runs/finetuned", "--freeze", ":hidden2.") == [":hidden2.linear"]
    assert completed("finetune", "timm:resnet18", "--freeze", "!") == ["!head"]


def test_where_nothing_is_known_files_are_completed(tmp_path: Path) -> None:
    (tmp_path / "runs" / "broken").mkdir(parents=True)
    (tmp_path / "runs" / "broken" / "run.json").write_text("{")
    (tmp_path / "runs" / "broken" / "weights.safetensors").write_bytes(b"\xff" * 20)
    complete = ShellComplete(cli, {}, "reuse", "_REUSE_COMPLETE")
    assert [item.type for item in complete.get_completions(["finetune", "--data"], "./photo")] == ["file"]
    assert completed("finetune", "runs/broken", "--freeze", "h") == ["head"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("reuse finetune timm : resnet10t", "resnet10t"),
        ("reuse finetune timm :", "all"),
        ("reuse pretrain --activation = leaky", "leaky_relu"),
        ("reuse pretrain --activation leaky", "leaky_relu"),
        ("reuse pretrain --activation leaky_relu --optimizer nest", "nesterov"),
        ("reuse finet", "finetune"),
    ],
)
def test_in_bash(words: str, values: str, tmp_path: Path) -> None:
    place = tmp_path / "bin"
    place.mkdir()
    (place / "reuse").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m reuse "$@"\n')
    (place / "reuse").chmod(0o755)
    typed = f"COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _reuse_completion reuse"
    env = {**os.environ, "PATH": f"{place}:{os.environ['PATH']}"}
    shown = 'echo "${COMPREPLY[@]}"'
    script = f'compopt() {{ echo -n; }}; eval "$(reuse completion bash)"; {typed}; {shown}'
    done = subprocess.run(["bash", "-c", script], env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
    if values == "all":
        assert "resnet18" in done.stdout.split()
    else:
        assert done.stdout.split() == [values], done.stderr


def test_it_is_fast_and_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom reuse.cli.main import main\n"
        "try:\n    main(['--version'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'timm', 'sklearn'} & set(sys.modules)\nassert not heavy, heavy\n"
        "print(time.process_time())"
    )
    env = {
        **os.environ,
        "_REUSE_COMPLETE": "zsh_complete",
        "COMP_WORDS": "reuse finetune timm:resnet10t",
        "COMP_CWORD": "2",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "timm:resnet10t" in done.stdout
    assert float(done.stdout.splitlines()[-1]) < START_SECONDS


@pytest.mark.parametrize("shell", PLACES)
def test_the_script_of_a_shell(reuse: object, shell: str) -> None:
    if shell != "bash" or shutil.which("bash"):
        assert "_REUSE_COMPLETE" in reuse("completion", shell).out  # type: ignore[operator]


def test_how_to_install_it_is_told(reuse: object) -> None:
    told = reuse("completion").out  # type: ignore[operator]
    assert all(place in told for place in PLACES.values())
    assert "reuse completion" in reuse("--help").out  # type: ignore[operator]
    assert "completion" in COMMANDS
