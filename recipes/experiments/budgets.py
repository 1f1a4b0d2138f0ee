"""Pretraining for so many minutes of the processor, so that methods have equal budgets."""

from pathlib import Path
from time import process_time
from typing import Any

import reuse


def pretrain_within(minutes: float, method: str, out: Path, **settings: Any) -> tuple[str, float]:
    """Pretrain for as many epochs as fit into a budget, one at least, and keep the last weights.

    How long an epoch takes is measured on a first training of one epoch, whose time is part of the budget.

    Args:
        minutes: of the processor, all threads together; 0: one epoch.
        method: a name of `reuse pretrain --list`.
        out: the run folder.
        settings: as `reuse.pretrain` takes them.

    Returns:
        The run folder, and the minutes of the processor that were used.
    """
    started = process_time()
    run = reuse.pretrain(method, out=out, early_stopping=False, epochs=1, **settings).run
    taken = process_time() - started
    epochs = int(60 * minutes / taken) - 1
    if epochs > 1:
        longer = out.with_name(f"{out.name}-{epochs}")
        run = reuse.pretrain(method, out=longer, early_stopping=False, epochs=epochs, **settings).run
    return run, (process_time() - started) / 60
