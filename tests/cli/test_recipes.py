"""`reuse recipes`."""

import sys
from pathlib import Path
from typing import Any

import pytest
import reuse.recipes as _  # noqa: F401 - its folder is looked at


def test_the_list_holds_every_recipe(reuse: Any) -> None:
    folder = Path(sys.modules["reuse.recipes"].__path__[0])
    listed = {row["recipe"]: row["summary"] for row in reuse("recipes", "list", "--json").json["recipes"]}
    shared = {"__init__", "loop_digits"}  # what several recipes take parts from
    assert set(listed) == {path.stem for path in folder.glob("*.py")} - shared
    assert {"frozen_finetune", "autoencoder_then_finetune"} <= set(listed)
    assert all(listed.values())
    assert "frozen_finetune" in reuse("recipes", "list").out


def test_running_one(reuse: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "greeting.py").write_text(
        '"""Says what it was given."""\n\n\ndef main(quick=False):\n    print("working")\n    return {"quick": quick}\n'
    )
    (tmp_path / "no_recipe.py").write_text('"""Has no main."""\n')
    recipes = sys.modules["reuse.recipes"]
    monkeypatch.setattr(recipes, "__path__", [str(tmp_path)])
    assert [row["recipe"] for row in reuse("recipes", "list", "--json").json["recipes"]] == ["greeting"]
    answer = reuse("recipes", "run", "greeting", "--quick", "--json")
    assert answer.json == {"quick": True}
    assert "working" in answer.err
    assert reuse("recipes", "run", "greeting").out == "quick: False\n"
    reuse("recipes", "run", "greetings").is_refused("'greeting'")


def test_a_recipe_of_the_package(reuse: Any) -> None:
    answer = reuse("recipes", "run", "frozen_finetune", "--quick", "--json")
    assert answer.code == 0
    assert answer.json
