"""What an interrupted process has computed counts as soon as rows are looked for, and is said to be there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import reuse
from reuse.caching.building import BUILDING, JOURNAL
from reuse.caching.locking import alone
from reuse.caching.taking_up import take_up
from reuse.features import filling
from reuse.reporting import Reporter
from reuse.runs import fitting

SMALL: dict[str, Any] = {"compute_rows": 2, "block_bytes": 200}


class Interrupted(Exception):
    pass


def interrupt(rows: Any, cache: Any, after: int) -> None:
    def compute(positions: np.ndarray) -> tuple[torch.Tensor, ...]:
        if len(rows.computed) >= after:
            raise Interrupted
        return rows.compute(positions)

    with pytest.raises(Interrupted):
        cache.fill(rows.keys, compute, **SMALL)
    assert (cache.path / BUILDING / JOURNAL).is_file()


def test_finished_blocks_are_published_once_and_served(rows: Any, open_cache: Any) -> None:
    data, cache = rows(40), open_cache()
    interrupt(data, cache, 20)
    assert len(data.present(open_cache())) == 0
    saved = take_up(cache.path)
    assert 16 <= saved <= 20
    assert len(data.present(open_cache())) == saved
    data.assert_served(open_cache(), data.present(cache))
    assert take_up(cache.path) == 0
    assert open_cache().fill(data.keys, data.compute, **SMALL).computed == 40 - saved


def test_what_somebody_writes_now_or_nobody_may_is_left(rows: Any, open_cache: Any, tmp_path: Path) -> None:
    data, cache = rows(40), open_cache()
    assert take_up(cache.path) == 0
    interrupt(data, cache, 20)
    with alone(cache.path) as is_free:
        assert is_free
        assert take_up(cache.path) == 0
    other = tmp_path / "link"
    other.symlink_to(cache.path)
    assert take_up(other) == 0
    cache.quarantine("a test")
    assert take_up(cache.path) == 0


class Lines(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def test_a_run_that_goes_on_says_how_many_rows_are_there() -> None:
    run_frozen, calls = filling.run_frozen, []

    def interrupted(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) > 8:
            raise KeyboardInterrupt
        return run_frozen(*arguments, **named)

    settings: dict[str, Any] = {"data": "digits", "freeze": "hidden1", "epochs": 1, "cache_kind": "disk"}
    source = reuse.pretrain(data="digits", model="mlp:8,4", epochs=1).run
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(filling, "run_frozen", interrupted)
        patched.setattr(filling, "block_bytes", lambda plan, stored: 64 * 48)
        with pytest.raises(fitting.Interrupted):
            reuse.finetune(source, **settings)
    heard = Lines()
    reuse.finetune(source, reporter=heard, **settings)
    [line] = [line for line in heard.lines if line.startswith("frontier")]
    assert "none cached yet" not in line
    assert "not cached yet" in line
