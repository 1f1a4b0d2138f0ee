"""Pretraining for so many minutes of the processor, so that methods have equal budgets."""

import json
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import reuse


def pretrain_within(minutes: float, method: Any, out: Path, **settings: Any) -> tuple[str, float]:
    """Pretrain for as many epochs as fit into a budget, one at least, and keep the last weights.

    What an epoch takes, and what comes before and after all of them, is measured on the first, from which the others
    go on.

    Args:
        minutes: of the processor, all threads together; 0: one epoch.
        method: a name of `reuse pretrain --list`, or an objective.
        out: the run folder.
        settings: as `reuse.pretrain` takes them.

    Returns:
        The run folder, and the minutes of the processor that were used.
    """
    started, clock = process_time(), perf_counter()
    run = reuse.pretrain(method, out=out, early_stopping=False, epochs=1, **settings).run
    taken, waited = process_time() - started, perf_counter() - clock
    epoch = taken * min(1.0, json.loads((Path(run) / "history.jsonl").read_text())["seconds"] / waited)
    more = int((60 * minutes - taken - (taken - epoch)) / epoch)
    if more > 0:
        run = reuse.pretrain(method, resume=run, early_stopping=False, epochs=1 + more).run
    return run, (process_time() - started) / 60


def pretrain_stages_within(minutes: float, method: Any, out: Path, stages: int, **settings: Any) -> tuple[str, float]:
    """Pretrain layer by layer for as many epochs as fit into a budget, one a stage at least.

    A run that is gone on with keeps the epochs of the stages that it has finished, so the epochs of this one are known
    beforehand: a first run, which counts too, shows what one of each stage takes.

    Args:
        minutes: of the processor, all threads together, for both runs; 0: an epoch a stage.
        method: a name of `reuse pretrain --list`, or an objective.
        out: folder of both run folders.
        stages: among which the epochs are divided evenly.
        settings: as `reuse.pretrain` takes them.

    Returns:
        The run folder, and the minutes of the processor that were used.
    """
    started = process_time()
    run = reuse.pretrain(method, out=out / "first", early_stopping=False, epochs=stages, **settings).run
    each = int((60 * minutes / (process_time() - started)) - 1)
    if each > 1:
        run = reuse.pretrain(method, out=out / "run", early_stopping=False, epochs=stages * each, **settings).run
    return run, (process_time() - started) / 60
