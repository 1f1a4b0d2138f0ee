"""All methods of the menu: each trains, resumes, lends its layers, and takes its own settings as text."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

import reuse
from finished_runs import history
from listening import Listener
from reuse.errors import UnknownNameError, UsageError
from reuse.objectives.autoencoder import Denoising, Reconstruction
from reuse.objectives.byol import Byol
from reuse.objectives.menu import OBJECTIVES, listed, parse_objective
from reuse.runs.fitting import Interrupted

ROWS = np.random.default_rng(0).random((60, 9), dtype=np.float32)
LABELS = np.arange(60) % 3
INPUTS: dict[str, tuple[np.ndarray, str, str]] = {
    "tables": (ROWS, "mlp:12,8", "hidden1"),
    "images": (np.random.default_rng(0).random((60, 3, 8, 8), dtype=np.float32), "mlp:12,8", "hidden1"),
    "sequences": (ROWS.reshape(60, 3, 3), "gru:8", "gru1"),
}
TARGETS = {"multitask": np.stack([LABELS, ROWS[:, 0]], axis=1)}
"""What labels alone are not enough for."""
OPTIONS: dict[str, dict[str, Any]] = {
    "rbm": {"model": "mlp:12", "activation": "sigmoid"},
    "dbn": {"activation": "sigmoid"},
}
"""What a method asks of its encoder."""
CASES = [(name, kind) for name, entry in OBJECTIVES.items() for kind in entry.kind.suits]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_method_is_read_in_a_page(name: str) -> None:
    """One file an idea, beside its paper, at most 120 lines; networks that are no idea of the method's lie in `nn`."""
    path = inspect.getsourcefile(OBJECTIVES[name].kind)
    assert path is not None
    assert len(Path(path).read_text().splitlines()) <= 120


def settings_for(name: str, kind: str) -> dict[str, Any]:
    """Return the arguments of a short pretraining on data of a kind, with labels where it needs them."""
    rows, model, _ = INPUTS[kind]
    if "teacher" in OBJECTIVES[name].settings:
        reuse.pretrain("supervised", data=(rows, LABELS), model=model, epochs=1, out="teacher")
        return {**settings_for("supervised", kind), "objective": f"{name}:teacher=teacher"}
    targets = TARGETS.get(name, LABELS) if OBJECTIVES[name].kind.needs_labels else None
    given = {"objective": name, "data": (rows, targets), "model": model, "epochs": 2, "batch_size": 16}
    return {**given, **OPTIONS.get(name, {})}


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_it_trains_on_all_that_it_suits_and_its_layers_are_frozen_cut_and_cached(name: str, kind: str) -> None:
    rows, _, lowest = INPUTS[kind]
    reuse.pretrain(**settings_for(name, kind), out="run")
    plain, cached = (
        reuse.finetune("run", freeze=lowest, data=(rows, LABELS), epochs=1, cache=cache, out=f"cached-{cache}")
        for cache in (False, True)
    )
    assert cached.frozen == (lowest,)
    assert cached.cache is not None
    for one, other in zip(history("cached-True"), history("cached-False"), strict=True):
        assert one["train"]["loss"] == pytest.approx(other["train"]["loss"], rel=1e-5)
    assert plain.metrics["test"]["loss"] == pytest.approx(cached.metrics["test"]["loss"], rel=1e-5)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_it_is_resumed_bit_for_bit(name: str) -> None:
    settings = settings_for(name, OBJECTIVES[name].kind.suits[0])
    reuse.pretrain(**settings, out="whole")
    with pytest.raises(Interrupted):
        reuse.pretrain(**settings, out="run", reporter=Listener(1))
    reuse.pretrain(resume="run", data=settings["data"])
    assert history("run") == history("whole")
    files = {path.name for path in Path("whole").glob("*.safetensors")}
    assert files == {path.name for path in Path("run").glob("*.safetensors")}
    for file in files:
        ours, theirs = load_file(f"run/{file}"), load_file(f"whole/{file}")
        assert ours.keys() == theirs.keys()
        assert all(ours[key].equal(theirs[key]) for key in ours), file


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_menu_says_what_it_learns_for_which_data_and_where_it_is_from(name: str) -> None:
    kind = OBJECTIVES[name].kind
    assert kind.summary == kind.summary.strip().rstrip(".")
    assert "\n" not in kind.summary
    assert kind.summary[0].islower()
    assert kind.suits
    assert set(kind.suits) <= INPUTS.keys()
    assert " http" in kind.paper
    assert all(setting.help for setting in OBJECTIVES[name].settings.values()), "each setting is documented"
    assert parse_objective(name) == kind()


def test_groups_stand_together() -> None:
    groups = [entry["group"] for entry in listed()]
    changes = [one for one, other in zip(groups, [None, *groups], strict=False) if one != other]
    assert len(changes) == len(set(groups))


def test_own_settings_are_read_behind_the_colon_in_the_types_of_the_fields() -> None:
    assert parse_objective("denoising_autoencoder:noise=0.5") == Denoising(0.5)
    assert parse_objective("autoencoder:1") == Reconstruction(1.0)
    assert parse_objective("autoencoder:kind=masking,noise=0") == Reconstruction(0.0, "masking")
    byol = parse_objective("byol:momentum=1,size=8")
    assert byol == Byol(momentum=1.0, size=8)
    teacher = OBJECTIVES["distillation"].kind
    for path in ("runs/teacher", "/runs/teacher", "../runs/rate=0.1", "2024"):
        assert parse_objective(f"distillation:teacher={path},temperature=2") == teacher(path, 2.0)  # type: ignore[call-arg]
        assert parse_objective(f"distillation:{path.replace('=', '')}") == teacher(path.replace("=", ""))  # type: ignore[call-arg]
        assert parse_objective(f"siamese:pairs={path}") == OBJECTIVES["siamese"].kind(pairs=path)  # type: ignore[call-arg]
    assert parse_objective("siamese:pairs=none") == OBJECTIVES["siamese"].kind()
    weights = parse_objective("multitask:weights=1/0.5")
    assert weights == OBJECTIVES["multitask"].kind(weights=(1.0, 0.5))  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("byol:momentun=1", UsageError, r"byol takes no 'momentun' \(did you mean 'momentum'"),
        ("byol:size=large", UsageError, "size is 'large'; give a number"),
        ("byol:size=1.5", UsageError, r"size is 1\.5: a whole number is expected"),
        ("rotation:turns=3", UsageError, "rotation takes no arguments"),
        ("byoll:size=3", UnknownNameError, "did you mean 'byol'"),
        ("byol:", UsageError, "empty place"),
        (":x", UsageError, "objective ':x' cannot be read: it has an empty place"),
        (" :size=8", UsageError, "objective ' :size=8' cannot be read: it has an empty place"),
    ],
)
def test_what_it_has_not_is_refused_with_what_it_has(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        reuse.pretrain(text, data=(ROWS, None), model="mlp:4", out="run")
    assert not Path("run").exists()


def test_the_run_keeps_the_text_and_is_resumed_by_it() -> None:
    settings = settings_for("byol", "tables")
    result = reuse.pretrain(**{**settings, "objective": "byol:momentum=0.5,size=8"}, out="run")
    assert result.settings["objective"] == "byol:momentum=0.5,size=8"
    given = reuse.pretrain(**{**settings, "objective": Byol(momentum=0.5, size=8)}, out="given")
    assert given.metrics == result.metrics
