"""What it costs to solve logistic regression for 13 penalties at once, beside scikit-learn's one after another.

Run: `python tests/benchmarks/bench_solvers.py --threads 1`. Penalties go from 1e-6 to 1; features are 2,000 × 512 as a
ResNet-18 has them in its last layer (rectified, their variances falling as a power law, ten classes that overlap), and
the 784 pixels of 2,000 digits of MNIST. scikit-learn's side is, in each round, the faster of two: each penalty from
zero, and each from the solution of the next larger one; in float64, in which alone it comes as near. Both sides stop at
tolerances tried out before: the largest power of ten at which no head's loss exceeds the optimum by more than 1e-5 of
it; where none of the tolerances does that, the one that comes nearest. What each came to is printed beside.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from measuring import Block, Line, alternate, print_table
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional

from reuse.data.loading import load
from reuse.solving.logistic import solve_logistic
from reuse.solving.ridge import solve_ridge

ROWS, FEATURES, CLASSES, ROUNDS, TARGET = 2000, 512, 10, 5, 5.0
PENALTIES = np.logspace(-6, 0, 13)
EXCESS = 1e-5
OURS, THEIRS = (1e-5, 1e-6, 1e-7, 1e-8), (1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}

Solved = list[tuple[np.ndarray, np.ndarray]]
"""Weights and biases for each penalty."""


def rectified(rows: int) -> tuple[Tensor, Tensor]:
    labels, scale = torch.arange(rows) % CLASSES, torch.arange(1, FEATURES + 1) ** -0.5
    turn = torch.linalg.qr(torch.randn(FEATURES, FEATURES))[0]
    flow = ((0.4 * torch.randn(CLASSES, FEATURES))[labels] + torch.randn(rows, FEATURES)) * scale @ turn
    return (flow / flow.std() + 0.5).relu(), labels


def pixels(rows: int) -> tuple[Tensor, Tensor]:
    split = load("mnist").train
    assert split.targets is not None
    return split.inputs.gather(torch.arange(rows))[0].flatten(1).float(), split.targets[:rows]


def solve_ours(x: Tensor, y: Tensor, penalties: Sequence[float], tolerance: float) -> Solved:
    heads = solve_logistic(x, y, penalties, tolerance=tolerance, max_iterations=10_000)
    return [(w.double().numpy(), b.double().numpy()) for w, b in zip(heads.weight[0], heads.bias[0], strict=True)]


def solve_theirs(x: np.ndarray, y: np.ndarray, penalties: Sequence[float], tolerance: float, warm: bool) -> Solved:
    model = LogisticRegression(tol=tolerance, max_iter=100_000, warm_start=warm)
    found = []
    for penalty in reversed(penalties):
        model.set_params(C=1 / (penalty * len(y))).fit(x, y)
        found.append((model.coef_.copy(), model.intercept_.copy()))
    return found[::-1]


def losses(x: np.ndarray, y: Tensor, penalties: Sequence[float], solved: Solved) -> np.ndarray:
    """Return what is minimised, in float64."""
    found = [float(functional.cross_entropy(torch.from_numpy(x @ w.T + b), y)) for w, b in solved]
    return np.array([f + p / 2 * (w**2).sum() for f, p, (w, _) in zip(found, penalties, solved, strict=True)])


def choose(
    solve: Callable[[float], Solved], tolerances: Sequence[float], excess: Callable[[Solved], float]
) -> tuple[float, float]:
    """Return the largest tolerance whose heads are as near as wanted, or the best, and what they exceed it by."""
    tried = {}
    for tolerance in tolerances:
        tried[tolerance] = excess(solve(tolerance))
        if tried[tolerance] <= EXCESS:
            return tolerance, tried[tolerance]
    return min(tried.items(), key=lambda one: one[1])


def compare(
    what: str, x: Tensor, y: Tensor, rounds: int, penalties: Sequence[float], clock: Callable[[], float]
) -> Line:
    wide, labels = x.double().numpy(), y.numpy()
    best = losses(wide, y, penalties, solve_ours(x.double(), y, penalties, 1e-13))

    def excess(solved: Solved) -> float:
        return float((losses(wide, y, penalties, solved) / best - 1).max())

    sides: dict[str, Callable[[float], Solved]] = {
        "ours": partial(solve_ours, x, y, penalties),
        "cold": lambda tolerance: solve_theirs(wide, labels, penalties, tolerance, warm=False),
        "warm": lambda tolerance: solve_theirs(wide, labels, penalties, tolerance, warm=True),
    }
    chosen = {name: choose(solve, OURS if name == "ours" else THEIRS, excess) for name, solve in sides.items()}
    times = alternate({name: timed(partial(s, chosen[name][0]), clock) for name, s in sides.items()}, rounds)
    theirs = [min(pair) for pair in zip(times["cold"], times["warm"], strict=True)]
    print(f"\n{what}: tolerance, greatest excess over the optimum, seconds")
    for name, (tolerance, over) in chosen.items():
        print(f"  {name}: {tolerance:.0e}, {over:.0e}, {sorted(times[name])[rounds // 2]:.2f}")
    ratios = [a / b for a, b in zip(theirs, times["ours"], strict=True)]
    return Line(what, TARGET, ratios, f"{len(penalties)} penalties, losses {best.min():.1e} to {best.max():.1e}")


def compare_ridge(x: Tensor, y: Tensor, rounds: int, penalties: Sequence[float], clock: Callable[[], float]) -> Line:
    from sklearn.linear_model import RidgeClassifier

    signs, wide, labels = 2.0 * functional.one_hot(y, CLASSES) - 1, x.numpy(), y.numpy()

    def theirs() -> None:
        for penalty in penalties:
            RidgeClassifier(alpha=penalty * len(labels)).fit(wide, labels)

    blocks = {"ours": timed(lambda: solve_ridge(x, signs, penalties), clock), "theirs": timed(theirs, clock)}
    times = alternate(blocks, rounds)
    ratios = [a / b for a, b in zip(times["theirs"], times["ours"], strict=True)]
    return Line("ridge, ResNet-18", 1.0, ratios, f"{len(penalties)} penalties; theirs in float32, ours in float64")


def timed(work: Callable[[], object], clock: Callable[[], float]) -> Block:
    def measure() -> float:
        started = clock()
        work()
        return clock() - started

    return measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__ and __doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few seconds on little data: shows that it runs")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default 2)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="processor: seconds computed")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    warnings.simplefilter("ignore", ConvergenceWarning)  # how near each side came is printed
    clock, rounds = CLOCKS[arguments.clock], 3 if arguments.quick else ROUNDS
    penalties = [1e-3, 1e-1] if arguments.quick else PENALTIES.tolist()
    features = rectified(200 if arguments.quick else ROWS)
    lines = [compare("logistic, ResNet-18", *features, rounds, penalties, clock)]
    if not arguments.quick:
        lines.append(compare("logistic, MNIST", *pixels(ROWS), rounds, penalties, clock))
    lines.append(compare_ridge(*features, rounds, penalties, clock))
    print_table(f"All penalties at once / scikit-learn's one after another, {arguments.clock} seconds", lines)


if __name__ == "__main__":
    main()
