"""One side of `bench_epoch` in a process of its own: it trains an epoch each time it is told to, and waits in between.

Processes keep the sides apart: one framework's threads, memory and settings cannot slow another, and Keras can run on
two backends. A waiting side takes no processor time. It reads a line for each epoch and answers with the seconds: those
that passed, or those of the processor that it used, which a machine shared with others bends much less.
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
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


def main() -> None:
    """Train the side of a module on one part-th of the rows: the arguments that follow say which and how."""
    side, module, part, threads, clock = sys.argv[1:6]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a framework prints is no answer
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    train: Train = getattr(importlib.import_module(f"peers.{module}"), side)
    rows = load_rows(int(part))
    _answer(answers, "ready")
    train(rows, _turns(answers, CLOCKS[clock]))


def _turns(answers: TextIO, seconds: Callable[[], float]) -> Ended:
    _wait()
    started = seconds()

    def ended() -> None:
        nonlocal started
        _answer(answers, repr(seconds() - started))
        _wait()
        started = seconds()

    return ended


def _answer(answers: TextIO, line: str) -> None:
    answers.write(f"{line}\n")
    answers.flush()


def _wait() -> None:
    if not sys.stdin.readline():
        os._exit(0)  # the benchmark is over; nothing of a framework's has to be wound up


if __name__ == "__main__":
    main()
