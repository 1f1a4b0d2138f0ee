"""Rows against each other in words, and the best validated of several trainings."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from reuse.recipes.experiments import Record, best_validated, compare_pairs

BEFORE = [0.70, 0.72, 0.71]


@pytest.mark.parametrize(
    ("after", "verdict"), [([0.75, 0.78, 0.76], ": gain"), ([0.60, 0.61, 0.60], ": loss"), (BEFORE[::-1], ": no gain")]
)
def test_the_interval_decides_what_is_called_a_gain(after: list[float], verdict: str) -> None:
    rows = {"before": BEFORE, "after": after}
    runs = [{"row": row, "seed": s, "score": value} for row, values in rows.items() for s, value in enumerate(values)]
    line = compare_pairs(Record(Path(), tuple(runs)), "after", "before", "score")
    assert line.endswith(verdict)
    assert f"{100 * (sum(after) - sum(BEFORE)) / 3:+.2f} points" in line.replace("-0.00", "+0.00")


def test_the_lowest_validation_loss_is_chosen_whatever_the_test_rows_say() -> None:
    results = [
        SimpleNamespace(metrics={"valid": {"loss": valid}, "test": {"loss": -valid}}) for valid in (0.3, 0.1, 0.2, 0.1)
    ]
    assert best_validated(results) is results[1]  # type: ignore[arg-type, comparison-overlap]
