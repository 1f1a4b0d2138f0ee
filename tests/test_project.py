"""The project's own files agree with each other."""

import subprocess
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
    assert set(listed) == folders | {"reuse.recipes", "reuse.recipes.experiments"}
    assert len(listed) == len(set(listed))


def test_version_is_said_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert reuse.__version__.count(".") == 2


def test_the_changelog_says_each_thing_once_and_under_a_heading() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    entries = [line for line in lines if line.startswith("- ")]
    versions = [number for number, line in enumerate(lines) if line.startswith("## ")]
    assert not any(line.startswith("- ") for line in lines[: versions[0]])
    assert [entry for entry in set(entries) if entries.count(entry) > 1] == []


def test_the_cache_folder_commits_nothing_but_its_readme() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout: an unpacked source distribution has no index to ask")
    done = subprocess.run(["git", "ls-files", "cache"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["cache/.gitignore", "cache/README.md"]


def test_the_lowest_versions_are_told_by_the_line_above_them() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("#   sed ")]
    command = line.removeprefix("#   ").removesuffix(" > lowest.txt")
    told = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    wanted = tomllib.loads(text)["project"]["dependencies"]
    assert told.splitlines() == [bound.replace(">=", "==") for bound in wanted]
