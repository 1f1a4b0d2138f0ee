"""One side of `bench_epoch` in a process of its own: it trains an epoch each time it is told to, and waits in between.

Processes keep the sides apart: one framework's threads, memory and settings cannot slow another, and Keras can run on
two backends. A waiting side takes no processor time. It reads a line for each epoch and answers with the seconds.
"""

import importlib
import os
import sys
import time
from collections.abc import Callable
from typing import TextIO

import torch

from peers.rows import Ended, Rows, load_rows

Train = Callable[[Rows, Ended], None]


def main() -> None:
    """Train side `sys.argv[1]` of the module `sys.argv[2]` on one `sys.argv[3]`-th of the rows, on so many threads."""
    side, module, part, threads = sys.argv[1:5]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a framework prints is no answer
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    train: Train = getattr(importlib.import_module(f"peers.{module}"), side)
    rows = load_rows(int(part))
    _answer(answers, "ready")
    train(rows, _turns(answers))


def _turns(answers: TextIO) -> Ended:
    _wait()
    started = time.perf_counter()

    def ended() -> None:
        nonlocal started
        _answer(answers, repr(time.perf_counter() - started))
        _wait()
        started = time.perf_counter()

    return ended


def _answer(answers: TextIO, line: str) -> None:
    answers.write(f"{line}\n")
    answers.flush()


def _wait() -> None:
    if not sys.stdin.readline():
        os._exit(0)  # the benchmark is over; nothing of a framework's has to be wound up


if __name__ == "__main__":
    main()
