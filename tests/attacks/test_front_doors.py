"""Whatever changes between two trainings, each way to a training loop serves what the layers compute now, and no less.

Another process asks through two of the ways, and through all where `REUSE_ATTACKS` is set.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from attacks.asked_network import CHANGES, PROCESS, lay_out

SCRIPT = Path(__file__).with_name("front_doors.py")
TOOLKITS = {
    "plain loop": "torch",
    "skorch": "skorch",
    "Lightning": "lightning",
    "transformers": "transformers",
    "Keras": "keras",
}
OF_KERAS = ("built again", "used", "a setting", "an attribute", "an operation", "a way", "a weight")
ELSEWHERE = [*TOOLKITS] if "REUSE_ATTACKS" in os.environ else ["plain loop", "Keras"]

Outcomes = dict[tuple[str, str], str]

pytestmark = pytest.mark.slow


def told(folder: Path, doors: list[str], *options: str, seed: str) -> Outcomes:
    environment = {**os.environ, "KERAS_BACKEND": "torch", "PYTHONHASHSEED": seed}
    command = [sys.executable, str(SCRIPT), str(folder), *doors, *options]
    place = folder if not options else folder.parent
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    return {(door, change): outcome for door, change, outcome in answers}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """How each way served what was asked for after each change."""
    folder = tmp_path_factory.mktemp("doors") / "place"
    lay_out(folder)
    doors = [door for door, toolkit in TOOLKITS.items() if find_spec(toolkit)]
    first = told(folder, doors, seed="1")
    return {**first, **told(folder, [door for door in doors if door in ELSEWHERE], "--again", seed="2")}


@pytest.mark.parametrize("change", [*CHANGES, PROCESS])
@pytest.mark.parametrize("door", TOOLKITS)
def test_nothing_is_stale_and_nothing_computed_needlessly(found: Outcomes, door: str, change: str) -> None:
    if find_spec(TOOLKITS[door]) is None:
        pytest.skip(f"{TOOLKITS[door]} is not installed")
    if change == PROCESS and door not in ELSEWHERE:
        pytest.skip("asked by two ways: set REUSE_ATTACKS for all")
    assert found[door, change] == "right"


@pytest.mark.parametrize("change", OF_KERAS)
def test_a_model_of_keras_is_known_again_and_another_is_not(found: Outcomes, change: str) -> None:
    if find_spec("keras") is None:
        pytest.skip("keras is not installed")
    assert found["Keras, its own model", change] == "right"
