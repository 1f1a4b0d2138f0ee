"""What a pretraining works on: settings filled in, data, the module that is trained, and what is minimised."""

import time
from dataclasses import dataclass
from typing import Any

from torch import nn

from reuse.data.dataset import Dataset
from reuse.data.preprocessing import Preprocessing
from reuse.devices import Compute
from reuse.errors import UsageError
from reuse.objectives.objective import Objective
from reuse.reporting import Reporter
from reuse.runs.folder import WEIGHTS, RunFolder
from reuse.runs.models import ModelRecipe
from reuse.seeding import seed_everything
from reuse.setup.objectives import OBJECT, check_objective, choose_objective, name_of
from reuse.setup.preprocessing import preprocessing_for
from reuse.setup.running import build_options, choose_compute, describe_model, load_data, make_recipe


@dataclass(frozen=True)
class Pretext:
    """Everything that a pretraining needs before a run begins.

    Attributes:
        settings: resolved.
        data: the rows.
        recipe: how the model is built.
        encoder: the module whose layers are reused.
        trained: the module that is trained: the encoder itself, or what the objective has built around it.
        objective: what is minimised.
        compute: where and in which types; `trained` is there.
        load_seconds: what reading took.
    """

    settings: dict[str, Any]
    data: Dataset
    recipe: ModelRecipe
    encoder: nn.Module
    trained: nn.Module
    objective: Objective
    compute: Compute
    load_seconds: float


def new_pretext(settings: dict[str, Any], spec: Any, reporter: Reporter, run: RunFolder | None = None) -> Pretext:
    """Read the data, fill in the settings, and build what is trained.

    Args:
        settings: of `pretrain`, as given.
        spec: of the data, or arrays.
        reporter: told of notes on the data and the model.
        run: that is resumed: its preprocessing is taken, and its weights come later; None: a new one.

    Raises:
        UsageError, DataError, RunError: something given cannot be taken; the message says what to do.
    """
    started = time.perf_counter()
    given = settings["objective"]
    needs_labels = check_objective(given)
    settings = {**settings, "objective": name_of(given)}
    _refuse_unused(settings, needs_labels)
    compute = choose_compute(settings)
    seed_everything(settings["seed"])
    data = _load(settings, spec, run, needs_labels)
    load_seconds = time.perf_counter() - started
    for note in data.notes:
        reporter.line(note)
    settings = {**settings, **build_options(settings)}
    recipe, vectors = make_recipe(settings, data)
    vectors = None if run else vectors
    objective = choose_objective(given, data, settings)
    trained = objective.build(recipe.build(embeddings=vectors, trust=settings["trust"] or not run), data)
    encoder = objective.encoder(trained)
    _refuse_unsavable(objective, trained, encoder)
    for line in (*([vectors.note] if vectors else []), *describe_model(encoder, settings, data)):
        reporter.line(line)
    trained.to(compute.device, compute.dtype)
    return Pretext(settings, data, recipe, encoder, trained, objective, compute, load_seconds)


def _load(settings: dict[str, Any], spec: Any, run: RunFolder | None, needs_labels: bool) -> Dataset:
    if run is not None:
        preprocessing: Preprocessing | None = Preprocessing.from_dict(run.manifest()["preprocessing"])
    else:
        preprocessing = preprocessing_for(settings["model"], settings["image_size"], settings["channels"])
    others = {"labels": settings["labels"], "transductive": settings["transductive"]}
    data = load_data(spec, settings, preprocessing, **others)
    if needs_labels and data.task == "unlabelled":
        raise UsageError(f"objective {settings['objective']} needs labels, and {data.name} has none")
    return data


def _refuse_unsavable(objective: Objective, trained: nn.Module, encoder: nn.Module) -> None:
    """Raise where a file beside the encoder's weights would have their name."""
    if encoder is not trained and WEIGHTS.removesuffix(".safetensors") in trained._modules:
        kind = type(objective).__name__
        raise UsageError(f"{kind} builds a child `weights`, whose file would be the encoder's: call it otherwise")


def _refuse_unused(settings: dict[str, Any], needs_labels: bool) -> None:
    """Raise where a setting would be taken and not used."""
    name = settings["objective"]
    for setting in ("label_smoothing", "class_weights"):
        if needs_labels and name.startswith(OBJECT) and settings[setting]:
            raise UsageError(f"{name} brings its own settings: leave {setting} out, and tell the object")
    if not needs_labels and settings["labels"] is not None:
        raise UsageError(f"{name} uses no labels, so labels would change nothing but the rows: leave it out")
    if not needs_labels and settings["label_smoothing"]:
        raise UsageError(f"{name} uses no labels, so there are none to smooth: leave label_smoothing out")
    if not needs_labels and settings["class_weights"] is not None:
        raise UsageError(f"{name} uses no labels, so there are no classes to weigh: leave class_weights out")
    for mix in ("mixup", "cutmix"):
        if not needs_labels and settings[mix]:
            raise UsageError(f"{name} uses no labels, and {mix} mixes labels: leave it out")
