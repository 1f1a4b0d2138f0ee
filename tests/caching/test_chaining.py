"""No frozen layer computes a row twice: deeper cuts go on from what earlier ones have stored."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, fx

from finished_runs import weights
from reuse.features import filling, planned
from reuse.finetuning.finetune import finetune, plan
from reuse.layers.cutting import cut
from reuse.layers.earlier import bridge_between
from reuse.layers.freezing import freeze
from reuse.nn.building import build
from reuse.pretraining.pretrain import pretrain
from reuse.reporting import Progress, Reporter
from reuse.runs.results import Result

RANDOM = np.random.default_rng(0)
X = RANDOM.random((150, 9)).astype(np.float32)
Y = np.arange(150) % 3
LAYERS = ("hidden1", "hidden2", "hidden3")


pytestmark = pytest.mark.usefixtures("cached_however_small")


@pytest.fixture(autouse=True)
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pretrain(data=(X, None), model="mlp:12,10,8", epochs=1, norm="batch", out="source")


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the rows that each layer computes while the cache is filled."""
    rows: Counter[str] = Counter()
    run = filling.run_frozen

    def counted(module: fx.GraphModule, tensors: tuple[Tensor, ...], *others: Any, **more: Any) -> tuple[Tensor, ...]:
        for node in module.graph.nodes:
            if node.op == "call_module" and str(node.target).startswith("hidden"):
                rows[str(node.target).partition(".")[0]] += len(tensors[0])
        return run(module, tensors, *others, **more)

    monkeypatch.setattr(filling, "run_frozen", counted)
    return rows


class Work(Reporter):
    """Keeps what work on rows there was."""

    def __init__(self) -> None:
        self.work: list[tuple[int, str]] = []

    @contextmanager
    def rows(self, total: int, what: str, unit: str = "row") -> Iterator[Progress]:
        self.work.append((total, what))
        with super().rows(total, what, unit) as progress:
            yield progress


def tuned(frozen: str, **settings: Any) -> Result:
    return finetune("source", data=(X, Y), freeze=frozen, **{"epochs": 6, "early_stopping": False, **settings})


def test_a_deeper_cut_goes_on_from_an_earlier_one(computed: Counter[str]) -> None:
    tuned("hidden1")
    assert computed == {"hidden1": 150}
    deeper = tuned("hidden1,hidden2,hidden3")
    assert computed == {"hidden1": 150, "hidden2": 150, "hidden3": 150}
    assert deeper.cache is not None
    assert deeper.cache["rows"] == {"computed": 150, "found": 0}
    from_inputs = tuned("hidden1,hidden2,hidden3", cache_dir="elsewhere")
    torch.testing.assert_close(weights(deeper), weights(from_inputs), rtol=0, atol=0)


def test_rows_that_the_earlier_one_lacks_are_computed_from_the_inputs(computed: Counter[str]) -> None:
    tuned("hidden1", labels=60)
    begun = Counter(computed)
    result = tuned("hidden1,hidden2")
    assert computed["hidden2"] == 150
    assert computed["hidden1"] == 150, "those of the first run are not computed again"
    assert begun["hidden1"] < 150
    assert result.cache is not None
    assert result.cache["rows"] == {"computed": 150, "found": 0}


def test_all_phases_are_stored_in_one_pass(computed: Counter[str]) -> None:
    result = tuned("hidden1,hidden2,hidden3", unfreeze="2:hidden3,4:hidden2")
    assert [[f["name"] for f in phase["frontier"]] for phase in result.phases] == [[n] for n in LAYERS[::-1]]
    spot_checks = 2 * 4  # of four rows, as each of the later phases opens what the first has stored
    assert sum(computed.values()) - 3 * 150 <= spot_checks * 2
    assert min(computed.values()) >= 150
    assert result.cache is not None
    assert (result.cache["rows"], result.cache["later"]) == ({"computed": 150, "found": 0}, 300)
    plain = tuned("hidden1,hidden2,hidden3", unfreeze="2:hidden3,4:hidden2", cache=False)
    torch.testing.assert_close(weights(result), weights(plain), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("epochs", [6, 4])
def test_a_run_that_fills_the_cache_of_a_later_phase_is_no_hit(epochs: int) -> None:
    tuned("hidden1,hidden2,hidden3")
    heard = Work()
    cache = tuned("hidden1,hidden2,hidden3", unfreeze="3:hidden3", epochs=epochs, reporter=heard).cache
    assert cache is not None
    assert (cache["rows"], cache["later"], cache["hit"]) == ({"computed": 0, "found": 150}, 150, False)
    ahead = (150, "caching activations before hidden3, for a later phase") in heard.work
    assert ahead == (epochs == 6), "a phase of a single epoch is left to itself"
    again = tuned("hidden1,hidden2,hidden3", unfreeze="3:hidden3", epochs=epochs).cache
    assert again is not None
    assert (again["later"], again["hit"]) == (0, True)


def test_a_budget_for_one_frontier_stores_one_at_a_time() -> None:
    budget = 150 * 4 * 10 + 250_000
    result = tuned("hidden1,hidden2", unfreeze="3:hidden2", cache_budget=budget)
    assert not [note for note in result.notes if "cache" in note or note.startswith("stored")]


def test_the_plan_says_what_it_can_start_from() -> None:
    tuned("hidden1")
    _, prepared = plan(source="source", data=(X, Y), freeze="hidden1,hidden2")
    assert (
        "150 rows, none cached yet; 150 of them go on from what is cached before hidden2"
        in planned.describe_plan(prepared)[0]
    )


def test_bridges_between_earlier_cuts() -> None:
    model = build("mlp:7,6,5,4", (9,), 3, norm="batch")
    freeze(model, "hidden*")
    inputs = torch.randn(4, 9)
    parts = cut(model, inputs)
    for number, second in enumerate(parts.earlier):
        for first in parts.earlier[number + 1 :]:
            bridge = bridge_between(first, second)
            assert bridge is not None
            torch.testing.assert_close(bridge(*first.prefix(inputs)), second.prefix(inputs), rtol=0, atol=0)
            assert bridge_between(second, first) is None
