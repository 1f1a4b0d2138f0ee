"""A training into a disk of every small size, in a process that may mount one: `python full_disk.py FOLDER`.

Prints, a line of JSON for each size: what the training answered, what it left, and what going on with room came to.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from limited import answer
from reuse.runs import checkpoints

PAGE = 4  # kilobytes, of a file system in memory
SIZES = [  # with the age at which a checkpoint is replaced: after each epoch, or at the end, as results are written
    *((kilobytes, 0.0) for kilobytes in range(PAGE, 96, 2 * PAGE)),
    *((kilobytes, 60.0) for kilobytes in range(14 * PAGE, 20 * PAGE, PAGE)),
]
ROOM = 4096
TRAIN = ["finetune", "base", "--data", "digits", "--labels", "60", "--freeze", "hidden1", "--epochs", "3"]
TRAIN += ["--snapshots", "2", "--watch"]
FILES = ("history.jsonl", "weights.safetensors")


def mount(place: Path, kilobytes: int, *, again: bool = True) -> None:
    options = f"{'remount,' if again else ''}size={kilobytes}k"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True, capture_output=True)


def left(run: Path) -> dict[str, Any]:
    """Return names of all that a run holds, and what training came to, without what clocks say."""
    text = (run / "history.jsonl").read_text().splitlines() if (run / "history.jsonl").exists() else []
    lines = [{name: value for name, value in json.loads(line).items() if name != "seconds"} for line in text]
    weights = run / "weights.safetensors"
    return {
        "names": sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()),
        "history": lines,
        "weights": weights.read_bytes().hex() if weights.exists() else None,
    }


def trained(small: Path, kilobytes: int) -> dict[str, Any]:
    run = small / "run"
    shutil.rmtree(run, ignore_errors=True)
    mount(small, kilobytes)
    first = answer([*TRAIN, "--out", str(run)])
    resumable = (run / "run.json").exists()
    names = left(run)["names"] if first["code"] == 0 else [p.name for p in run.rglob("*")]
    mount(small, ROOM)
    if not resumable:
        shutil.rmtree(run, ignore_errors=True)
    then = answer(["finetune", "--resume", str(run)] if resumable else [*TRAIN, "--out", str(run)])
    return {"kilobytes": kilobytes, "first": first, "names": names, "then": then, "left": left(run)}


def predicted(small: Path) -> dict[str, Any]:
    """Return what `predict` answers that finds no room for all of its predictions, and the names that it leaves."""
    for path in small.glob("*"):
        shutil.rmtree(path)
    mount(small, 8)
    answered = answer(["predict", "whole", "--data", "digits", "--out", str(small / "predictions.csv")])
    return {"first": answered, "names": [path.name for path in small.iterdir()]}


def main(folder: Path) -> None:
    os.chdir(folder)
    small, out = folder / "small", os.fdopen(os.dup(1), "w")
    small.mkdir()
    mount(small, ROOM, again=False)
    for command in (["pretrain", "--model", "mlp:20,10", "--epochs", "1", "--out", "base"], [*TRAIN, "--out", "whole"]):
        made = answer(command)
        assert made["code"] == 0, made["err"]
    print(json.dumps({"whole": left(folder / "whole")}), file=out)
    for kilobytes, checkpoints.CHECKPOINT_SECONDS in SIZES:
        print(json.dumps(trained(small, kilobytes)), file=out)
    print(json.dumps(predicted(small)), file=out)
    out.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
