"""Tables: every figure from a record, and the page in the checkout is what its records give."""

import json
import math
from pathlib import Path

import pytest
from reuse.recipes.experiments import Experiment, FigureColumn, run_experiment
from reuse.recipes.experiments.__main__ import main
from reuse.recipes.experiments.tables import render_results
from scipy import stats

import reuse

RECIPES = Path(__file__).resolve().parents[3] / "recipes"
OURS, THEIRS = [0.86, 0.87, 0.88], [0.85, 0.86, 0.85]


@pytest.fixture
def folder() -> Path:
    experiment = Experiment(
        "accuracies",
        "Accuracies",
        "A net.",
        {"he": {"number": 0}, "zeros": {"number": 1}},
        (
            FigureColumn("accuracy", "accuracy, %", 100),
            FigureColumn("seconds", "seconds", digits=0),
            FigureColumn("depth", "depth"),
            FigureColumn("accuracy", "accuracy (± 95 %)", 100, interval=True, reference="none"),
        ),
        {"he": {"accuracy": "86.7"}},
    )

    def measure(seed: int, number: int) -> dict[str, float]:
        return {"accuracy": 0.1 if number else OURS[seed], "seconds": 10.0 * seed, "depth": 5.0}

    path = run_experiment(experiment, measure, seeds=3).path
    runs = [{"row": "he", "seed": s, "date": "2026-01-02", "accuracy": a, "seconds": 7.0} for s, a in enumerate(THEIRS)]
    reference = {"by": "keras 3", "command": "run", "machines": [{"cores": 2}], "runs": runs}
    path.with_name("accuracies.keras.json").write_text(json.dumps(reference))
    return path.parent


def test_published_reference_ours_and_their_difference(folder: Path) -> None:
    errors = 100 * stats.sem(OURS), 100 * stats.sem(THEIRS)
    difference = (87.0 - 85.0 - 1 / 3) / math.hypot(*errors)
    expected = f"| he | 86.7 | 85.33 ± {errors[1]:.2f} | 87.00 ± {errors[0]:.2f} | {difference:+.1f} |"
    assert expected in render_results(folder).splitlines()


def test_a_column_may_show_the_interval(folder: Path) -> None:
    width = 100 * stats.sem(OURS) * stats.t.ppf(0.975, 2)
    assert f"| he | 86.7 | 87.00 ± {width:.2f} |" in render_results(folder).splitlines()


def test_a_row_without_a_reference_has_its_own_figures(folder: Path) -> None:
    assert "| zeros |  |  | 10.00 ± 0.00 |  |" in render_results(folder).splitlines()


def test_seconds_are_a_median_without_a_difference(folder: Path) -> None:
    lines = render_results(folder).splitlines()
    assert "| seconds | Keras | ours |" in lines
    assert "| he | 7 | 10 |" in lines


def test_what_is_not_compared_shares_a_table(folder: Path) -> None:
    assert "|  | depth |" in render_results(folder).splitlines()


def test_the_origin_is_told(folder: Path) -> None:
    page = render_results(folder)
    assert "`reuse recipes run accuracies`" in page
    assert "keras 3: 2026-01-02, 3 seeds, `run`; cores 2." in page


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(reuse.RunError, match="run a recipe first"):
        render_results(tmp_path)


def test_the_page_is_written_beside_the_records(folder: Path) -> None:
    page = main(folder)
    assert page == folder.parent / "RESULTS.md"
    assert page.read_text(encoding="utf-8") == render_results(folder)


def test_the_page_in_the_checkout_is_what_its_records_give() -> None:
    assert (RECIPES / "RESULTS.md").read_text(encoding="utf-8") == render_results(RECIPES / "results")


def test_every_record_in_the_checkout_has_the_settings_of_its_recipe() -> None:
    for path in (RECIPES / "results").glob("*.json"):
        if path.name.endswith(".keras.json"):
            continue
        recipe = __import__(f"reuse.recipes.{path.stem}", fromlist=["EXPERIMENT"])
        assert json.loads(path.read_text())["rows"] == json.loads(json.dumps(recipe.EXPERIMENT.to_dict()["rows"]))
