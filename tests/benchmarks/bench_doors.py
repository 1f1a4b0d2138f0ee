"""The matrix of changes between two trainings: each way to a training loop, `datasets.map` and `joblib.Memory`.

Run: `python tests/benchmarks/bench_doors.py [--quick]`. A tiny network over a folder of pictures is asked for features,
something changes (`tests/attacks/asked_network.py`), and it is asked again: by every way in which cached features reach
a loop (`tests/attacks/front_doors.py`), and by two caches of functions. Printed is `right`, `stale` (what is served is
not what the frozen layers compute now) or `needless` (right, and rows were computed that were there).

Both others are called as their users call them. `datasets.map` gets a data set of paths and a function that closes over
the network and the pictures' settings, and opens the files. `joblib.Memory` gets a function of one path, the settings
and the weights by name, with the network beside it, which it is told to ignore: it would hash it by pickling, which
knows classes by name. It is called row by row, the kindest way: by batch each other order or split would miss.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import begin
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from attacks.asked_network import CHANGES, PROCESS, Asked, ask, lay_out, read_picture
from attacks.front_doors import DOORS, Served, judged

AGAIN = "--again"
SCRIPT = Path(__file__).parents[1] / "attacks" / "front_doors.py"
called: list[int] = []


def by_datasets(asked: Asked, cache: Path) -> Served:
    import datasets

    datasets.disable_progress_bars()
    datasets.config.HF_DATASETS_CACHE = cache
    pictures = asked.pictures
    network, scale, dtype = asked.network.eval(), pictures.scale, pictures.dtype

    def features(batch: dict[str, Any]) -> dict[str, Any]:
        import bench_doors as here  # so that the count is not part of the fingerprint

        here.called.append(len(batch["path"]))
        rows = torch.stack([read_picture(Path(path), scale, dtype) for path in batch["path"]])
        with torch.no_grad():
            return {"y": network.body(rows).double().numpy()}

    paths = [str(path) for path in pictures.paths]
    kept = cache / "data" / str(zlib.crc32("".join(paths).encode()))  # as whoever made it would have kept it
    if not kept.is_dir():
        datasets.Dataset.from_dict({"path": paths}).save_to_disk(str(kept))
    count().clear()
    mapped = datasets.load_from_disk(str(kept)).map(features, batched=True, batch_size=len(paths))
    return Served(torch.tensor(np.array(mapped["y"])), sum(count()))


def by_joblib(asked: Asked, cache: Path) -> Served:
    import joblib

    pictures, count_of = asked.pictures, count()
    network = asked.network.eval()
    memory = joblib.Memory(cache, verbose=0)
    cached = memory.cache(here().feature_of_path, ignore=["network"])
    count_of.clear()
    state = {name: tensor.numpy() for name, tensor in network.body.state_dict().items()}
    rows = [cached(network, state, str(path), pictures.scale, str(pictures.dtype)) for path in pictures.paths]
    return Served(torch.from_numpy(np.stack(rows)), sum(count_of))


def feature_of_path(network: Any, state: dict[str, np.ndarray], path: str, scale: float, dtype: str) -> np.ndarray:
    called.append(1)
    kind: torch.dtype = getattr(torch, dtype.removeprefix("torch."))
    with torch.no_grad():
        computed: Tensor = network.body(read_picture(Path(path), scale, kind).unsqueeze(0))
    row: np.ndarray = computed[0].numpy()
    return row


def here() -> Any:
    """Return this module under its own name, also where it is the one that runs."""
    return importlib.import_module("bench_doors")


def count() -> list[int]:
    found: list[int] = here().called
    return found


OTHERS = {"datasets.map": by_datasets, "joblib.Memory": by_joblib}


def of_others(folder: Path, tools: list[str], again: bool) -> dict[str, dict[str, str]]:
    """Return what the two others answer, by tool and change."""
    found: dict[str, dict[str, str]] = {}
    for name, tool in ((name, OTHERS[name]) for name in tools):
        cache = folder.parent / f"cache of {name}"
        found[name] = {}
        if not again:
            first = ask(folder)
            assert judged(tool(first, cache), first, len(first.pictures)) == "right"
        for change in ["nothing"] if again else CHANGES:
            with ExitStack() as undo:
                make, needed = CHANGES[change]
                asked = make(ask(folder), folder, undo)
                found[name][PROCESS if again else change] = judged(tool(asked, cache), asked, needed)
    return found


def of_doors(folder: Path, doors: list[str], *options: str) -> dict[str, dict[str, str]]:
    command = [sys.executable, str(SCRIPT), str(folder), *doors, *options]
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, dict[str, str]] = {}
    for line in done.stdout.splitlines():
        if line.startswith("["):
            door, change, outcome = json.loads(line)
            found.setdefault(door, {})[change] = outcome
    return found


def main() -> None:
    if AGAIN in sys.argv:
        place, *others = sys.argv[sys.argv.index(AGAIN) + 1 :]
        print(json.dumps(of_others(Path(place), others, again=True)))
        return
    quick = begin(__doc__ or "")
    sys.dont_write_bytecode = True
    doors, others = (["plain loop"], ["joblib.Memory"]) if quick else (list(DOORS), list(OTHERS))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "place"
        lay_out(folder)
        found = of_doors(folder, doors)
        for door, answers in of_doors(folder, doors, AGAIN).items():
            found[door] |= answers
        found |= of_others(folder, others, again=False)
        other = subprocess.run(
            [sys.executable, __file__, AGAIN, str(folder), *others], capture_output=True, text=True, check=True
        ).stdout
        for tool, answers in json.loads(other.splitlines()[-1]).items():
            found[tool] |= answers
    tools = [*doors, *others]
    print(f"| change | {' | '.join(tools)} |\n|{'---|' * (1 + len(tools))}")
    for change in (*CHANGES, PROCESS):
        print(f"| {change} | {' | '.join(found[tool][change] for tool in tools)} |")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
