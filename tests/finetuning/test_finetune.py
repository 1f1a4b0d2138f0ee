"""What fine-tuning takes from its source, what it says, and what it refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import reuse
from listening import Listener
from reuse.errors import CacheError, DataError, UnknownNameError, UsageError
from reuse.finetuning.finetune import finetune, plan
from reuse.reporting import Reporter
from reuse.runs.folder import RunFolder
from reuse.settings.commands import FinetuneSettings

RNG = np.random.default_rng(0)
ARRAYS = {"x": RNG.normal(size=(90, 6)).astype(np.float32), "y": np.arange(90) % 3}
QUICK: dict[str, Any] = {"epochs": 2, "device": "cpu"}


@pytest.fixture
def source() -> str:
    return reuse.pretrain(data=ARRAYS, model="mlp:8,6", out="source", **QUICK).run


def test_the_test_rows_are_none_that_the_source_trained_on() -> None:
    """Whatever the two seeds: rows of the same data are split as the source split them."""
    reuse.pretrain("supervised", data="digits", model="mlp:8", seed=5, out="source", **QUICK)
    tuned = reuse.finetune("source", data="digits", labels=50, seed=1, **QUICK)
    assert (tuned.settings["split_seed"], tuned.settings["seed"]) == (5, 1)
    learnt = reuse.load("digits", seed=5).train.rows
    tested = reuse.load("digits", seed=1, split_seed=5, labels=50).test.rows
    assert not np.intersect1d(learnt, tested).size
    assert np.intersect1d(learnt, reuse.load("digits", seed=1).test.rows).size, "the seed alone would have mixed them"


def test_other_labels_are_drawn_from_the_same_split() -> None:
    few = [reuse.load("digits", seed=seed, split_seed=0, labels=50) for seed in (1, 2)]
    assert np.array_equal(few[0].test.rows, few[1].test.rows)
    assert not np.array_equal(few[0].train.rows, few[1].train.rows)


def test_the_scratch_of_a_comparison_replays_as_what_it_was(source: str) -> None:
    result = reuse.finetune(source, data=ARRAYS, freeze="hidden1", compare=True, out="tuned", **QUICK)
    assert list(result.comparison) == ["scratch", "frozen", "unfrozen"]
    began = load_file("tuned/compared-scratch/checkpoint/frozen.safetensors")
    assert not began, "nothing is frozen"
    saved = reuse.runs.folder.RunFolder(Path("tuned/compared-scratch")).settings()
    assert isinstance(saved, FinetuneSettings)
    assert saved.random_weights is True
    assert saved.freeze == ()


def test_random_weights_restore_nothing(source: str) -> None:
    result = reuse.finetune(source, data=ARRAYS, random_weights=True, compare=False, **QUICK)
    assert result.restored == ()
    assert set(result.fresh) == {"hidden1", "hidden2", "output"}


@pytest.mark.parametrize(
    ("settings", "layers"),
    [({"source": "mlp:8,6", "freeze": "hidden1"}, "hidden1"), ({"restore": "hidden1", "freeze": "hidden2"}, "hidden2")],
)
def test_layers_frozen_at_random_are_named(source: str, settings: dict[str, Any], layers: str) -> None:
    lines = Listener()
    reuse.finetune(**{"source": source, **settings}, data=ARRAYS, compare=False, reporter=lines, **QUICK)
    assert lines.said(f"warning: these frozen layers have random weights: {layers}")
    asked = Listener()
    settings = {**settings, "random_weights": True, "restore": ()}
    reuse.finetune(**{"source": source, **settings}, data=ARRAYS, compare=False, reporter=asked, **QUICK)
    assert asked.said(f"these frozen layers have random weights: {layers}"), "who asked for it is not warned"


def test_restored_layers_are_not_called_random(source: str) -> None:
    lines = Listener()
    reuse.finetune(source, data=ARRAYS, freeze="hidden1", compare=False, reporter=lines, **QUICK)
    assert not lines.said("random weights")


def test_a_resumed_run_takes_even_a_default_that_is_given(source: str) -> None:
    run = reuse.finetune(source, data=ARRAYS, freeze="hidden1", compare=False, patience=500, **QUICK).run
    assert finetune(resume=run, data=ARRAYS, epochs=200).epochs == 200


def test_a_resumed_run_wants_the_rows_it_began_with(source: str) -> None:
    run = reuse.finetune(source, data=ARRAYS, compare=False, **QUICK).run
    other = {**ARRAYS, "y": (np.arange(90) + 1) % 3}
    with pytest.raises(DataError, match="train, valid, test rows differ"):
        reuse.finetune(resume=run, data=other, epochs=3)
    with pytest.raises(DataError, match="rows differ"):
        reuse.pretrain(resume=source, data={"x": ARRAYS["x"] * 2, "y": ARRAYS["y"]}, epochs=3)


def test_an_interrupted_comparison_is_finished_on_resuming(source: str) -> None:
    class Stops(Reporter):
        def line(self, text: str) -> None:
            if "none frozen" in text:
                raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, reuse.ReuseError)):
        reuse.finetune(source, data=ARRAYS, freeze="hidden1", compare=True, out="run", reporter=Stops(), **QUICK)
    lines = Listener()
    result = reuse.finetune(resume="run", data=ARRAYS, reporter=lines)
    assert list(result.comparison) == ["scratch", "frozen", "unfrozen"]
    assert not lines.said("from scratch"), "that one was finished"


def test_activations_that_do_not_fit_their_type_are_an_error() -> None:
    large = {"x": ARRAYS["x"] * 1e6, "y": ARRAYS["y"]}
    preprocessed = reuse.pretrain("supervised", data=ARRAYS, model="mlp:8,6", activation="relu", out="s", **QUICK)
    with pytest.raises(CacheError, match="do not fit float16: use bfloat16"):
        reuse.finetune(preprocessed.run, data=large, freeze="hidden1", cache_dtype="float16", epochs=50)


def test_a_plan_refuses_unknown_settings(source: str) -> None:
    with pytest.raises(UnknownNameError, match="'frezee': did you mean 'freeze'"):
        plan(source=source, frezee="hidden1")
    with pytest.raises(UsageError, match="resumes nothing, and takes no out"):
        plan(source=source, out="x")


def test_plan_counts_the_bytes_that_are_stored(source: str) -> None:
    settings = {"source": source, "data": ARRAYS, "freeze": "hidden1", "epochs": 50}
    full, half = (plan(**settings, cache_dtype=dtype)[1].plan for dtype in (None, "float16"))
    assert full.bytes_per_sample == 2 * half.bytes_per_sample == 4 * 8


def test_few_labels_by_default_only_where_there_are_enough(source: str) -> None:
    small = Path("small.npz")
    np.savez(small, x=ARRAYS["x"][:25], y=ARRAYS["y"][:25])
    reuse.pretrain("supervised", data=str(small), model="mlp:8,6", out="on-file", **QUICK)
    result = reuse.finetune("on-file", freeze="hidden1", compare=False, **QUICK)
    assert result.settings["labels"] is None
    assert sum(result.sizes.values()) == 25
    assert torch.isfinite(torch.tensor(result.metrics["test"]["loss"]))


def test_a_split_without_rows_has_no_metrics() -> None:
    result = reuse.finetune("mlp:8", data="digits", labels=10, **QUICK)
    assert result.metrics["valid"] == {}
    assert result.metrics["test"]


def test_the_notes_of_a_result_say_what_the_command_says(source: str) -> None:
    listener = Listener()
    result = finetune(source, freeze="hidden1,output", data=ARRAYS, reporter=listener, **QUICK)
    assert result.notes[0] == "arrays: 3 classes (0 30, 1 30, 2 30); rows: 57 train, 15 valid, 18 test"
    assert any(
        note.startswith("warning: these frozen layers have random weights") and "output" in note
        for note in result.notes
    )
    assert any(note.startswith("restored from ") for note in result.notes)
    assert set(result.notes) <= set(listener.lines)
    kept = RunFolder(Path(result.run)).result()
    assert kept is not None
    assert tuple(kept["notes"]) == result.notes


def tuned_once(**settings: Any) -> tuple[str, dict[str, torch.Tensor]]:
    reuse.pretrain(data="digits", model="mlp:8,6", out="source", **QUICK)
    first = {"data": "digits", "labels": 60, "seed": 3, "classes": "0-4", "freeze": "hidden1", **settings}
    run = reuse.finetune("source", out="first", compare=False, **first, **QUICK).run
    return run, load_file(f"{run}/weights.safetensors")


@pytest.mark.parametrize("named", [{}, {"data": "digits"}])
def test_going_on_with_a_finetuned_run_keeps_its_rows_and_its_head(named: dict[str, Any]) -> None:
    run, weights = tuned_once()
    listener = Listener()
    on = reuse.finetune(run, learning_rate=1e-12, reporter=listener, **named, **QUICK)
    assert RunFolder(Path(on.run)).manifest().rows == RunFolder(Path(run)).manifest().rows
    assert on.fresh == ()
    assert on.comparison == {}
    for name, tensor in load_file(f"{on.run}/weights.safetensors").items():
        torch.testing.assert_close(tensor, weights[name])
    changes = "learning_rate 1e-12 (was 0.001), freeze none (was hidden1)"
    assert listener.said(
        f"going on from first: its data, labels and output layer are kept; other than there: {changes}"
    )


def test_going_on_draws_other_labels_or_another_seed_only_where_they_are_given() -> None:
    run, _ = tuned_once()
    kept = RunFolder(Path(run)).manifest().rows
    other = reuse.finetune(run, labels=40, **QUICK)
    assert (other.settings["labels"], other.settings["seed"], other.fresh) == (40, 3, ())
    assert reuse.finetune(run, seed=0, **QUICK).settings["seed"] == 0
    rows = RunFolder(Path(other.run)).manifest().rows
    assert rows["test"] == kept["test"]
    assert rows["train"] != kept["train"]


@pytest.mark.parametrize("written", [{"classes": "0,1,2,3,4"}, {"classes": [4, 3, 2, 1, 0]}, {"classes": "0-2,3-4"}])
def test_the_same_classes_written_otherwise_are_no_other_data(written: dict[str, Any]) -> None:
    run, weights = tuned_once()
    on = reuse.finetune(run, learning_rate=1e-12, data="digits", **written, **QUICK)
    assert RunFolder(Path(on.run)).manifest().rows == RunFolder(Path(run)).manifest().rows
    assert (on.fresh, on.settings["classes"]) == ((), "0-4")
    torch.testing.assert_close(load_file(f"{on.run}/weights.safetensors")["output.weight"], weights["output.weight"])


@pytest.mark.parametrize("named", ["0-2", "cat,dog,eel", "eel,dog,cat"])
@pytest.mark.parametrize("data", ["./t.csv", "../{here}/t.csv"])
def test_all_classes_and_another_path_to_the_same_file_are_no_other_data(named: str, data: str) -> None:
    draw = np.random.default_rng(0)
    table = pd.DataFrame({"x": draw.normal(size=60), "y": draw.normal(size=60), "kind": ["cat", "dog", "eel"] * 20})
    table.to_csv("t.csv", index=False)
    run = reuse.finetune("mlp:4", data="t.csv", target="kind", out="first", **QUICK).run
    listener = Listener()
    data = data.format(here=Path.cwd().name)
    on = reuse.finetune(run, data=data, target="kind", classes=named, reporter=listener, **QUICK)
    assert on.fresh == ()
    assert listener.said("going on from first: its data, labels and output layer are kept")
    assert "classes" not in next(line for line in listener.lines if line.startswith("going on"))
    assert "output" in reuse.finetune(run, data="t.csv", target="kind", classes="0,1", **QUICK).fresh


@pytest.mark.parametrize(("given", "kept"), [
    ({"seed": 0}, "data and output layer are kept, other labels are drawn; other than there: "),
    ({"labels": 40}, "data and output layer are kept, other labels are drawn; other than there: "),
    ({"seed": 3}, "data, labels and output layer are kept"),
])  # fmt: skip
def test_going_on_says_whether_labels_are_kept(given: dict[str, Any], kept: str) -> None:
    run, _ = tuned_once()
    rows, listener = RunFolder(Path(run)).manifest().rows, Listener()
    on = reuse.finetune(run, reporter=listener, **given, **QUICK)
    assert listener.said(f"going on from first: its {kept}")
    assert (RunFolder(Path(on.run)).manifest().rows == rows) == ("labels and" in kept)


@pytest.mark.parametrize("settings", [{"classes": "5-9"}, {"restore": "hidden1"}, {"add_layers": "5"}])
def test_another_task_begins_with_a_fresh_head(settings: dict[str, Any]) -> None:
    run, _ = tuned_once()
    assert "output" in reuse.finetune(run, **settings, **QUICK).fresh


def test_a_sweep_over_a_finetuned_run_trains_fresh_heads_on_its_rows() -> None:
    run, _ = tuned_once()
    swept = reuse.sweep(run, freeze="!output", learning_rate=[0.1, 0.01], keep="best", **QUICK)
    assert [swept.settings[name] for name in ("labels", "seed", "classes")] == [60, 3, "0-4"]
    assert "output" in RunFolder(Path(str(swept.kept))).manifest().fresh


def comparisons(source: str, **settings: Any) -> tuple[list[str], dict[str, Any]]:
    listener = Listener()
    result = reuse.finetune(source, data=ARRAYS, compare=True, out="tuned", reporter=listener, **settings, **QUICK)
    return [line for line in listener.lines if line.startswith("for comparison")], result.comparison


def test_a_comparison_trains_nothing_twice(source: str) -> None:
    """With random weights all begins from scratch; with nothing frozen the training is the unfrozen one."""
    trained, table = comparisons(source, random_weights=True, freeze="hidden1")
    assert trained == ["for comparison: from scratch"]
    assert table["unfrozen"] == table["scratch"] != table["frozen"]


def test_a_comparison_of_a_training_that_freezes_nothing(source: str) -> None:
    trained, table = comparisons(source)
    assert trained == ["for comparison: from scratch"]
    assert table["unfrozen"] == table["frozen"] != table["scratch"]


def test_a_comparison_of_a_training_from_scratch_alone_trains_nothing(source: str) -> None:
    trained, table = comparisons(source, random_weights=True)
    assert trained == []
    assert table["unfrozen"] == table["frozen"] == table["scratch"]


def test_a_training_that_has_learned_nothing_says_so_and_what_to_try(source: str) -> None:
    numbers = {"x": ARRAYS["x"], "y": ARRAYS["x"].sum(1)}
    listener = Listener()
    result = reuse.finetune(source, data=numbers, optimizer="sgd", learning_rate=1e-9, reporter=listener, **QUICK)
    told = [line for line in listener.lines if line.startswith("nothing was learned: ")]
    assert len(told) == 1
    assert "the mean of the targets is a better prediction" in told[0]
    assert "a lower rate than 1e-09" in told[0]
    assert told[0] in result.notes


def test_columns_that_are_left_out_on_purpose_stay_out(tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    rows = [
        [*values, sum(values), 1 + number % 2]
        for number, values in enumerate(torch.rand(60, 2, generator=draw).tolist())
    ]
    lines = ["a,b,y,w", *(",".join(map(str, row)) for row in rows)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    table = {"data": str(tmp_path / "t.csv"), "target": "y"}
    reuse.pretrain(model="mlp:4", out="source", ignore=["w"], **table, **QUICK)
    run = reuse.finetune("source", out="first", compare=False, sample_weight="w", **table, **QUICK).run
    assert reuse.finetune(run, **table, **QUICK).settings["sample_weight"] == "w"
    assert reuse.finetune(run, sample_weight=None, ignore=["w"], **table, **QUICK).settings["sample_weight"] is None


def test_channels_last_is_refused_where_several_processes_train(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reuse.setup.trainers.world_size", lambda: 2)
    with pytest.raises(UsageError, match="channels_last trains in one process"):
        reuse.pretrain(data="digits", model="convnet:4", channels_last=True, **QUICK)
