"""Versions of the training rows: which epoch reads which, always the same ones, computed once, and refreshed."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, fx

from reuse import feeding, phase_feeding
from reuse.caching.store import PrefixCache
from reuse.compute import Compute, moved
from reuse.data.arrays import ArrayInputs
from reuse.data.augmenting import parse_augmentation
from reuse.data.dataset import Dataset
from reuse.data.inputs import Inputs
from reuse.data.preprocessing import Preprocessing
from reuse.data.viewed import Viewed
from reuse.errors import CacheError, UsageError
from reuse.feeding import Feed, feed_inputs
from reuse.finetuning import finetune, plan
from reuse.preparing import Prepared
from reuse.pretraining import pretrain
from reuse.results import Result
from reuse.rotating import Rotating
from reuse.runs.fitting import Interrupted
from reuse.runs.reporting import Reporter
from reuse.training.batches import Resident, Source
from reuse.training.epoch import Epoch
from reuse.viewing import Views

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


def weights(run: str | Path) -> dict[str, Tensor]:
    return load_file(Path(run) / "weights.safetensors")


def assert_same(one: str | Path, other: str | Path, atol: float = 0) -> None:
    torch.testing.assert_close(weights(one), weights(other), rtol=0, atol=atol)


class Interrupt(Reporter):
    def __init__(self, after: int) -> None:
        self.after = after

    def epoch(self, epoch: Epoch, epochs: int) -> None:
        if epoch.number == self.after:
            raise KeyboardInterrupt


def on_inputs(prepared: Prepared, data: Dataset, compute: Compute, *_: Any) -> Feed:
    """Feed the whole model, frozen layers and all, with the versions themselves."""
    viewing = prepared.viewing
    assert viewing is not None

    def version(number: int) -> Source:
        found = viewing.version(number).resident()
        assert found is not None
        return Resident(moved(found, compute))

    feed = feed_inputs(prepared.parts.suffix.model, data, compute)
    plain, targets = feed.splits["train"]
    feed.splits["train"] = Rotating(viewing.views, {0: plain}, version, viewing.epochs[1]), targets
    feed.viewed = True
    return feed


@pytest.mark.parametrize("kind", ["disk", "memory"])
@pytest.mark.parametrize("settings", [{}, {"unfreeze": "3:hidden2"}, {"alternate": True, "mixup": 0.0}])
def test_cached_views_equal_the_whole_model_on_the_same_versions(
    source: str, kind: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"precision": "float64", "refresh_views": 2, "optimizer": "momentum", "cache_kind": kind, **settings}
    cached = tuned(**settings, out="cached")
    assert cached.cache is not None
    monkeypatch.setattr(phase_feeding, "feed_activations", on_inputs)
    assert tuned(**settings, out="whole").cache is None
    assert_same("cached", "whole", 1e-9)
    moved_away = [(weights("cached")[name] - weights("source")[name]).abs().max() > 1e-3 for name in LIVE]
    assert all(moved_away), "something was trained"


def test_each_version_is_computed_once(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: Counter[str] = Counter()
    run = feeding._run_frozen

    def counted(module: fx.GraphModule, tensors: tuple[Tensor, ...], *others: Any) -> tuple[Tensor, ...]:
        rows["computed"] += len(tensors[0])
        return run(module, tensors, *others)

    monkeypatch.setattr(feeding, "_run_frozen", counted)
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
    assert rows["computed"] <= 3 * train + 4 * 4, "epochs 3, 5 and 7 begin with a new version each"


@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_resumed_with_new_versions_is_uninterrupted(source: str, kind: str) -> None:
    settings = {"refresh_views": 2, "cache_kind": kind}
    tuned(**settings, out="whole")
    for after in (1, 2, 4, 6):
        with pytest.raises(Interrupted):
            tuned(**settings, out=f"run-{after}", reporter=Interrupt(after))
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


class Said(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def test_the_plan_says_what_views_cost(source: str) -> None:
    tuned(refresh_views=2, reporter=(said := Said()))
    told = "\n".join(said.lines)
    assert f"views: 3 versions of each training row, as it is and changed by {NOISE}, a new one every 2 epochs" in told
    _, prepared = plan(source="source", **{**SETTINGS, "refresh_views": 2})
    train = len(prepared.keys["train"])
    assert prepared.plan.views == 6
    assert prepared.plan.stored_rows == 150 + 5 * train
    assert f"of {150 + 5 * train} rows to compute" in told
    assert prepared.plan.bytes == prepared.plan.stored_rows * prepared.plan.bytes_per_sample


@pytest.mark.parametrize("settings", [{"cache": False}, {"freeze": ()}])
def test_without_a_cache_the_rows_are_changed_anew_and_that_is_said(source: str, settings: dict[str, Any]) -> None:
    tuned(**settings, epochs=2, reporter=(said := Said()), out="views")
    assert [line for line in said.lines if line.startswith("no views: nothing is cached")]
    tuned(**settings, epochs=2, views=None, out="anew")
    assert_same("views", "anew")


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
