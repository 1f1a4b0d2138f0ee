"""Changes of frozen layers that caches serve stale: ours, `datasets.map` and `joblib.Memory` on one list of mutations.

Run: `python tests/benchmarks/bench_stale.py [--quick]`. Each mutation of `tests/attacks/mutations.py` is put once into
a network whose activations a tool has cached; then the tool is asked again. It is stale if what it serves is not what
the network computes now. Beside it: whether the same network, built again, is found; and how many of the twenty layers
of `tests/attacks/keeping_models.py`, which only keep something while they are used, are computed again after that.

`datasets.map` takes a function that closes over the network, whose weights and attributes its fingerprint then holds.
`joblib.Memory` cannot hash such a network (lambdas and closures do not pickle), so it gets the weights beside it, as a
caller would do it. Both get a plain function for the traced one, which neither can hash.
"""

import os
import random
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import begin
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from attacks.keeping_models import MODELS
from attacks.keeping_models import build as build_layer
from attacks.mutable_network import NETWORK, build, load_network
from attacks.mutations import MUTATIONS, Mutation
from attacks.test_mutations import read
from reuse.data.loading import load

ROWS = 40
SAME = Mutation("nothing")
TRACED = "torch.jit.trace(lambda x: x * torch.tensor([1.0, 2.0, 3.0, 1.0, 2.0, 3.0]), torch.ones(2, 6))"
PLAIN = "lambda x: x * torch.tensor([1.0, 2.0, 3.0, 1.0, 2.0, 3.0])"

Read = Callable[[nn.Module, np.ndarray], str]
"""Takes a layer and rows; returns `found`, `computed`, `set aside` or `stale`."""


def judged(served: Tensor, layer: nn.Module, rows: np.ndarray, called: list[int]) -> str:
    with torch.no_grad():
        now = layer(torch.from_numpy(rows))
    if not torch.allclose(served, now, rtol=1e-5, atol=1e-6, equal_nan=True):
        return "stale"
    return "computed" if called else "found"


def ours(layer: nn.Module, rows: np.ndarray) -> str:
    return read(layer, load((rows, np.arange(len(rows)) % 4)))


def by_datasets(layer: nn.Module, rows: np.ndarray) -> str:
    import datasets

    datasets.disable_progress_bars()
    folder = Path("data-set")
    if not folder.is_dir():
        datasets.Dataset.from_dict({"x": rows}).save_to_disk(str(folder))
    called.clear()

    def features(batch: dict[str, Any]) -> dict[str, Any]:
        import __main__ as here  # so that the count is not part of the fingerprint

        here.called.append(1)
        with torch.no_grad():
            return {"y": layer(torch.tensor(batch["x"], dtype=torch.float32)).numpy()}

    mapped = datasets.load_from_disk(str(folder)).map(features, batched=True, batch_size=ROWS)
    return judged(torch.tensor(np.array(mapped["y"]), dtype=torch.float32), layer, rows, called)


def by_joblib(layer: nn.Module, rows: np.ndarray) -> str:
    import joblib

    called.clear()
    cached = joblib.Memory("joblib", verbose=0).cache(computed_by_joblib, ignore=["layer"])
    state = {name: tensor.numpy() for name, tensor in layer.state_dict().items()}
    return judged(torch.from_numpy(cached(layer, state, rows)), layer, rows, called)


called: list[int] = []


def computed_by_joblib(layer: nn.Module, state: dict[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
    called.append(1)
    with torch.no_grad():
        return layer(torch.from_numpy(rows)).numpy()


def outcome(tool: Read, mutation: Mutation, place: Path, rows: np.ndarray, plain: bool) -> str:
    """Have a tool cache the network, change that, and ask again, in a folder of its own."""
    with tempfile.TemporaryDirectory(dir=place) as folder, ExitStack() as undo:
        os.chdir(folder)
        undo.callback(os.chdir, place)
        Path("mutable_scale.txt").write_text("0")
        base = mutation.base.replace(TRACED, PLAIN) if plain else mutation.base
        first = tool(build(load_network(place, base))[0], rows)
        assert first == "computed", first
        if mutation is SAME:
            return tool(build(load_network(place, base))[0], rows)
        mutation = replace(mutation, base=base)
        body, draw = build(load_network(place, *mutation.sources(random.Random(0))))[0], random.Random(0)
        if mutation.change is not None:
            mutation.change(body, draw, undo)
        return tool(body, rows)


def needless(tool: Read, kind: type, place: Path, rows: np.ndarray) -> bool:
    """Have a tool cache a layer, and say whether it computes it again after an equal one was used."""
    with tempfile.TemporaryDirectory(dir=place) as folder, ExitStack() as undo:
        os.chdir(folder)
        undo.callback(os.chdir, place)
        tool(build_layer(kind)[0], rows[:, :6])
        used = build_layer(kind)[0]
        for _ in range(3):
            used(torch.from_numpy(rows[:5, :6]))
        return tool(used, rows[:, :6]) != "found"


def main() -> None:
    quick = begin(__doc__ or "")
    warnings.simplefilter("ignore")
    assert TRACED in NETWORK
    rows = np.random.default_rng(0).random((ROWS, 8)).astype(np.float32)
    mutations, layers = (MUTATIONS[::8], MODELS[::8]) if quick else (MUTATIONS, MODELS)
    tools: dict[str, Read] = {"ours": ours, "datasets.map": by_datasets, "joblib.Memory": by_joblib}
    tools = {name: tool for name, tool in tools.items() if name == "ours" or find_spec(name.partition(".")[0])}
    missed: dict[str, list[str]] = {}
    print(f"{'tool':14} {'mutations':>9} {'stale':>6} {'computed anew':>14} {'same again':>11} {'needless misses':>16}")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        os.chdir(place)
        sys.path.insert(0, folder)
        sys.dont_write_bytecode = True
        for name, tool in tools.items():
            some = [m for m in mutations if tool is ours or m.name != "constants of a traced function"]
            found = {m.name: outcome(tool, m, place, rows, plain=tool is not ours) for m in some}
            count, misses = Counter(found.values()), sum(needless(tool, kind, place, rows) for kind in layers)
            anew = count["computed"] + count["set aside"]
            again, of_layers = outcome(tool, SAME, place, rows, plain=tool is not ours), f"{misses} of {len(layers)}"
            print(f"{name:14} {len(some):>9} {count['stale']:>6} {anew:>14} {again:>11} {of_layers:>16}")
            missed[name] = [mutation for mutation, result in found.items() if result == "stale"]
        os.chdir("/")
    for name, stale in missed.items():
        print(f"{name} stale: {', '.join(stale) or 'none'}")


if __name__ == "__main__":
    main()
