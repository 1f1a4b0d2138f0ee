"""Files and run folders of somebody else's run no code and choose no place to write to, unless they are trusted."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from reuse.errors import UsageError
from reuse.finetuning.finetune import finetune
from reuse.nn.callables import names_code
from reuse.nn.recipe import OWN_FAMILIES
from reuse.pretraining.pretrain import pretrain
from reuse.searching.rate_finding import lr_find
from reuse.searching.sweep import sweep

MODULE = """
from pathlib import Path
from torch import nn

Path("has_run").touch()

def build(in_features, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(in_features, 4), nn.ReLU(), nn.Linear(4, num_classes))

def falling(epoch):
    return 1 / (1 + epoch)
"""
DECOYS = {
    "nothing": lambda: None,
    "a file": lambda: Path("evil:build").write_text("weights"),
    "a folder": lambda: Path("evil:build").mkdir(),
    "a run": lambda: shutil.copytree("run", "evil:build"),
    "a schedule": lambda: Path("evil:falling").touch(),
}


@pytest.fixture(params=DECOYS)
def decoy(request: pytest.FixtureRequest, pretrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code beside the user's files, and something that is called as it is."""
    shutil.copytree(pretrained, "run")
    Path("evil.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.delitem(__import__("sys").modules, "evil", raising=False)
    DECOYS[request.param]()


FILES = {"model": 'model = "evil:build"', "source": 'source = "evil:build"', "schedule": 'schedule = "evil:falling"'}


@pytest.mark.usefixtures("decoy")
@pytest.mark.parametrize("name", FILES)
def test_no_config_runs_code(reuse: Any, name: str) -> None:
    Path("theirs.toml").write_text(f'{FILES[name]}\ndata = "digits"\nepochs = 1\nlabels = 40\n')
    commands = [["finetune"], ["plan"], ["cache", "why"], *([["pretrain", "supervised"]] if name != "source" else [])]
    for command in commands:
        source = [] if name == "source" or command[0] == "pretrain" else ["run"]
        reuse(*command, *source, "--config", "theirs.toml").is_refused("evil:", "allow it by --trust")
    assert not Path("has_run").exists()


@pytest.mark.usefixtures("decoy")
@pytest.mark.parametrize("name", ["model", "schedule"])
def test_no_resumed_or_replayed_run_runs_code(reuse: Any, name: str) -> None:
    settings = Path("run/settings.toml")
    lines = [line for line in settings.read_text().splitlines() if not line.startswith(f"{name} =")]
    settings.write_text("\n".join([FILES[name], *lines]) + "\n")
    reuse("pretrain", "--resume", "run", "--epochs", 3).is_refused("evil:", "allow it by --trust")
    reuse("pretrain", "--config", settings).is_refused("evil:", "allow it by --trust")
    assert not Path("has_run").exists()


@pytest.mark.usefixtures("decoy")
def test_no_run_that_is_reused_runs_code(reuse: Any) -> None:
    manifest = Path("run/run.json")
    manifest.write_text(manifest.read_text().replace('"mlp:16,8"', '"evil:build"'))
    assert "evil:build" in manifest.read_text()
    calls = (finetune, sweep, lr_find)
    for call in calls:
        with pytest.raises(UsageError, match=r"evil:build.*allow it by --trust"):
            call("run", data="digits", epochs=1, labels=40)
    reuse("inspect", "run").is_refused("evil:build", "--trust")
    assert not Path("has_run").exists()


@pytest.mark.usefixtures("decoy")
def test_what_the_user_names_is_code_whatever_else_is_called_so(reuse: Any) -> None:
    given = {"data": "digits", "labels": 40, "epochs": 1, "compare": False}
    assert finetune("evil:build", **given, out="named").epochs == 1
    Path("has_run").unlink()
    assert "evil:build" in reuse("inspect", "evil:build").out


@pytest.mark.parametrize(
    ("spec", "is_code"),
    [
        ("evil:build", True),
        ("package.module:Class", True),
        ("_a.b1:_c", True),
        ("módulo:función", True),
        ("mlp:300,100", False),
        ("mlp:build", False),
        ("timm:resnet18", False),
        ("evil", False),
        ("evil:", False),
        (":build", False),
        ("evil:build:more", False),
        ("evil.:build", False),
        (".evil:build", False),
        ("./evil:build", False),
        ("a/b:build", False),
        ("evil:build()", False),
        (" evil:build", False),
        ("evil:build\n", False),
    ],
)
def test_the_form_alone_says_what_is_code(spec: str, is_code: bool) -> None:
    assert names_code(spec, OWN_FAMILIES) == is_code
    if spec.strip():
        Path(spec.replace("/", "_")).touch()
    assert names_code(spec, OWN_FAMILIES) == is_code


@pytest.mark.parametrize("spec", ["evil:build:more", " evil:build", "evil:build ", "./evil:build", "evil.:build"])
def test_what_has_not_the_form_is_never_imported(reuse: Any, spec: str) -> None:
    Path("evil.py").write_text(MODULE)
    Path("theirs.toml").write_text(f'model = "{spec}"\ndata = "digits"\nepochs = 1\nlabels = 40\n')
    assert reuse("pretrain", "supervised", "--config", "theirs.toml").code == 2
    assert not Path("has_run").exists()


def test_no_file_chooses_where_to_write(reuse: Any, pretrained: Path) -> None:
    Path("documents").mkdir()
    begin = f'source = "{pretrained}"\nfreeze = ["hidden1"]\nlabels = 40\nepochs = 1\n'
    for line, name in (('out = "documents/x"', "out"), ('resume = "documents"', "resume")):
        Path("theirs.toml").write_text(begin + line)
        reuse("finetune", "--config", "theirs.toml").is_refused("documents", name, "--trust")
    Path("theirs.toml").write_text(begin + 'cache_dir = "documents"')
    for command in (["finetune"], ["plan"], ["cache", "why"]):
        reuse(*command, "--config", "theirs.toml").is_refused("documents", "cache-dir", "--trust")
    assert list(Path("documents").iterdir()) == []


def test_a_cache_that_the_user_has_named_is_not_asked_about_again(reuse: Any, pretrained: Path) -> None:
    begin = f'source = "{pretrained}"\ndata = "digits"\nfreeze = ["hidden1"]\nlabels = 40\nepochs = 1\n'
    Path("mine.toml").write_text(begin + 'cache_dir = "mine"\ncache_kind = "disk"\n')
    assert reuse("finetune", "--config", "mine.toml", "--cache-dir", "mine").code == 0
    assert reuse("finetune", "--config", "mine.toml").code == 0
    shutil.copytree("mine", "brought-along", symlinks=True)  # as an archive brings it: other inodes
    Path("theirs.toml").write_text(begin + 'cache_dir = "brought-along"\n')
    reuse("finetune", "--config", "theirs.toml").is_refused("brought-along", "nobody has used here", "--trust")
    assert reuse("finetune", "--config", "theirs.toml", "--trust").code == 0


def test_a_resumed_run_does_not_choose_a_cache(pretrained: Path) -> None:
    given: dict[str, Any] = {"freeze": "hidden1", "data": "digits", "labels": 40, "cache_kind": "disk"}
    finetune(pretrained, **given, epochs=1, cache_dir="mine", out="run")
    assert finetune(resume="run", epochs=2).epochs == 2
    shutil.copytree("mine", "brought-along", symlinks=True)
    settings = Path("run/settings.toml")
    settings.write_text(settings.read_text().replace('"mine"', '"brought-along"'))
    with pytest.raises(UsageError, match=r"run names the cache brought-along.*--trust"):
        finetune(resume="run", epochs=3)
    assert finetune(resume="run", epochs=3, cache_dir="brought-along").epochs == 3


def test_a_run_goes_on_with_a_cache_that_holds_nothing_yet(pretrained: Path) -> None:
    given: dict[str, Any] = {"freeze": "hidden1", "data": "digits", "labels": 40, "cache_kind": "memory"}
    finetune(pretrained, **given, epochs=1, cache_dir="mine", out="run")
    assert finetune(resume="run", epochs=2).epochs == 2


def test_a_run_of_ones_own_needs_trust_for_code_too(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("mine.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    pretrain("supervised", model="mine:build", data="digits", labels=40, epochs=1, out="own")
    with pytest.raises(UsageError, match="own names the code mine:build, which would be imported and run"):
        pretrain(resume="own", epochs=2)
    assert pretrain(resume="own", epochs=2, trust=True).epochs == 2
