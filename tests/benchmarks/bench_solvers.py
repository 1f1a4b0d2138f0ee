"""What it costs to solve logistic regression for 13 penalties at once, beside scikit-learn's one after another.

Run: `python tests/benchmarks/bench_solvers.py --threads 1 --clock processor`. Penalties go from 1e-6 to 1; features are
2,000 × 512 as a ResNet-18 has them in its last layer (rectified, their variances falling as a power law, ten classes
that overlap), and the 784 pixels of 2,000 digits of MNIST. Losses are equal to a share of the optimum, 1e-3 and 1e-5:
each side stops at the largest power of ten as its tolerance at which no head's loss exceeds its optimum by more.
scikit-learn's side is the fastest that comes so near of each penalty from zero in float32, and each from the solution
of the next larger one in float32 and in float64; where none does, the nearest. What all came to is printed beside.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from measuring import Block, Line, alternate, print_table
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional

from reuse.data.loading import load
from reuse.heads.logistic import solve_logistic
from reuse.heads.ridge import solve_ridge

ROWS, FEATURES, CLASSES, ROUNDS, TARGET = 2000, 512, 10, 5, 5.0
PENALTIES = np.logspace(-6, 0, 13)
EXCESS = (1e-3, 1e-5)
TOLERANCES = [10.0**-power for power in range(4, 9)]
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}

Clock = Callable[[], float]

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


@dataclass(frozen=True)
class Tried:
    """A solver at a tolerance: seconds of one run, and by what share a loss exceeded its optimum at most."""

    solve: Callable[[], Solved]
    tolerance: float
    seconds: float
    excess: float


def try_out(solve: Callable[[float], Solved], excess: Callable[[Solved], float]) -> list[Tried]:
    """Return the solver at tolerances that fall until it is as near as wanted, or at all of them."""
    tried: list[Tried] = []
    for tolerance in TOLERANCES:
        started = time.process_time()
        solved = solve(tolerance)
        seconds = time.process_time() - started
        tried.append(Tried(partial(solve, tolerance), tolerance, seconds, excess(solved)))
        if tried[-1].excess <= min(EXCESS):
            break
    return tried


def pick(tried: Sequence[Tried], wanted: float) -> Tried:
    """Return the largest tolerance that is as near as wanted, or that which is nearest."""
    near = [one for one in tried if one.excess <= wanted]
    return near[0] if near else min(tried, key=lambda one: one.excess)


def compare(
    what: str, data: tuple[Tensor, Tensor], rounds: int, penalties: Sequence[float], clock: Clock
) -> Iterator[Line]:
    x, y = data
    narrow, wide, labels = x.numpy(), x.double().numpy(), y.numpy()
    best = losses(wide, y, penalties, solve_ours(x.double(), y, penalties, 1e-12))

    def excess(solved: Solved) -> float:
        return float((losses(wide, y, penalties, solved) / best - 1).max())

    solvers = {
        "ours, float32": partial(solve_ours, x, y, penalties),
        "float32, each from zero": lambda tolerance: solve_theirs(narrow, labels, penalties, tolerance, warm=False),
        "float32, each from the last": lambda tolerance: solve_theirs(narrow, labels, penalties, tolerance, warm=True),
        "float64, each from the last": lambda tolerance: solve_theirs(wide, labels, penalties, tolerance, warm=True),
    }
    tried = {name: try_out(solve, excess) for name, solve in solvers.items()}
    for wanted in EXCESS:
        ours, *theirs = (pick(some, wanted) for some in tried.values())
        print(f"\n{what}, equal to {wanted:.0e}: tolerance, greatest excess over the optimum, seconds of one run")
        for name, one in zip(tried, (ours, *theirs), strict=True):
            print(f"  {name}: {one.tolerance:.0e}, {one.excess:.1e}, {one.seconds:.2f}", flush=True)
        near = [one for one in theirs if one.excess <= wanted]
        rival = min(near, key=lambda one: one.seconds) if near else min(theirs, key=lambda one: one.excess)
        times = alternate({"ours": timed(ours.solve, clock), "theirs": timed(rival.solve, clock)}, rounds)
        ratios = [a / b for a, b in zip(times["theirs"], times["ours"], strict=True)]
        remark = f"{len(penalties)} penalties; excess {ours.excess:.0e} and {rival.excess:.0e}"
        yield Line(f"{what}, equal to {wanted:.0e}", TARGET, ratios, remark)


def compare_ridge(x: Tensor, y: Tensor, rounds: int, penalties: Sequence[float], clock: Clock) -> Line:
    from sklearn.linear_model import RidgeClassifier

    signs, wide, labels = 2.0 * functional.one_hot(y, CLASSES) - 1, x.numpy(), y.numpy()

    def theirs() -> None:
        for penalty in penalties:
            RidgeClassifier(alpha=penalty * len(labels)).fit(wide, labels)

    blocks = {"ours": timed(lambda: solve_ridge(x, signs, penalties), clock), "theirs": timed(theirs, clock)}
    times = alternate(blocks, rounds)
    ratios = [a / b for a, b in zip(times["theirs"], times["ours"], strict=True)]
    return Line("ridge, ResNet-18", 1.0, ratios, f"{len(penalties)} penalties; theirs in float32, ours in float64")


def timed(work: Callable[[], object], clock: Clock) -> Block:
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
    with threadpool_limits(arguments.threads):
        lines = [*compare("logistic, ResNet-18", features, rounds, penalties, clock)]
        if not arguments.quick:
            lines += compare("logistic, MNIST", pixels(ROWS), 3, penalties, clock)
        lines.append(compare_ridge(*features, rounds, penalties, clock))
    print_table(f"All penalties at once / scikit-learn's one after another, {arguments.clock} seconds", lines)


if __name__ == "__main__":
    main()
