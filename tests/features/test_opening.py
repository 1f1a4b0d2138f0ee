"""What is cached is served only as long as the frozen layers compute the same; else it is set aside for good."""

import os
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from listening import Listener
from reuse.caching.cache import ActivationCache
from reuse.caching.probe_record import PROBE, read_probe, write_probe
from reuse.caching.spot_checking import spot_check
from reuse.data.loading import load
from reuse.devices import Compute
from reuse.errors import CacheError
from reuse.features import feeding
from reuse.features.choosing import Upcoming
from reuse.features.explaining import explain
from reuse.features.feeding import feed_activations
from reuse.features.planned import half_steps, plan_features
from reuse.layers.freezing import freeze
from reuse.objectives.supervised import supervised
from reuse.settings.caching import StoringSettings

ROWS = 60
X = np.random.default_rng(0).random((ROWS, 8)).astype(np.float32)
Y = np.arange(ROWS) % 4

pytestmark = pytest.mark.usefixtures("cached_however_small")


class Scaled(nn.Linear):
    """Reads what no key sees."""

    def forward(self, x: Tensor) -> Tensor:
        limit = float(os.environ.get("TEST_LIMIT", "inf"))
        return super().forward(x.clamp(max=limit)) * float(os.environ.get("TEST_SCALE", "1"))


def network(frozen: str = "0,1") -> nn.Sequential:
    torch.manual_seed(0)
    blocks = [nn.Sequential(Scaled(*sizes), nn.ReLU()) for sizes in ((8, 6), (6, 5))]
    model = nn.Sequential(*blocks, nn.Linear(5, 4))
    freeze(model, frozen)
    return model


def opened(frozen: str = "0,1", **storing: Any) -> tuple[Any, Any, list[str]]:
    """Plan, fill and read as a training would; returns the feed, the plan, and the lines that were said."""
    model, data, listening = network(frozen), load((X, Y)), Listener()
    compute = Compute(torch.device("cpu"), "float32")
    upcoming = Upcoming(2, partial(half_steps, supervised("classification", 4)), comparable=False)
    settings = StoringSettings(cache_dir="cache", cache_kind="disk", **storing)
    features = plan_features(model, data, compute, settings, upcoming)
    explained = explain(features)
    feed = feed_activations(features, data, compute, listening)
    with torch.no_grad():  # whatever is served is what the layers compute now
        (given,) = data.train.inputs.gather(torch.arange(len(data.train)))
        served = feed.splits["train"][0].gather(torch.arange(len(data.train)))
        for one, other in zip(served, features.parts.prefix(given), strict=True):
            torch.testing.assert_close(one, other)
    return feed, explained, listening.lines


def test_a_change_that_no_key_sees_sets_the_prefix_aside_for_good(monkeypatch):
    first, explained, lines = opened()
    key = explained.key
    assert first.cache["rows"] == {"computed": ROWS, "found": 0}
    assert opened()[0].cache["hit"]

    monkeypatch.setenv("TEST_SCALE", "1.001")
    feed, explained, lines = opened()
    assert (feed.cache["kind"], feed.cache["hit"]) == ("memory", False)
    (said,) = [line for line in lines if key in line]
    assert said.startswith("set aside for good")
    assert f"`reuse cache clear {key}`" in said

    for scale in ("1.001", "1"):  # not forgotten by the next run, whatever it computes
        monkeypatch.setenv("TEST_SCALE", scale)
        feed, explained, lines = opened()
        assert (feed.cache["kind"], feed.cache["rows"]["found"]) == ("memory", 0)
        assert explained.key == key
        assert "rows of its probe come out otherwise" in explained.quarantined
        assert "set aside" in explained.lines()[0]
        assert sum(key in line for line in lines) == 1
    (entry,) = ActivationCache("cache").entries()
    assert "set aside" in entry.damage[0]


def test_a_change_far_outside_of_all_rows_is_found(monkeypatch):
    opened()
    monkeypatch.setenv("TEST_LIMIT", "40")  # all rows lie between 0 and 1
    assert opened()[0].cache["kind"] == "memory"


def test_a_probe_that_is_damaged_is_made_anew_and_one_that_is_whole_is_believed(caplog):
    folder = ActivationCache("cache").root / opened()[1].key
    path = folder / PROBE
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 64]) + whole[-8:])  # in a value
    feed, explained, _ = opened()
    assert feed.cache["hit"]
    assert explained.quarantined is None
    assert sum(PROBE in record.getMessage() for record in caplog.records) == 1
    probe = read_probe(folder)
    assert probe is not None
    write_probe(folder, replace(probe, outputs=tuple(output + 1 for output in probe.outputs)))
    assert opened()[0].cache["kind"] == "memory"


def test_a_cut_off_cache_file_is_computed_again_in_one_line(caplog):
    folder = ActivationCache("cache").root / opened()[1].key
    (segment,) = folder.glob("segment*.h5")
    os.truncate(segment, 3000)
    feed, explained, _ = opened()
    assert feed.cache["rows"] == {"computed": ROWS, "found": 0}
    assert explained.quarantined is None
    assert sum("set aside, and computed again" in record.getMessage() for record in caplog.records) == 1
    assert opened()[0].cache["hit"]


def test_clearing_ends_it_and_eviction_does_not(monkeypatch):
    opened()
    monkeypatch.setenv("TEST_SCALE", "2")
    key = opened()[1].key
    cache = ActivationCache("cache")
    cache.prune(0)
    assert opened()[0].cache["kind"] == "memory"
    cache.clear(key)
    assert opened()[0].cache["rows"] == {"computed": ROWS, "found": 0}
    assert opened()[0].cache["hit"]


def test_what_is_set_aside_is_neither_read_nor_written(monkeypatch):
    opened()
    monkeypatch.setenv("TEST_SCALE", "2")
    opened()
    model, data = network(), load((X, Y))
    upcoming = Upcoming(2, partial(half_steps, supervised("classification", 4)), comparable=False)
    compute = Compute(torch.device("cpu"), "float32")
    features = plan_features(model, data, compute, StoringSettings(cache_dir="cache"), upcoming)
    keys = data.train.inputs.digests()
    assert features.plan.missing == ROWS
    assert len(features.store.missing(keys)) == len(keys)
    for use in (lambda: features.store.fill(keys, lambda positions: ()), lambda: features.store.activations(keys)):
        with pytest.raises(CacheError, match="set aside for good"):
            use()


def test_nothing_is_taken_from_an_earlier_cut_that_computes_otherwise(monkeypatch):
    key = opened("0")[1].key
    monkeypatch.setenv("TEST_SCALE", "2")
    feed, explained, lines = opened()  # goes on from the earlier frontier, were it as it was
    assert explained.key != key
    assert any(line.startswith("set aside for good") and key in line for line in lines)
    assert feed.cache["rows"] == {"computed": ROWS, "found": 0}


def test_a_failed_spot_check_is_not_forgotten(rows_of, monkeypatch):
    opened()
    store = rows_of.store
    with pytest.raises(CacheError, match="differ"):
        spot_check(store, rows_of.keys, lambda positions: [torch.full((len(positions), 5), 9.0)])
    assert "differ" in store.quarantined
    assert opened()[0].cache["kind"] == "memory"


@pytest.fixture
def rows_of():
    """Keys of the training rows, and the place of their activations."""

    class Found:
        data = load((X, Y))
        keys = data.train.inputs.digests()

        @property
        def store(self) -> Any:
            upcoming = Upcoming(2, partial(half_steps, supervised("classification", 4)), comparable=False)
            compute = Compute(torch.device("cpu"), "float32")
            return plan_features(network(), self.data, compute, StoringSettings(cache_dir="cache"), upcoming).store

    return Found()


def test_where_memory_does_not_hold_them_they_are_computed_in_each_epoch(monkeypatch):
    opened()
    monkeypatch.setenv("TEST_SCALE", "2")
    monkeypatch.setattr(feeding, "_fits", lambda *_: False)
    feed, _, lines = opened()
    assert feed.cache is None
    assert any("computed anew in each epoch" in line for line in lines)


def test_an_older_cache_without_a_probe_gets_one(monkeypatch):
    opened()
    (probe,) = ActivationCache("cache").root.glob("*/probe.safetensors")
    probe.unlink()
    assert opened()[0].cache["hit"]
    assert probe.is_file()
