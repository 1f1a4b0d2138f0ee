"""Few labels: which pretrainings a draw takes, with which settings, and gains over the best way without."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from reuse.recipes.experiments import ALWAYS, Case, Comparison, Record, conclude_gains, few_labels, gains

SOURCE = {"batch_size": 64, "precision": "float32"}
NETWORK = {"model": "mlp:8,4", "activation": "tanh"}


def of(values: dict[str, list[float]], figure: str = "frozen") -> list[dict[str, Any]]:
    """Return the runs of ways of one case, with one figure."""
    return [{"row": f"a, {way}", "seed": n, figure: v} for way, some in values.items() for n, v in enumerate(some)]


def test_gains_are_over_the_best_way_without_and_of_methods_with_all_draws() -> None:
    unfrozen = {"unfrozen": 0.25}
    scratch = of({"from scratch": [0.5, 0.6]}, "unfrozen")
    ways = {"logistic regression": [0.4, 0.5], "untrained": [0.5, 0.4], "k-means patches": [0.6, 0.8]}
    methods = [run | unfrozen for run in of({"tied": [0.7, 0.9], "begun": [0.9]})]
    record = Record(Path(), tuple(scratch + of(ways) + methods))
    assert ("from scratch", *ways) == ALWAYS
    (title, panel), *others = gains(record, ["a, ", "b, "]).items()
    assert (title, others) == ("a, over k-means patches", [])
    assert list(panel) == ["tied, frozen", "tied, unfrozen"]
    assert panel["tied, frozen"] == pytest.approx((10, 10, 10))
    assert panel["tied, unfrozen"][0] == pytest.approx(-45)
    lines = conclude_gains(record, ["a, "])
    assert [line.endswith(": gain") for line in lines] == [True, False]


def test_methods_that_use_the_labels_are_pretrained_for_each_draw_in_as_many_minutes_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def within(minutes: float, method: str, out: Path, **settings: Any) -> tuple[str, float]:
        asked.append((minutes, method, settings["seed"], settings["precision"], settings["classes"]))
        out.parent.mkdir(parents=True)
        return str(out), minutes

    def otherwise(case: Case, number: int, out: Path, minutes: float) -> tuple[str, float]:
        assert case.known == "0-4"
        return within(minutes, "otherwise", out / "run", **case.settings_of("pseudo_labels", number))

    monkeypatch.setattr(few_labels, "pretrain_within", within)
    monkeypatch.setattr(Comparison, "frozen", lambda *_: 0.5)
    monkeypatch.setattr(Comparison, "trained", lambda *_: 0.6)
    monkeypatch.setattr(few_labels.reuse, "load", lambda **_: SimpleNamespace())
    case = Case(
        *("digits", "digits", NETWORK, "hidden*", SOURCE),
        known="0-4",
        own={"tied": {"precision": "bfloat16"}},
        otherwise={"pseudo_labels": otherwise},
        for_each_draw=("pseudo_labels",),
    )
    comparison = Comparison(tmp_path, tmp_path / "sources", 5.0, {})
    figures = [comparison(seed, case, 10, way) for seed in range(4) for way in ("tied", "pseudo_labels")]
    assert asked[:4] == [
        (5.0, "tied", 0, "bfloat16", "0-4"),
        (1.0, "otherwise", 0, "float32", "0-4"),
        (5.0, "tied", 1, "bfloat16", "0-4"),
        (1.0, "otherwise", 1, "float32", "0-4"),
    ]
    assert [method for _, method, *_ in asked[4:]] == ["otherwise", "otherwise"]
    assert figures[0] == {"frozen": 0.5, "unfrozen": 0.6, "minutes": 5.0}
    again = Comparison(tmp_path, tmp_path / "sources", 5.0, {})
    assert again(0, case, 10, "tied") == figures[0]
    assert len(asked) == 6  # what is kept is not trained again


def test_what_few_labels_choose_from_is_what_was_frozen(tmp_path: Path) -> None:
    """Rows of sequences are pixels again for a linear model of them."""
    case = Case("digits", "digits", {"model": "gru:4"}, "gru*", SOURCE, reading={"sequences": True}, new="5-9")
    comparison = Comparison(tmp_path, tmp_path, 0.0, {})
    linear, untrained = (comparison(0, case, 5, way)["frozen"] for way in ("logistic regression", "untrained"))
    assert 0.5 < linear <= 1
    assert 0.2 < untrained <= 1
    assert np.load(tmp_path / "digits-logistic regression-0.npy").shape[1] == 64
    assert np.load(tmp_path / "digits-untrained-0.npy").shape[1] == 4
