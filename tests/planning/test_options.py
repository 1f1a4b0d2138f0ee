"""Options against sums done by hand, and the choice among them by its properties."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reuse.planning.measuring import Bandwidths
from reuse.planning.options import (
    BUILD_SECONDS,
    EPOCH_SECONDS,
    LOADING,
    Candidate,
    Option,
    Run,
    Work,
    choose,
    with_caches,
    without_cache,
)
from reuse.planning.plan import LEGEND, PlanConstraints, make_plan, plan_table

ROWS = {"train": 80, "valid": 10, "test": 10}
WORK = Work(frozen=0.1, suffix=0.01, whole=0.12, measured=0.005)
RUN = Run(ROWS, epochs=20, views=1, memory=10**9, budget=None)
SPEEDS = Bandwidths(writing=1e4, reading=2e4, gathering=1e6)


def deepest(**changes: Any) -> Candidate:
    settings: dict[str, Any] = {"behind": (), "frozen": 0.1, "bytes": {"float32": 100, "float16": 50}, "missing": 100}
    settings |= {"to_compute": 10.0} | changes
    return Candidate(**settings)


def wanted(dtype: str | None = None, kind: str | None = None) -> PlanConstraints:
    return PlanConstraints(dtype, kind, Path())


def test_without_a_cache_every_epoch_computes_everything() -> None:
    found = without_cache(WORK, RUN)
    epoch = 80 * 0.12 + 10 * (0.005 + 0.1) + EPOCH_SECONDS
    assert found.first == found.later == pytest.approx(20 * epoch + 100 * (0.1 + 0.005))


def test_a_cache_on_disk_computes_writes_and_reads_once() -> None:
    option = with_caches(deepest(), WORK, RUN, SPEEDS)[0]
    epoch = 80 * 0.01 + 10 * 0.005 + EPOCH_SECONDS + 100 * 80 / 1e6
    training = 20 * epoch + 100 * 0.005
    assert (option.kind, option.dtype, option.bytes) == ("disk", "float32", 10_000)
    assert option.first == pytest.approx(10 + 10_000 / 1e4 + 10_000 / LOADING + BUILD_SECONDS + training)
    assert option.later == pytest.approx(10_000 / LOADING + training)
    assert not option.ready


def test_what_does_not_fit_into_memory_is_read_in_every_epoch() -> None:
    small = Run(ROWS, 20, 1, memory=9_999, budget=None)
    fitting, reading = (with_caches(deepest(), WORK, run, SPEEDS)[0] for run in (RUN, small))
    assert reading.later - fitting.later == pytest.approx(20 * 100 * 90 / 2e4 - 10_000 / LOADING)
    in_memory = with_caches(deepest(), WORK, small, SPEEDS)[-1]
    assert (in_memory.kind, in_memory.why_not) == ("memory", "more than fits into memory")


def test_an_earlier_cut_computes_the_rest_in_every_epoch() -> None:
    place = Candidate(("wide",), 0.06, {"float32": 10}, 100, 6.0)
    option = with_caches(place, WORK, RUN, SPEEDS)[0]
    epoch = 80 * (0.01 + 0.04) + 10 * (0.005 + 0.04) + EPOCH_SECONDS + 10 * 80 / 1e6
    assert option.later == pytest.approx(1000 / LOADING + 20 * epoch + 100 * (0.005 + 0.04))


def test_inputs_are_read_once_for_a_cache_and_where_they_stay_in_memory_and_else_in_every_epoch() -> None:
    slow, leaving = replace(WORK, reading=0.3), replace(RUN, inputs_stay=False)
    assert without_cache(slow, RUN).first - without_cache(WORK, RUN).first == pytest.approx(100 * 0.3)
    assert without_cache(slow, leaving).first - without_cache(WORK, RUN).first == pytest.approx((20 * 90 + 100) * 0.3)
    on_disk, in_memory = (
        [with_caches(deepest(), work, run, SPEEDS)[number] for work in (WORK, slow) for run in (RUN, leaving)]
        for number in (0, -1)
    )
    assert len({option.later for option in on_disk}) == 1  # what it takes to read the missing ones is in `to_compute`
    assert in_memory[2].first - in_memory[0].first == pytest.approx(100 * 0.3)
    assert in_memory[3] == in_memory[2]


def test_views_are_stored_for_training_rows_alone() -> None:
    run = Run(ROWS, 20, 4, memory=10**9, budget=None)
    assert run.stored_rows == 4 * 80 + 20
    assert with_caches(deepest(), WORK, run, SPEEDS)[0].bytes == 340 * 100


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 300), st.sampled_from([0, 40, 100]), st.integers(1, 10**6))
def test_from_the_epoch_at_which_it_pays_a_cache_is_ahead(
    frozen: float, suffix: float, epochs: int, missing: int, size: int
) -> None:
    work = Work(frozen, suffix, frozen + suffix, suffix / 3)

    def seconds(number: int) -> tuple[float, float]:
        run = Run(ROWS, number, 1, memory=10**9, budget=None)
        place = deepest(frozen=frozen, bytes={"float32": size}, missing=missing, to_compute=missing * frozen)
        return with_caches(place, work, run, SPEEDS)[0].first, without_cache(work, run).first

    run = Run(ROWS, epochs, 1, memory=10**9, budget=None)
    place = deepest(frozen=frozen, bytes={"float32": size}, missing=missing, to_compute=missing * frozen)
    pays = with_caches(place, work, run, SPEEDS)[0].pays_from
    if pays is None:
        cached, plain = seconds(10_000)
        assert cached >= plain * (1 - 1e-9)
        return
    cached, plain = seconds(pays)
    assert cached <= plain * (1 + 1e-9) + 1e-9
    if pays > 1:
        cached, plain = seconds(pays - 1)
        assert cached >= plain * (1 - 1e-9)


@given(
    st.lists(st.tuples(st.floats(0.1, 100), st.booleans(), st.booleans(), st.booleans()), min_size=1),
    st.floats(0.1, 100),
)
def test_the_choice_is_possible_exact_and_nearly_the_fastest(
    caches: list[tuple[float, bool, bool, bool]], plain: float
) -> None:
    options = [Option("none", first=plain)]
    for seconds, disk, exact, possible in caches:
        dtype = "float32" if exact else "float16"
        why_not = "" if possible else "over the budget"
        options.append(Option("disk" if disk else "memory", (), dtype, exact, first=seconds, why_not=why_not))
    chosen = choose(options, None, None)
    assert chosen.exact
    assert not chosen.why_not
    best = min(option.first for option in options if option.exact and not option.why_not)
    assert chosen.first <= max(1.1 * best, best + 0.05)
    assert chosen.kind != "memory" or chosen.first <= plain


def test_what_loses_is_declined_unless_it_is_there() -> None:
    slow = [Option("none", first=1.0), Option("disk", dtype="float32", first=2.0)]
    assert choose(slow, None, None).kind == "none"
    there = [slow[0], Option("disk", dtype="float32", first=2.0, ready=True)]
    assert choose(there, None, None).kind == "disk"


@pytest.mark.parametrize(
    ("plain", "kind", "first", "later", "chosen"),
    [
        (1.0, "disk", 0.99, 0.9, "disk"),
        (1.0, "disk", 1.09, 0.9, "disk"),  # the next run has it back
        (1.0, "disk", 1.09, 1.01, "none"),  # never
        (1.0, "disk", 1.11, 0.1, "none"),
        (1.0, "memory", 0.99, 0.99, "memory"),
        (1.0, "memory", 1.01, 1.01, "none"),
        (0.01, "disk", 0.05, 0.009, "disk"),
        (0.01, "disk", 0.05, 0.011, "none"),
        (0.01, "disk", 0.07, 0.009, "none"),
    ],
)
def test_a_cache_may_take_a_little_longer_where_later_runs_take_less(
    plain: float, kind: str, first: float, later: float, chosen: str
) -> None:
    options = [Option("none", first=plain, later=plain), Option(kind, dtype="float32", first=first, later=later)]
    assert choose(options, None, None).kind == chosen


def test_what_rounds_is_taken_where_it_is_asked_for() -> None:
    plan = make_plan([deepest()], WORK, RUN, wanted())
    epoch = RUN.rows["train"] * WORK.suffix + RUN.rows["valid"] * WORK.measured + EPOCH_SECONDS
    assert plan.suffix_seconds == pytest.approx(epoch), "test rows are no part of an epoch"
    assert (plan.bytes, plan.kind) == (10_000, "disk")
    assert make_plan([deepest()], WORK, RUN, wanted("float16", "disk")).bytes == 5_000
    assert make_plan([deepest()], WORK, RUN, wanted(kind="memory")).kind == "memory"


def test_a_budget_takes_the_smaller_frontier() -> None:
    run = Run(ROWS, 20, 1, memory=10**9, budget=5_000)
    places = [deepest(), Candidate(("wide",), 0.09, {"float32": 10}, 100, 9.0)]
    on_disk = make_plan(places, WORK, run, wanted(kind="disk"))
    assert (on_disk.cache, on_disk.behind, on_disk.bytes) == (True, ("wide",), 1_000)
    assert make_plan(places, WORK, run, wanted()).kind == "memory"
    nothing = make_plan(places[:1], WORK, run, wanted(kind="disk"))
    assert not nothing.cache
    assert "over the budget" in nothing.reason


@given(st.floats(0.01, 10), st.floats(0.001, 10), st.integers(1, 500), st.integers(1, 50))
def test_the_law_is_what_a_plan_comes_to(frozen: float, suffix: float, epochs: int, views: int) -> None:
    """Where nothing but F and h counts: no validation, no overheads, no disk."""
    rows = 10**6
    work = Work(frozen, suffix, whole=frozen + suffix, measured=0.0)
    place = Candidate((), frozen, {"float32": 1}, views * rows, views * rows * frozen)
    run = Run({"train": rows, "valid": 0, "test": 0}, epochs, views, memory=10**12, budget=None)
    cached = with_caches(place, work, run, Bandwidths(1e15, 1e15, 1e15))[0]
    plain = without_cache(work, run).first - rows * frozen  # which are measured once, after the last epoch
    gain = plain / cached.first
    assert gain == pytest.approx(epochs * (frozen + suffix) / (views * frozen + epochs * suffix), rel=1e-3)
    assert gain <= max(epochs / views, 1) * 1.001
    assert plain / cached.later == pytest.approx((frozen + suffix) / suffix, rel=1e-3)


def test_the_table_says_it_all() -> None:
    run = Run(ROWS, 20, 1, memory=10**9, budget=6_000)
    places = [deepest(), Candidate(("wide", "wider"), 0.06, {"float32": 10}, 100, 6.0)]
    plan = make_plan(places, WORK, run, wanted(kind="disk"))
    lines = plan_table(plan)
    assert lines[0].split() == ["cut", "cache", "bytes", "this", "run", "later", "runs", "pays", "from"]
    assert len(lines) == 1 + 1 + 3 + 2 + len(LEGEND)
    assert tuple(lines[-len(LEGEND) :]) == LEGEND
    (star,) = [line for line in lines[: -len(LEGEND)] if line.startswith("*")]
    assert "before wide" in star
    assert "disk float32" in star
    assert any("deepest" in line and "disk float16 ~" in line for line in lines)
    assert any("over the budget" in line and "10.0 KB" in line for line in lines)
