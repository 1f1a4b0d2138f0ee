"""Measuring the parts of a training leaves no trace in the model, and is not done again where it was done before."""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import reuse
from reuse.data.rows import Batch
from reuse.layers.cutting import cut
from reuse.layers.freezing import freeze
from reuse.objectives.supervised import Classification
from reuse.optim.groups import OptimizerSettings
from reuse.planning import measuring, workload
from reuse.planning.measuring import node_seconds
from reuse.planning.workload import measure_work
from reuse.runs.results import Result
from reuse.training.trainer import Trainer


def test_measuring_leaves_the_model_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 2)).eval()
    freeze(model, "0")
    parts, sample = cut(model, torch.randn(4, 5)), (torch.randn(16, 5),)
    before, state = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
    taken = []

    def make_step(network: nn.Module) -> Callable[[Batch], object]:
        taken.append(network)
        return Trainer(model, Classification(2), optimization=OptimizerSettings("adam", 1.0), network=network).step

    work, nodes = measure_work(parts, make_step, sample, torch.arange(16) % 2, 8)
    assert taken == [parts.suffix, model]
    assert min(work.frozen, work.suffix, work.whole, work.measured) > 0
    assert sum(nodes.values()) == pytest.approx(work.frozen)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("width", "threads"), [(4, 1), (4000, 2)])
def test_frozen_layers_are_timed_with_the_threads_of_a_step(
    width: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that wait for each other on a busy machine took 16 times what an epoch with one thread took."""
    before, seen = torch.get_num_threads(), []

    def timed(*given: Any) -> dict[str, float]:
        seen.append(torch.get_num_threads())
        return node_seconds(*given)

    model = nn.Sequential(nn.Linear(9, width), nn.ReLU(), nn.Linear(width, 2))
    freeze(model, "0")
    monkeypatch.setattr(workload, "node_seconds", timed)
    torch.set_num_threads(2)
    try:
        measure_work(
            cut(model, torch.randn(4, 9)),
            lambda network: lambda batch: network(*batch.inputs),
            (torch.randn(512, 9),),
            torch.arange(512) % 2,
            512,
        )
        assert (seen, torch.get_num_threads()) == ([threads], 2)
    finally:
        torch.set_num_threads(before)


def test_each_frozen_layer_is_timed_by_itself() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2000), nn.Linear(2000, 2000), nn.Linear(2000, 2))
    freeze(model, "0,1,2")
    inputs = torch.randn(256, 4)
    seconds = node_seconds(cut(model, inputs).prefix, (inputs,), torch.device("cpu"))
    assert set(seconds) >= {"_0", "_1", "_2"}
    assert max(seconds, key=seconds.__getitem__) == "_2"


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Result, int]]:
    """Fine-tunes a layer behind a wide frozen one, and says how often the frozen layer was timed."""
    Path("wide.py").write_text(
        "from torch import nn\n\n"
        "def network(in_features, num_classes):\n"
        "    layers = nn.Linear(in_features, 3000), nn.Linear(3000, 8), nn.Linear(8, num_classes)\n"
        "    return nn.Sequential(nn.Flatten(), *layers)\n"
    )
    monkeypatch.syspath_prepend(str(Path.cwd()))
    data = np.random.default_rng(0).random((300, 200)).astype(np.float32), np.arange(300) % 3
    timed: list[object] = []

    def timing(*arguments: object) -> dict[str, float]:
        timed.append(arguments)
        return node_seconds(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(workload, "node_seconds", timing)

    def call(**settings: object) -> tuple[Result, int]:
        before = len(timed)
        result = reuse.finetune(
            "wide:network", freeze=["1", "2"], data=data, **{"epochs": 60, "cache_kind": "disk", **settings}
        )
        return result, len(timed) - before

    return call


def test_a_later_run_takes_the_measures_of_the_one_that_filled_the_cache(
    train: Callable[..., tuple[Result, int]],
) -> None:
    (first, times), (second, again) = train(), train(epochs=3)
    assert first.plan is not None
    assert second.plan is not None
    assert second.cache is not None
    assert (times, again, second.cache["hit"]) == (1, 0, True)
    assert (first.plan["remembered"], second.plan["remembered"]) == (False, True)
    assert second.plan["frozen_seconds"] == pytest.approx(first.plan["frozen_seconds"])
    _, other = train(batch_size=7)
    assert other == 1  # a training step of other batches takes another time
    _, other = train(batch_size=7)
    assert other == 0
    _, narrower = train(batch_size=7, cache_dtype="float16")
    assert narrower == 1  # another cache, nothing is in it


def test_measures_that_cannot_be_read_are_taken_anew(train: Callable[..., tuple[Result, int]]) -> None:
    train()
    (path,) = Path("cache").rglob("measured.json")
    (record,) = json.loads(path.read_text())
    wrong = [
        {**record, "frozen": None},  # of another version
        {**record, "nodes": [-1.0 for _ in record["nodes"]]},
        {**record, "nodes": [None for _ in record["nodes"]]},
        {**record, "through": "1"},
        {**record, "nodes": []},
        {**record, "frozen": -1.0},
    ]
    wrong += [
        {**record, "nodes": 1},
        {**record, "through": float("nan")},
        {"conditions": {}},
        3,
    ]
    for content in ["{", "{}", *(json.dumps([values]) for values in wrong)]:
        path.write_text(content)
        assert train()[1] == 1
        assert train()[1] == 0


def test_what_is_known_is_not_measured_and_what_is_behind_the_cut_is(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2))
    freeze(model, "0")
    parts, sample, under = cut(model, torch.randn(4, 5)), (torch.randn(16, 5),), {"machine": "this"}
    names = [node.name for node in parts.prefix.graph.nodes]
    timings = workload.Timings(under, 2.0, [3.0, *[0.0] * (len(names) - 1)])
    for machine in range(20):
        workload.save_timings(tmp_path, replace(timings, conditions={"machine": str(machine)}))
        workload.save_timings(tmp_path, timings)
    assert workload.find_timings(tmp_path, under, parts) == timings
    assert workload.find_timings(tmp_path, {"machine": "19"}, parts) is not None  # several share a cache
    assert workload.find_timings(tmp_path, {"machine": "0"}, parts) is None  # and old ones go
    taken = []

    def make_step(network: nn.Module) -> Callable[[Batch], object]:
        return lambda batch: taken.append((network, len(batch.inputs[0])))

    work, nodes = measure_work(parts, make_step, sample, None, 40, "float32", None, timings)
    assert set(taken) == {(parts.suffix, 40)}
    assert 0 < work.suffix < 1
    assert (work.frozen, work.whole, list(nodes), sum(nodes.values())) == (3.0, work.suffix + 2.0, names, 3.0)


def test_steps_are_measured_on_whole_batches_and_reading_by_itself() -> None:
    model = nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2))
    freeze(model, "0")
    parts, sample, targets = cut(model, torch.randn(4, 5)), (torch.randn(16, 5),), torch.arange(16)
    taken = set()

    def make_step(network: nn.Module) -> Callable[[Batch], object]:
        def step(batch: Batch) -> None:
            assert batch.targets is not None
            taken.add((network is model, len(batch.inputs[0]), tuple(batch.targets.tolist())))

        return step

    work, _ = measure_work(parts, make_step, sample, targets, 40, "float32", lambda: time.sleep(0.016))
    repeated = tuple(number % 16 for number in range(40))
    assert taken == {(False, 40, repeated), (False, 16, repeated[:16]), (True, 16, repeated[:16])}
    assert 0.001 <= work.reading < 0.1
    assert work.whole >= work.suffix


@pytest.mark.parametrize(("seconds", "calls"), [([5.0], 1), ([0.1, 3.0, 1.0], 3), ([0.0, 0.009, 0.001, 0.011], 4)])
def test_a_typical_time_is_the_median_without_the_first(
    seconds: list[float], calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = iter(seconds)
    monkeypatch.setattr(measuring, "_seconds", lambda work, device: next(taken))
    assert measuring.typical(lambda: None, torch.device("cpu")) == statistics.median(seconds[1:] or seconds)
    assert len(list(taken)) == len(seconds) - calls
