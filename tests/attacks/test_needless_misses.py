"""What a layer keeps and does not read into its result costs no row: its key is the same in every process."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1]


def keys(program: Path, uses: int, seed: str) -> list[str]:
    """Return the lines of the program in a process of its own, its layers used some times before."""
    path = os.pathsep.join(map(str, (FOLDER, FOLDER.parent)))
    environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path}
    command = [sys.executable, str(program), str(uses)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_twenty_layers_have_one_key_in_three_processes_used_or_not(tmp_path: Path) -> None:
    program = FOLDER / "attacks" / "keeping_models.py"
    elsewhere = tmp_path / "another_name.py"
    shutil.copy(program, elsewhere)
    first, *others = keys(program, 0, "0"), keys(program, 3, "1"), keys(elsewhere, 1, "2")
    assert len(first) == 20
    assert len({line.split()[1] for line in first}) >= 15, "most of them compute something of their own"
    for other in others:
        assert [one for one, again in zip(first, other, strict=True) if one != again] == []
