"""The project's own files agree with each other."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import reuse

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = [
    "pip install -e . && reuse pretrain && reuse finetune --freeze hidden1,hidden2",
    'pip install -e ".[test]" && pytest',
]


@pytest.mark.parametrize("command", COMMANDS)
def test_readme_and_ci_run_the_same_commands(command: str) -> None:
    assert (ROOT / "README.md").read_text().splitlines().count(command) == 1
    assert (ROOT / ".ci" / "run").read_text().splitlines().count(command) == 1


def test_every_package_is_packaged() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {"reuse", *(f"reuse.{p.parent.name}" for p in (ROOT / "reuse").glob("*/__init__.py"))}
    assert set(listed) == folders | {"reuse.recipes"}
    assert len(listed) == len(set(listed))


def test_version_is_said_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert reuse.__version__.count(".") == 2


def test_public_names_exist_and_are_listed() -> None:
    assert sorted(reuse.__all__) == sorted({*reuse._HOMES, "__version__"})
    for name in reuse.__all__:
        assert getattr(reuse, name) is not None


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'frieze'"):
        _ = reuse.frieze


def test_import_and_help_do_not_import_torch() -> None:
    code = (
        "import sys, reuse; from reuse.cli.main import cli; "
        "cli(['--help'], standalone_mode=False); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_the_cache_folder_commits_nothing_but_its_readme() -> None:
    done = subprocess.run(["git", "ls-files", "cache"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["cache/.gitignore", "cache/README.md"]
