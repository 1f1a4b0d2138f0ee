"""Versions of the training rows: which epoch reads which, always the same ones, computed once, and refreshed."""

import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, fx, nn

from finished_runs import weights
from listening import Listener
from reuse.augmenting.augmentation import parse_augmentation
from reuse.augmenting.viewed import Viewed
from reuse.augmenting.views import Viewing, Views, described
from reuse.caching.store import PrefixCache
from reuse.data.arrays import ArrayInputs
from reuse.data.dataset import Dataset
from reuse.data.inputs import Inputs
from reuse.data.preprocessing import Preprocessing
from reuse.data.rows import Resident, Rows
from reuse.devices import Compute, moved
from reuse.errors import CacheError, UsageError
from reuse.features import filling
from reuse.features.feeding import Feed, feed_computed, feed_inputs
from reuse.features.filling import Computed
from reuse.features.planned import PlannedFeatures
from reuse.features.rotating import Rotating
from reuse.finetuning import feeding as phase_feeding
from reuse.finetuning.finetune import finetune, plan
from reuse.pretraining.pretrain import pretrain
from reuse.runs.fitting import Interrupted
from reuse.runs.results import Result

RANDOM = np.random.default_rng(0)
X = RANDOM.random((150, 9)).astype(np.float32)
Y = np.arange(150) % 3
NOISE = "noise:0.3,mask:0.1"
LIVE = ("hidden3.linear.weight",)


class Slots:
    """The plain way to say it: places, of which the oldest but the first is given to each new version."""

    def __init__(self, count: int, refresh: int | None) -> None:
        self.places, self.count, self.refresh, self.new = list(range(count)), count, refresh, 0

    def epoch(self, number: int) -> int:
        while self.refresh and number > (self.new + 1) * self.refresh:
            self.places[1 + self.new % (self.count - 1)] = self.count + self.new
            self.new += 1
        return self.places[(number - 1) % self.count]


@given(st.integers(2, 6), st.one_of(st.none(), st.integers(1, 7)))
def test_each_new_version_takes_the_place_of_the_oldest(count: int, refresh: int | None) -> None:
    slots, views = Slots(count, refresh), Views(count, refresh)
    for number in range(1, 40):
        assert views.of_epoch(number) == slots.epoch(number)
        assert views.versions(number) == slots.places
        following = views.next_change(number)
        assert (following is None) == (refresh is None)
        if following is not None:
            assert views.versions(following - 1) == views.versions(number) != views.versions(following)


def rows(values: np.ndarray = X) -> Inputs:
    return ArrayInputs(values, np.arange(len(values)), Preprocessing("vectors"))


def viewed(values: np.ndarray = X, text: str = NOISE, seed: int = 0, number: int = 1) -> Viewed:
    return Viewed(rows(values), parse_augmentation(text, values.shape[1:]), text, seed, number)


def test_a_version_is_the_same_in_any_order_and_leaves_the_random_state_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    order = torch.from_numpy(RANDOM.permutation(150))
    (shuffled,) = viewed().gather(order)
    whole = viewed().resident()
    assert whole is not None
    assert torch.equal(shuffled, whole[order])
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(whole, torch.from_numpy(X))
    assert abs(float((whole[whole != 0] - torch.from_numpy(X)[whole != 0]).std()) - 0.3) < 0.02, "noise of 0.3"


def test_equal_digests_mean_equal_rows_and_everything_that_decides_them_is_in_them() -> None:
    first = viewed()
    assert np.array_equal(first.digests(), viewed().digests())
    others = [viewed(number=2), viewed(seed=1), viewed(text="noise:0.3"), viewed(X + 1), rows()]
    seen = {row.tobytes() for row in first.digests()}
    assert len(seen) == 150
    for other in others:
        assert seen.isdisjoint(row.tobytes() for row in other.digests())
    changed = X.copy()
    changed[3] += 1  # neighbours are changed together with it
    kept = (viewed(changed).digests() == first.digests()).all(1)
    assert kept.tolist() == [False] * 64 + [True] * 86
    assert torch.equal(viewed(changed).gather(torch.arange(64, 150))[0], first.gather(torch.arange(64, 150))[0])


# Training on them


@pytest.fixture
def source(cached_however_small: None) -> str:
    pretrain(data=(X, None), model="mlp:12,10,8", epochs=1, norm="batch", out="source")
    return "source"


SETTINGS: dict[str, Any] = {
    "data": (X, Y),
    "freeze": "hidden1,hidden2",
    "augment": NOISE,
    "views": 3,
    "epochs": 7,
    "early_stopping": False,
}


def tuned(**settings: Any) -> Result:
    return finetune("source", **{**SETTINGS, **settings})


def assert_same(one: str | Path, other: str | Path, atol: float = 0) -> None:
    torch.testing.assert_close(weights(one), weights(other), rtol=0, atol=atol)


class Plainly:
    """The versions in turn, said as plainly as can be: every one is made whenever it is read."""

    def __init__(self, viewing: Viewing, plain: Rows, compute: Compute, alternate: bool) -> None:
        self.plain, self.device = plain, plain.device
        self._viewing, self._compute, self._alternate = viewing, compute, alternate
        self.read: list[int] = []
        self.computed = 0

    def close(self) -> list[str]:
        return []

    def __len__(self) -> int:
        return len(self.plain)

    def gather(self, indices: Tensor) -> tuple[Tensor, ...]:
        return self.plain.gather(indices)

    def in_epoch(self, number: int) -> Rows:
        slots = Slots(self._viewing.views.count, self._viewing.views.refresh)
        turns = [slots.epoch(turn) for turn in range(1, number + 1)]  # one slot after the other
        turn = (number + 1) // 2 if self._alternate else number
        found = self._viewing.version(turns[turn - 1]).resident()
        assert found is not None
        self.read.append(turns[turn - 1])
        return Resident(moved(found, self._compute))


@pytest.mark.parametrize("kind", ["disk", "memory", "none"])
@pytest.mark.parametrize(
    "settings", [{}, {"unfreeze": "3:hidden2"}, {"alternate": True, "views": 2}, {"mixup": 0.3, "feature_noise": 0.1}]
)
def test_cached_views_equal_the_whole_model_on_the_same_versions(
    source: str, kind: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so they do where nothing is cached: the plan, which is measured, decides nothing of what is learned."""
    settings = {"precision": "float64", "refresh_views": 2, "optimizer": "momentum", **settings}
    cache = {"cache": False} if kind == "none" else {"cache_kind": kind}
    assert (tuned(**settings, **cache, out="cached").cache is None) == (kind == "none")
    plainly: list[Plainly] = []

    def on_inputs(features: PlannedFeatures, data: Dataset, compute: Compute, *_: Any) -> Feed:
        feed = feed_computed(replace(features, viewing=None), data, compute)
        plain, targets = feed.splits["train"]
        assert features.viewing is not None
        whole, alternate = feed_inputs(nn.Linear(1, 1), data, compute), settings.get("alternate", False)
        inputs = Plainly(features.viewing, whole.splits["train"][0], compute, alternate)
        plainly.append(inputs)

        class OnFeatures(Plainly):
            def in_epoch(self, number: int) -> Rows:
                return Computed(inputs.in_epoch(number), features.parts.prefix, compute)

        rows = OnFeatures(features.viewing, plain, compute, alternate)
        return replace(feed, splits={**feed.splits, "train": (rows, targets)}, viewed=True)

    monkeypatch.setattr(phase_feeding, "feed_activations", on_inputs)
    tuned(**settings, out="whole")
    assert_same("cached", "whole", 1e-9)
    assert all((weights("cached")[name] - weights("source")[name]).abs().max() > 1e-3 for name in LIVE)
    assert len({version for rows in plainly for version in rows.read}) > 1, "a changed version was read"


def slow_down(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Have each block of a changed version take its time, where it is computed in the background."""
    block = Viewed._block

    def slow(self: Viewed, number: int) -> Tensor:
        if threading.current_thread() is not threading.main_thread():
            threading.Event().wait(seconds)
        return block(self, number)

    monkeypatch.setattr(Viewed, "_block", slow)


@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_what_is_computed_as_a_phase_ends_is_not_computed_with_the_weights_of_the_next(
    source: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"views": 2, "refresh_views": 2, "unfreeze": "4:hidden2", "epochs": 8, "cache_kind": kind}
    tuned(**settings, out="fast", cache_dir="fast-cache")
    slow_down(monkeypatch, 0.05)
    tuned(**settings, out="slow", cache_dir="slow-cache")
    assert_same("fast", "slow")
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("views")]


def test_an_interrupted_training_leaves_nothing_running(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slow_down(monkeypatch, 0.05)
    with pytest.raises(Interrupted):
        tuned(refresh_views=1, epochs=40, reporter=Listener(2))
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("views")]


@given(st.integers(2, 5), st.one_of(st.none(), st.integers(1, 4)), st.booleans())
def test_what_is_computed_is_what_is_read(count: int, refresh: int | None, alternate: bool) -> None:
    views = Views(count, refresh, alternate)
    viewing = Viewing(views, rows(), parse_augmentation(NOISE, (9,)), NOISE, 0, (1, 25))
    made: list[int] = []

    def make(number: int, advance: Any) -> Rows:
        made.append(number)
        return Resident(torch.zeros(150, 1))

    first = {0: Resident(torch.zeros(150, 1)), **{n: Resident(torch.zeros(150, 1)) for n in viewing.changed}}
    rotating = Rotating(viewing, first, make)
    for number in range(1, 26):
        if not (alternate and number % 2 == 0):
            rotating.in_epoch(number)
            assert len(rotating._versions) + len(rotating._pending) <= count + 1
    assert rotating.close() == []
    assert sorted(made) == sorted(viewing.later), "each new version that is read, once, and no other"


def test_each_version_is_computed_once(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: Counter[str] = Counter()
    run = filling.run_frozen

    def counted(module: fx.GraphModule, tensors: tuple[Tensor, ...], *others: Any) -> tuple[Tensor, ...]:
        rows["computed"] += len(tensors[0])
        return run(module, tensors, *others)

    monkeypatch.setattr(filling, "run_frozen", counted)
    first = tuned(cache_kind="disk")
    train = first.sizes["train"]
    assert rows["computed"] == 150 + 2 * train
    assert first.cache is not None
    assert first.cache["rows"] == {"computed": 150 + 2 * train, "found": 0}
    rows.clear()
    again = tuned(cache_kind="disk", views=4)
    assert again.cache is not None
    assert again.cache["rows"] == {"computed": train, "found": 150 + 2 * train}
    assert rows["computed"] <= train + 4, "what there was is found, but for the rows that a spot check computes"
    rows.clear()
    tuned(cache_kind="disk", views=4, refresh_views=2)
    # Epochs read 0, 1, 2, 3, 0, 5, 6: of these 5 and 6 are new, and spot checks compute 4 rows of what was there.
    assert 2 * train <= rows["computed"] <= 2 * train + 4
    rows.clear()
    tuned(cache_kind="disk", views=4, refresh_views=2)
    assert rows["computed"] <= 3 * 4, "all is found, and some of it checked"


@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_resumed_with_new_versions_is_uninterrupted(source: str, kind: str) -> None:
    settings = {"refresh_views": 2, "cache_kind": kind}
    tuned(**settings, out="whole")
    for after in (1, 2, 4, 6):
        with pytest.raises(Interrupted):
            tuned(**settings, out=f"run-{after}", reporter=Listener(after))
        finetune(resume=f"run-{after}", data=(X, Y))
        assert_same("whole", f"run-{after}")


def test_what_fails_in_the_background_stops_the_training(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill = PrefixCache.fill

    def failing(self: PrefixCache, keys: np.ndarray, *given: Any, **settings: Any) -> Any:
        if len(keys) < 150:
            raise CacheError("the disk is full")
        return fill(self, keys, *given, **settings)

    monkeypatch.setattr(PrefixCache, "fill", failing)
    with pytest.raises(CacheError, match="the disk is full"):
        tuned(refresh_views=1, cache_kind="disk")


def test_the_plan_says_what_views_cost(source: str) -> None:
    tuned(refresh_views=2, reporter=(said := Listener()))
    told = "\n".join(said.lines)
    assert f"views: 3 versions of each training row, as it is and changed by {NOISE}, a new one every 2 epochs" in told
    _, prepared = plan(source="source", **{**SETTINGS, "refresh_views": 2})
    train = len(prepared.lookup.keys.splits["train"])
    assert prepared.plan.views == 5, "seven epochs read 0, 1, 2, 0, 3, 4, 0"
    assert prepared.plan.stored_rows == 150 + 4 * train
    assert f"{150 + 4 * train} rows, none cached yet" in told
    assert prepared.plan.bytes == prepared.plan.stored_rows * prepared.plan.bytes_per_sample


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"augment": None}, "name changes by augment"),
        ({"views": 1}, "give 2 or more"),
        ({"refresh_views": 0}, "1 or more"),
        ({"views": None, "refresh_views": 2}, "say with views how many"),
        ({"augment": "mirror"}, "for images"),
    ],
)
def test_what_does_not_go_together_is_refused_at_once(source: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        tuned(**settings, out="never")
    assert not Path("never").exists()


def test_versions_do_not_depend_on_where_our_code_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    def digests() -> list[str]:
        images = Preprocessing("images", 255.0, image_size=(8, 8), channels=3)
        names = ("shift:1", "mirror", "rotate:10", "brightness:0.2", "erase:0.1", "noise:0.1")
        return [described(parse_augmentation(name, (3, 8, 8), images)) for name in names]

    before = digests()
    assert len(set(before)) == len(before)
    for name, module in list(sys.modules.items()):
        if name.startswith("reuse.augmenting"):
            for thing in vars(module).values():
                if getattr(thing, "__module__", None) == name and isinstance(thing, type | FunctionType):
                    monkeypatch.setattr(thing, "__module__", "reuse.elsewhere")
    assert digests() == before
