"""What an epoch costs beside a loop written by hand and beside other toolkits: the dense network of the experiments.

Run: `python tests/benchmarks/bench_epoch.py --threads 1`, in an environment with the extra `bench` for the other
toolkits. The sides take turns with epochs of 54,000 rows in batches of 32, each with a validation on 6,000 rows; ours
writes checkpoints too, the others none. Every side is a process of its own that waits while others train.
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from measuring import Line, alternate, median_interval, print_table

ROUNDS, HAND = 15, "by hand"
# Name of a side: the function, the module under `peers`, and the packages that it needs beside this project's.
SIDES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    HAND: ("eager", "by_hand", ()),
    "by hand, compiled": ("compiled", "by_hand", ()),
    "ours": ("plain", "ours", ()),
    "ours, compiled": ("compiled", "ours", ()),
    "ours, batch norm": ("normed", "ours", ()),
    "by hand, Adam": ("eager_adam", "by_hand", ()),
    "ours, Adam": ("adam", "ours", ()),
    "ours, Adam, compiled": ("compiled_adam", "ours", ()),
    "DataLoader loop": ("train", "data_loader", ()),
    "scikit-learn": ("train", "scikit_learn", ()),
    "skorch": ("train", "skorch_net", ("skorch",)),
    "Lightning": ("train", "lightning_module", ("lightning",)),
    "Keras, TensorFlow, step by step": ("on_tensorflow_by_step", "keras_net", ("keras", "tensorflow")),
    "Keras, TensorFlow": ("on_tensorflow", "keras_net", ("keras", "tensorflow")),
    "Keras, torch": ("on_torch", "keras_net", ("keras",)),
    "fastai": ("train", "fastai_learner", ("fastai",)),
}
PEERS = tuple(SIDES)[8:]
# How many times as fast the second is to be as the first: (side, other): ratio.
TARGETS = {
    (HAND, "ours"): 0.95,
    (HAND, "ours, compiled"): 1.4,
    ("by hand, compiled", "ours, compiled"): 0.95,
    ("ours, batch norm", "ours"): 0.0,
    ("by hand, Adam", "ours, Adam"): 0.95,
    ("ours, Adam", "ours, Adam, compiled"): 1.0,
    **{(peer, "ours"): 1.0 for peer in PEERS},
    **{(peer, "ours, compiled"): 1.0 for peer in PEERS},
    ("Lightning", "ours, compiled"): 2.0,
    ("Keras, TensorFlow, step by step", "ours, compiled"): 3.0,
    ("Keras, TensorFlow", "ours, compiled"): 3.0,
}


@dataclass(frozen=True)
class Side:
    """A side in a process of its own, which says when it is ready and then trains an epoch whenever it is told to."""

    name: str
    process: subprocess.Popen[str]

    def answer(self) -> str:
        """Wait for the side's next line and return it."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"{self.name} has ended with {self.process.wait()}: what it said stands above")
        return line

    def epoch(self) -> float:
        """Let the side train an epoch and return its seconds."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.answer())


def start(name: str, how: Sequence[str], stack: ExitStack) -> Side:
    """Start a side; it is not ready yet.

    Args:
        name: of the side.
        how: the part of the rows, threads and clock, as `peers.turns` takes them.
        stack: ends the side.
    """
    folder, (function, module, _) = Path(__file__).parent, SIDES[name]
    paths = (str(folder), str(folder.parents[1]), os.environ.get("PYTHONPATH", ""))
    process = subprocess.Popen(
        [sys.executable, "-m", "peers.turns", function, module, *how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": how[1], "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )
    stack.enter_context(process)  # its end closes the side's input, which ends the side
    return Side(name, process)


def installed(names: Sequence[str]) -> list[str]:
    """Return the sides that can run here, and say which are left out."""
    able = []
    for name in names:
        missing = [package for package in SIDES[name][2] if find_spec(package) is None]
        if missing:
            print(f"{name}: left out, {', '.join(missing)} not installed (extra `bench`)")
        else:
            able.append(name)
    return able


def compare(times: Mapping[str, Sequence[float]]) -> list[Line]:
    """Return the lines of the table for what was measured."""
    lines = []
    for (other, ours), target in TARGETS.items():
        if other in times and ours in times:
            ratios = [theirs / own for theirs, own in zip(times[other], times[ours], strict=True)]
            lines.append(Line(f"{ours} / {other}", target, ratios))
    return lines


def print_seconds(times: Mapping[str, Sequence[float]]) -> None:
    """Print what an epoch takes on every side, and as a multiple of the loop by hand."""
    print("\nseconds an epoch: median, 95 % interval, and beside the loop by hand of the same round")
    for name, values in times.items():
        low, high = median_interval(values)
        beside = statistics.median([own / hand for own, hand in zip(values, times[HAND], strict=True)])
        print(f"{name:24} {statistics.median(values):7.3f}  {low:7.3f} – {high:<7.3f} × {beside:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few seconds on few rows: shows that it runs")
    parser.add_argument("--threads", type=int, default=1, help="threads of every side (default 1)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"epochs of each side (default {ROUNDS})")
    parser.add_argument("--part", type=int, default=1, help="train on a part: 5 takes a fifth of the rows (default 1)")
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall", help="processor: seconds computed")
    parser.add_argument("--sides", default="", help=f"only these, with ; between them: {'; '.join(SIDES)}")
    arguments = parser.parse_args()
    part, rounds = (100, 3) if arguments.quick else (arguments.part, arguments.rounds)
    quick = [HAND, "ours", "ours, batch norm", *PEERS] if arguments.quick else list(SIDES)
    names = [name.strip() for name in arguments.sides.split(";")] if arguments.sides else quick
    with ExitStack() as stack:
        how = (str(part), str(arguments.threads), arguments.clock)
        sides = [start(name, how, stack) for name in installed(names)]  # they load side by side
        for side in sides:
            side.answer()
        times = alternate({side.name: side.epoch for side in sides}, rounds)
    print_seconds(times)
    print_table(f"An epoch of {54_000 // part} rows in batches of 32, {arguments.clock} seconds", compare(times))


if __name__ == "__main__":
    main()
