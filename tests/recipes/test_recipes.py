"""Every recipe runs on small data, and is imported the way a pipeline would."""

import importlib
import json
import pkgutil
from pathlib import Path

import numpy as np
import pytest
import reuse.recipes
from reuse.recipes.autoencoder_then_finetune import autoencoder_then_finetune
from reuse.recipes.frozen_finetune import frozen_finetune
from reuse.recipes.pipeline_example import main as pipeline

from reuse.objectives.menu import OBJECTIVES

NAMES = [module.name for module in pkgutil.iter_modules(reuse.recipes.__path__) if not module.ispkg]

OF_OTHERS = "loop_"  # training loops of other toolkits, which tests/loops runs


def test_recipes_are_those_of_the_top_folder() -> None:
    folder = Path(__file__).resolve().parents[2] / "recipes"
    assert sorted(NAMES) == sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


@pytest.mark.filterwarnings("ignore:activation 'selu' with norm")  # one published row has both
@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith(OF_OTHERS)])
def test_every_recipe_runs(name: str) -> None:
    recipe = importlib.import_module(f"reuse.recipes.{name}")
    run = recipe.main(quick=True)["run"]
    assert Path(run).exists()
    if experiment := getattr(recipe, "EXPERIMENT", None):
        assert experiment.name == name
        runs = json.loads(Path(run).read_text())["runs"]
        assert {entry["row"] for entry in runs} == set(getattr(recipe, "QUICK_ROWS", experiment.rows))
        assert set(experiment.published) <= set(experiment.rows)
        shown = [entry[column.figure] for entry in runs for column in experiment.columns if column.figure in entry]
        assert shown
        assert np.isfinite(shown).all()


def test_every_method_of_pretraining_is_a_row_of_some_recipe() -> None:
    """By its own name, so that what is measured of it is found in the results."""
    recipes = [importlib.import_module(f"reuse.recipes.{name}") for name in NAMES if not name.startswith(OF_OTHERS)]
    rows = [row for recipe in recipes if hasattr(recipe, "EXPERIMENT") for row in recipe.EXPERIMENT.rows]
    named = {part.split(":")[0] for row in rows for part in row.split(", ")}
    assert set(OBJECTIVES) <= named


def test_a_second_frozen_finetuning_computes_no_row() -> None:
    outcome = frozen_finetune(epochs=4)
    rows = sum(outcome["first_rows"].values())
    assert outcome["first_rows"] == {"computed": rows, "found": 0}
    assert outcome["second_rows"] == {"computed": 0, "found": rows}
    assert outcome["frozen"] == ["hidden1", "hidden2"]


def test_the_three_classifiers_are_compared() -> None:
    outcome = autoencoder_then_finetune(
        labels="2/class", pretrain_epochs=1, epochs=1, model="mlp:8,4", freeze="hidden1"
    )
    assert list(outcome["comparison"]) == ["scratch", "frozen", "unfrozen"]
    assert all(np.isfinite(row["accuracy"]) for row in outcome["comparison"].values())


def test_the_pipeline_gives_class_names(tmp_path: Path) -> None:
    outcome = pipeline(quick=True, out=tmp_path / "job")
    assert set(outcome["predicted"]) <= {"benign", "malignant"}
    assert len(outcome["predicted"]) == 10
