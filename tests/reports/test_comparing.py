"""Runs side by side: pairs of the same rows."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reports.conftest import outcome_of, subject_of
from reuse.reports.comparing import comparing_section
from reuse.reports.pairing import common_places, paired_differences, refuse_to_compare


def test_differences_are_those_of_the_scores_and_their_intervals_are_paired(runs: Path) -> None:
    first, second = outcome_of(runs / "frozen"), outcome_of(runs / "free")
    found = next(one for one in paired_differences(first, second) if one.name == "accuracy")
    before, after, gap, interval = found.first, found.second, found.gap, found.interval
    one, two = first.right.astype(float), second.right.astype(float)
    assert (before, after, gap) == pytest.approx((one.mean(), two.mean(), two.mean() - one.mean()))
    half = 1.96 * (two - one).std(ddof=1) / len(one) ** 0.5  # the normal interval of paired differences
    assert interval.low == pytest.approx(gap - half, abs=half / 4)
    assert interval.high == pytest.approx(gap + half, abs=half / 4)


def test_a_run_beside_itself_does_not_differ(runs: Path) -> None:
    outcome = outcome_of(runs / "frozen")
    for found in paired_differences(outcome, outcome):
        assert (found.gap, found.interval.low, found.interval.high) == (0, 0, 0)
        assert not found.interval.excludes_zero


def test_rows_are_paired_by_number(runs: Path) -> None:
    first = outcome_of(runs / "frozen")
    order = np.random.default_rng(0).permutation(len(first.numbers))[:100]
    some = replace(first, numbers=first.numbers[order], values=first.values[order], targets=first.targets[order])
    left, right = common_places(first, some)
    assert first.numbers[left].tolist() == some.numbers[right].tolist()
    assert len(left) == 100


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"task": "multilabel"}, "differ in task: classification, and multilabel"),
        ({"data": "wine"}, "differ in data: digits, and wine"),
        ({"classes": ("a", "b")}, "differ in classes"),
        ({"split": "valid"}, "differ in split"),
        ({"numbers": np.arange(5000, 5360)}, "no row is in the test split of both"),
        ({"targets": np.zeros(360, np.int64)}, "give the same rows other targets"),
    ],
)
def test_what_cannot_be_compared_is_said(runs: Path, change: dict[str, object], words: str) -> None:
    first = outcome_of(runs / "frozen")
    assert words in refuse_to_compare(first, replace(first, **change))  # type: ignore[arg-type]
    assert refuse_to_compare(first, first) == ""


def test_the_page_names_each_run_and_what_cannot_be_compared(runs: Path) -> None:
    subjects = [subject_of(runs / name) for name in ("frozen", "free", "pre")]
    body = comparing_section(subjects).body
    assert all(f'<th scope="row">{name}</th>' in body for name in ("frozen", "free", "pre"))
    assert "McNemar" in body
    assert "pre is not compared row by row: the run was trained without labels" in body
    assert body.count("<polyline") >= 5


def test_each_score_stands_above_its_interval_and_what_was_unfrozen_is_said(runs: Path) -> None:
    subjects = [subject_of(runs / name) for name in ("frozen", "free")]
    body = comparing_section(subjects).body
    for subject in subjects:
        right = outcome_of(subject.record.folder.path).right
        interval = subject.intervals["accuracy"]
        assert interval.low < right.mean() < interval.high
        assert f"{right.mean():.4g}<small>{interval.low:.4g} to {interval.high:.4g}</small>" in body
    assert ">hidden1; from epoch 4 nothing</span></td>" in body


def test_intervals_of_other_rows_stand_under_no_score_of_the_run(runs: Path) -> None:
    assert "<small>" not in comparing_section([subject_of(runs / "frozen", split="valid")] * 2).body


def test_each_objective_has_a_picture_of_its_losses(runs: Path) -> None:
    """Losses of two objectives on one axis would look like two runs of which one learns nothing."""
    subjects = [subject_of(runs / name) for name in ("frozen", "pre", "free")]
    body = comparing_section(subjects).body
    objective = subjects[1].record.manifest.objective
    figures = re.findall(r"<figure.*?</figure>", body, re.DOTALL)
    for words in ("training", "validation"):
        shown = {
            part: next(f for f in figures if f"{words} loss of {part}" in f) for part in ("classification", objective)
        }
        assert {part: drawn.count("<polyline") for part, drawn in shown.items()} == {"classification": 2, objective: 1}
    assert f"Losses of different objectives (classification, {objective}) cannot be compared with each other." in body


def test_losses_of_one_objective_share_a_picture(runs: Path) -> None:
    body = comparing_section([subject_of(runs / name) for name in ("frozen", "free")]).body
    assert "loss of" not in body
    assert "cannot be compared with each other" not in body
