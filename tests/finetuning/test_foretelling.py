"""What a plan says of the command as a whole: later phases, and the trainings that it is compared with."""

from pathlib import Path
from typing import Any

import pytest

import reuse
from reuse.features import choosing
from reuse.finetuning.finetune import plan
from reuse.layers.parts import Cut
from reuse.planning.options import EPOCH_SECONDS, Work
from reuse.planning.plan import Plan

TRAIN, VALID, TEST = 50, 10, 360
SUFFIX, MEASURED = 0.5, 0.25  # seconds a row
QUICK: dict[str, Any] = {"data": "digits", "labels": 60, "freeze": "hidden1,hidden2", "epochs": 5, "cache_kind": "disk"}


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A pretrained network, of which each frozen layer is found to take a second a row."""

    def measured(parts: Cut, *_: object) -> tuple[Work, dict[str, float]]:
        nodes = {node.name: float(node.name.startswith("hidden")) for node in parts.prefix.graph.nodes}
        frozen = sum(nodes.values())
        return Work(frozen, SUFFIX, SUFFIX + frozen, MEASURED), nodes

    monkeypatch.chdir(tmp_path)
    run = reuse.pretrain("autoencoder", data="digits", model="mlp:8,6,5", epochs=1, out="source").run
    monkeypatch.setattr(choosing, "measure_work", measured)
    return run


def epoch(thawed: int) -> float:
    """Return the seconds of an epoch in which so many of the layers that were frozen train."""
    return TRAIN * (SUFFIX + 3 * thawed) + VALID * (MEASURED + thawed) + EPOCH_SECONDS


def planned(source: str, **settings: Any) -> Plan:
    return plan(source, **QUICK, **settings)[1].plan


def test_each_later_phase_takes_what_trains_by_then(source: str) -> None:
    made = planned(source, unfreeze="2:hidden2,4:all")
    assert made.beside == pytest.approx(2 * epoch(1) + epoch(2))
    assert made.total == pytest.approx(made.elapsed + made.with_cache + made.beside)


def test_a_comparison_takes_its_trainings_for_each_draw(source: str) -> None:
    alone = planned(source)
    whole = 5 * epoch(2) + (TRAIN + VALID + TEST) * (MEASURED + 2)
    assert alone.beside == 0
    assert planned(source, compare=True).beside == pytest.approx(2 * whole)
    assert planned(source, compare=True, draws=3).beside == pytest.approx(3 * 2 * whole + 2 * alone.with_cache)


def test_what_begins_at_random_is_compared_with_itself_alone(source: str) -> None:
    assert planned("mlp:8,6", compare=True).beside == pytest.approx(planned(source, compare=True).beside / 2)
