"""What a run costs that finds all activations cached: processor seconds of the call, and of the command from the shell.

Run: `python tests/benchmarks/bench_second_run.py`, with names of cases (`photos arrays vit mlp growth`) for some of
them. The photos are made by the benchmark: 2,000 JPEG of 640×480. Every run is a process of its own with one thread:
the call is clocked after its libraries are imported, the command as a whole, by the processor time of the process.
Beside them stands what has to be done, `train` + `cache` of the run itself. The first run of each case is clocked by
the wall. `growth` trains on 1,000, 4,000 and 16,000 small images.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

REPEATS, EPOCHS, ROWS, QUICK_ROWS = 5, 5, 2_000, 60
GROWTH = (1_000, 4_000, 16_000)
CLOCKED = """
import json, sys, time
arguments = json.loads(sys.argv[1])
for name in arguments.pop("imports"):
    __import__(name)
import torch
import reuse
import reuse.finetuning.finetune
torch.set_num_threads(1)
started = time.process_time()
result = reuse.finetune(**arguments)
taken = time.process_time() - started
print(json.dumps({"call": taken, "seconds": result.seconds, "cache": result.cache}))
"""


@dataclass(frozen=True)
class Case:
    """A fine-tuning whose frozen layers are cached.

    Attributes:
        settings: of `reuse.finetune`, but for data.
        imports: packages that it needs, imported before the clock starts.
        factor: `train` + `cache` may be taken so many times,
        more: and so many seconds be added, to meet the target.
    """

    settings: dict[str, object]
    imports: tuple[str, ...]
    factor: float = 1.5
    more: float = 1.0


# What torch's optimizers, the drawing of splits and the cache import on first use, and models of timm.
ALL = ("torch._dynamo", "sklearn.model_selection", "sklearn.datasets", "h5py", "tqdm")
TIMM = (*ALL, "timm", "torchvision")
CASES = {
    "photos": Case({"source": "timm:resnet10t", "freeze": "!fc", "image_size": 128}, TIMM),
    "arrays": Case({"source": "timm:resnet18", "freeze": "!fc"}, TIMM),
    "vit": Case({"source": "timm:vit_tiny_patch16_224", "freeze": "!head"}, TIMM),
    "mlp": Case({"source": "mlp:300,100,50", "freeze": "hidden1,hidden2", "data": "digits"}, ALL, 1.0, 0.3),
}
SMALL = {"source": "convnet:16,32", "freeze": "conv1,conv2"}


def make_photos(folder: Path, rows: int, height: int = 480, width: int = 640) -> Path:
    """Write JPEG photos of ten classes: coloured clouds with a little noise, as long to decode as real ones."""
    rng = np.random.default_rng(0)
    for row in range(rows):
        clouds = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        clouds[:, :, 0] = clouds[:, :, 0] // 2 + 12 * (row % 10)
        picture = np.asarray(Image.fromarray(clouds).resize((width, height), Image.Resampling.BICUBIC), np.int16)
        grain = rng.integers(-12, 13, (height, width, 1), dtype=np.int16)
        path = folder / f"class{row % 10}" / f"{row}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((picture + grain).clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return folder


def make_arrays(path: Path, rows: int) -> Path:
    """Write images of 224×224 with classes as arrays."""
    rng = np.random.default_rng(0)
    np.savez(path, x=rng.integers(0, 256, (rows, 3, 224, 224), dtype=np.uint8), y=np.arange(rows) % 10)
    return path


def clocked(settings: dict[str, object], imports: Sequence[str]) -> dict[str, float]:
    """Return processor seconds of the call in a fresh process, of `train` + `cache`, and of the process as a whole."""
    out = tempfile.mkdtemp(dir=".")
    given = json.dumps({**settings, "out": out + "/run", "imports": list(imports)})
    done = subprocess.run([sys.executable, "-c", CLOCKED, given], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    answer = json.loads(done.stdout.splitlines()[-1])
    seconds = answer["seconds"]
    if answer["cache"] is None or not answer["cache"]["hit"]:
        raise RuntimeError(f"not all was cached: {answer['cache']}")
    return {"call": answer["call"], "needed": seconds["train"] + seconds["cache"], **seconds}


def command(settings: dict[str, object]) -> tuple[float, float]:
    """Return the wall and processor seconds of the command from the shell, imports and all."""
    out = tempfile.mkdtemp(dir=".")
    flags = {name: value for name, value in settings.items() if name != "source"}
    options = [f"--{name.replace('_', '-')}" + ("" if value is True else f"={value}") for name, value in flags.items()]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    line = [
        sys.executable,
        "-m",
        "reuse",
        "finetune",
        str(settings["source"]),
        *options,
        "--out",
        out + "/run",
        "--json",
    ]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(name: str, case: Case, data: str, repeats: int) -> None:
    """Run a case once with an empty cache and then again and again, and print its lines."""
    settings = {"random_weights": True, "epochs": EPOCHS, "device": "cpu", "data": data, **case.settings}
    settings["cache_dir"] = f"cache-{name}"
    first, _ = command(settings)
    runs = [clocked(settings, case.imports) for _ in range(repeats)]
    commands = [command(settings) for _ in range(repeats)]
    call, needed = (statistics.median(run[part] for run in runs) for part in ("call", "needed"))
    wall, shell = (statistics.median(values) for values in zip(*commands, strict=True))
    target = case.factor * needed + case.more
    parts = {
        part: statistics.median(run[part] for run in runs) for part in ("load", "digest", "prepare", "cache", "train")
    }
    listed = ", ".join(f"{part} {value:.2f}" for part, value in parts.items())
    met = "yes" if call <= target else "NO"
    print(
        f"{name:8} {call:7.2f} {needed:7.2f} {target:7.2f} {met:4} {shell:7.2f} {wall:7.2f} {first:7.2f}   {listed}",
        flush=True,
    )


def measure_growth(sizes: Sequence[int]) -> None:
    """Print what the first and the second run take for growing numbers of small images, each a command."""
    print("the command from the shell: processor seconds, milliseconds of them for each row beyond the smallest, wall")
    print(f"{'images':>8} {'first':>8} {'a row':>8} {'wall':>8} {'second':>8} {'a row':>8} {'wall':>8}")
    smallest: tuple[int, float, float] | None = None
    for rows in sizes:
        data = make_photos(Path(f"small-{rows}"), rows, 48, 48)
        settings = {"random_weights": True, "epochs": EPOCHS, "device": "cpu", "data": str(data), **SMALL}
        settings["cache_dir"] = f"cache-small-{rows}"
        (first_wall, first), (wall, again) = command(settings), command(settings)
        smallest = smallest or (rows, first, again)
        more = max(rows - smallest[0], 1)
        grown, grown_again = (1000 * (now - then) / more for now, then in ((first, smallest[1]), (again, smallest[2])))
        print(
            f"{rows:8} {first:8.2f} {grown:8.3f} {first_wall:8.2f} {again:8.2f} {grown_again:8.3f} {wall:8.2f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="*", help=f"{', '.join(CASES)}, growth; all but growth by default")
    parser.add_argument("--quick", action="store_true", help="a few rows: shows that it runs")
    parser.add_argument("--sizes", type=int, nargs="*", help="numbers of images for growth")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--folder", help="keep photos and caches here; by default they are made anew and removed")
    arguments = parser.parse_args()
    rows, repeats = (QUICK_ROWS, 1) if arguments.quick else (ROWS, arguments.repeats)
    here = str(Path(__file__).parents[2])
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])}
    with tempfile.TemporaryDirectory() as own:
        folder = Path(arguments.folder or own).absolute()
        folder.mkdir(exist_ok=True)
        os.chdir(folder)
        chosen = arguments.cases or list(CASES)
        if "photos" in chosen and not Path("photos").exists():
            make_photos(Path("photos"), rows)
        if {"arrays", "vit"} & set(chosen) and not Path("arrays.npz").exists():
            make_arrays(Path("arrays.npz"), rows)
        print("processor seconds, medians, one thread, CPU; target: that of the call")
        print(
            f"{'case':8} {'call':>7} {'needed':>7} {'target':>7} {'met':4} {'command':>7} {'wall':>7} {'1st run':>7}"
            "   of the call"
        )
        data = {"photos": "photos", "arrays": "arrays.npz", "vit": "arrays.npz", "mlp": "digits"}
        for name in chosen:
            if name == "growth":
                measure_growth([100, 200] if arguments.quick else arguments.sizes or GROWTH)
            else:
                measure(name, CASES[name], data[name], repeats)


if __name__ == "__main__":
    main()
