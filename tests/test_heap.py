"""Freed memory is kept inside a block and given back at its end: by the pages that the system hands out."""

import os
import subprocess
import sys
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from reuse import heap
from reuse.heap import AS_BEFORE, KEPT, MAPPED, TRIM, keep_freed_memory

MEASURING = """
import resource, sys
from pathlib import Path
import torch
from reuse.heap import keep_freed_memory

def computed():
    blocks = [torch.empty(10 * 2**20) for _ in range(3)]  # 40 MB each, which the library maps by themselves
    for block in blocks:
        block.fill_(1.0)

def pages_of_a_step():
    counts = []
    for _ in range(8):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        computed()
        counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return min(counts)  # once blocks have found their places

def resident():
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])

computed()
print(pages_of_a_step(), resident())
with keep_freed_memory():
    print(pages_of_a_step(), resident())
print(0, resident())
"""
PAGES, SIZE = 30_720, 120 * 2**20  # of a step


@pytest.mark.skipif(heap._gnu_library() is None, reason="the C library is not GNU's")
def test_steps_take_no_pages_anew_inside_a_block_and_all_is_given_back_after_it() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", MEASURING]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    (taken, size), (taken_inside, size_inside), (_, size_after) = (
        map(int, line.split()) for line in done.stdout.splitlines()
    )
    assert taken > 0.9 * PAGES, "or the test says nothing"
    assert taken_inside < 0.05 * PAGES
    assert size_inside > size + 0.9 * SIZE
    assert size_after < size + 0.1 * SIZE


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is said to the C library."""
    said: list[Any] = []
    library = SimpleNamespace(mallopt=lambda *given: [said.append(given)], malloc_trim=lambda _: said.append("trim"))
    monkeypatch.setattr(heap, "_gnu_library", lambda: library)
    for name in ("MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    return said


BEGIN, END = [*KEPT.items()], [*AS_BEFORE.items(), "trim"]


def test_the_last_block_to_end_gives_it_back(calls: list[Any]) -> None:
    def other() -> None:
        with keep_freed_memory():
            pass

    with keep_freed_memory():
        thread = Thread(target=other)
        thread.start()
        thread.join()
        assert calls == BEGIN
    assert calls == [*BEGIN, *END]


def test_an_older_library_is_told_the_most_that_it_takes(calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    library = heap._gnu_library()
    monkeypatch.setattr(library, "mallopt", lambda name, size: calls.append((name, size)) or size != KEPT[MAPPED])
    with keep_freed_memory():
        pass
    assert calls[:3] == [(MAPPED, 2**30), (MAPPED, 2**25), (TRIM, KEPT[TRIM])]


def test_an_error_ends_a_block_too(calls: list[Any]) -> None:
    with pytest.raises(ZeroDivisionError), keep_freed_memory():
        1 / 0  # noqa: B018
    assert calls == [*BEGIN, *END]


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"])
def test_what_the_environment_says_is_left_alone(name: str, calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    with keep_freed_memory():
        pass
    assert not calls


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "_gnu_library", lambda: None)
    with keep_freed_memory():
        pass
    heap.give_back_freed_memory()
