"""`pretrain`: train layers that others will reuse, without labels or on the labels of another task."""

import time
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import nn

from reuse.data.dataset import Dataset
from reuse.data.preprocessing import Preprocessing
from reuse.distributed import from_main
from reuse.equipping import make_trainer
from reuse.errors import UsageError
from reuse.feeding import feed_inputs
from reuse.lookup import lookup
from reuse.nn.decoders import Autoencoder, build_decoder, encoder_of
from reuse.nn.word_vectors import WordVectors
from reuse.objectives.autoencoder import Reconstruction
from reuse.objectives.menu import OBJECTIVES
from reuse.objectives.objective import Objective
from reuse.results import Result
from reuse.running import (
    build_options,
    check_epochs,
    check_same_data,
    choose_compute,
    continued,
    data_digests,
    describe_model,
    load_data,
    make_objective,
    make_recipe,
    plain_settings,
    take_part,
    train,
    unlike_defaults,
)
from reuse.runs.checkpoints import load_newest, savable_tensors, save_start
from reuse.runs.fitting import interruptible
from reuse.runs.folder import DECODER, WEIGHTS, RunFolder
from reuse.runs.models import ModelRecipe
from reuse.runs.preprocessing import preprocessing_for
from reuse.runs.reporting import Reporter
from reuse.runs.tensor_files import save_tensors
from reuse.seeding import seed_everything
from reuse.settings import Settings, all_settings
from reuse.training.parallel import describe_spread, spread


def pretrain(
    objective: str = "autoencoder",
    *,
    data: Any = "digits",
    model: str = "mlp:100,50,25",
    transductive: bool = False,
    noise: float | None = None,
    epochs: int = 100,
    learning_rate: float = 3e-3,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    reporter: Reporter | None = None,
    **settings: Unpack[Settings],
) -> Result:
    """Train a model whose lower layers are to be reused, and leave a run folder.

    Args:
        objective: a name of `reuse pretrain --list`: `autoencoder`, `denoising_autoencoder`, or `supervised` on the
            labels of a similar task with more of them.
        data: a data spec or arrays (see `reuse.load`).
        model: a model spec (see `reuse.build`); an autoencoder's decoder is built from it.
        transductive: train on the test rows' inputs too, without their labels.
        noise: for autoencoders: the standard deviation of Gaussian noise on the inputs, or the share of them that a
            `denoising_autoencoder` masks; None takes the objective's own.
        epochs: the greatest number of epochs.
        learning_rate: the full rate.
        out: the run folder; by default a new one under `runs`.
        resume: a run folder to go on with; what is not given otherwise comes from its settings.
        reporter: told of lines and epochs; by default nobody is.
        settings: what both commands take (see `reuse.settings.Settings`).

    Returns:
        What the training came to.

    Raises:
        UsageError, DataError, RunError: something given cannot be taken; the message says what to do.

    Example:
        >>> result = pretrain(data="digits", model="mlp:100,50,25", epochs=5)  # doctest: +SKIP
        >>> finetune(result.run, freeze="hidden1,hidden2")  # doctest: +SKIP
    """
    arguments = all_settings(pretrain, locals())
    if resume is not None:
        return go_on(**unlike_defaults(pretrain, arguments))
    chosen = plain_settings(arguments)
    check_epochs(chosen)
    return _pretrain(chosen, data, None, take_part(reporter), out=out)


def go_on(resume: str | Path, *, reporter: Reporter | None = None, **given: Any) -> Result:
    """Go on with a pretraining that was interrupted, or for more epochs.

    `pretrain(resume=...)` comes here; it cannot tell an argument that is given its default from one that is not given.

    Args:
        resume: the run folder.
        reporter: told of lines and epochs.
        given: settings of `pretrain` that are to differ from those that the run began with.

    Raises:
        UsageError, DataError, RunError: as `pretrain`; other rows than those that the run began with.
    """
    listener, run = take_part(reporter), RunFolder.open(resume)
    settings, spec = continued(pretrain, given, run)
    return _pretrain(settings, spec, run, listener, resume=True)


def _pretrain(
    settings: dict[str, Any],
    data_spec: Any,
    run: RunFolder | None,
    reporter: Reporter,
    *,
    resume: bool = False,
    out: str | Path | None = None,
) -> Result:
    started = time.perf_counter()
    menu_entry = lookup(OBJECTIVES, settings["objective"], "objective")
    _refuse_unused(settings, menu_entry.needs_labels)
    compute = choose_compute(settings)
    seed_everything(settings["seed"])
    data = _load(settings, data_spec, run, menu_entry.needs_labels)
    loaded = time.perf_counter()
    for note in data.notes:
        reporter.line(note)
    settings = {**settings, **build_options(settings)}
    recipe, vectors = make_recipe(settings, data)
    vectors = None if resume else vectors
    encoder, trained, objective = _build(recipe, settings, data, vectors, trust=settings["trust"] or not resume)
    for line in (*([vectors.note] if vectors else []), *describe_model(encoder, settings, data)):
        reporter.line(line)
    trained.to(compute.device, compute.dtype)
    if run is None:
        run = from_main(lambda: _new_run(trained, settings, recipe, data, out))
    else:
        check_same_data(run, data)
        load_newest(run, trained)
        run.write_settings("pretrain", settings)
    for line in describe_spread(trained):
        reporter.line(line)
    reporter.line(f"pretraining {recipe.spec} as {settings['objective']} on {data.name}: {_sizes(data)}")
    with interruptible(run):
        feed = feed_inputs(trained, data, compute)
        feed.network = spread(trained, feed.network, settings["parallel"])
        done = train(make_trainer(trained, objective, feed, settings, data), feed, settings, run, reporter, resume)
        save_tensors(run.path / WEIGHTS, savable_tensors(encoder))
        if isinstance(trained, Autoencoder):
            save_tensors(run.path / DECODER, savable_tensors(trained.decoder))
    seconds = {
        "load": loaded - started,
        "prepare": 0.0,
        "digest": 0.0,
        "cache": 0.0,
        "train": done.seconds,
        "total": time.perf_counter() - started,
    }
    result = Result(
        run=str(run.path),
        source=None,
        settings=settings,
        epochs=done.fitted.epochs,
        best_epoch=done.fitted.best_epoch,
        sizes=data.sizes,
        metrics=done.metrics,
        seconds={name: round(value, 4) for name, value in seconds.items()},
        fresh=tuple(name for name, _ in encoder.named_children()),
        phases=({"epoch": 1, "frozen": []},),
        notes=data.notes,
    )
    run.write_result(result.to_dict())
    return result


def _new_run(
    trained: nn.Module, settings: dict[str, Any], recipe: ModelRecipe, data: Dataset, out: str | Path | None
) -> RunFolder:
    run = RunFolder.create("pretrain", out)
    save_start(run, trained)
    run.write_settings("pretrain", settings)
    run.write_manifest(_manifest(settings, recipe, data))
    return run


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


def _build(
    recipe: ModelRecipe, settings: dict[str, Any], data: Dataset, vectors: WordVectors | None, trust: bool
) -> tuple[nn.Module, nn.Module, Objective]:
    """Return the module whose layers are reused, the module that is trained, and what is minimised."""
    entry = OBJECTIVES[settings["objective"]]
    model = recipe.build(embeddings=vectors, trust=trust)
    if entry.needs_labels:
        return model, model, make_objective(settings, data)
    objective = entry.make()
    if settings["noise"] is not None:
        kind = objective.kind if isinstance(objective, Reconstruction) else "gaussian"
        objective = Reconstruction(settings["noise"], kind)
    encoder = encoder_of(model)
    decoder = build_decoder(encoder, torch.zeros(1, *data.input_shape, dtype=data.train.inputs.dtype))
    return encoder, Autoencoder(encoder, decoder), objective


def _manifest(settings: dict[str, Any], recipe: ModelRecipe, data: Dataset) -> dict[str, Any]:
    labelled = OBJECTIVES[settings["objective"]].needs_labels
    return {
        "kind": "pretrain",
        "objective": settings["objective"],
        "task": data.task if labelled else None,
        "classes": list(data.classes) if labelled else [],
        "model": recipe.to_dict(),
        "data": data.name,
        "preprocessing": data.preprocessing.to_dict(),
        "rows": data_digests(data),
    }


def _refuse_unused(settings: dict[str, Any], needs_labels: bool) -> None:
    """Raise where a setting would be taken and not used."""
    name = settings["objective"]
    if needs_labels and settings["noise"] is not None:
        raise UsageError(f"noise is for autoencoders, and the objective is {name}: leave it out")
    if not needs_labels and settings["labels"] is not None:
        raise UsageError(f"{name} uses no labels, so labels would change nothing but the rows: leave it out")
    if not needs_labels and settings["label_smoothing"]:
        raise UsageError(f"{name} uses no labels, so there are none to smooth: leave label_smoothing out")
    if not needs_labels and settings["class_weights"] is not None:
        raise UsageError(f"{name} uses no labels, so there are no classes to weigh: leave class_weights out")
    for mix in ("mixup", "cutmix"):
        if not needs_labels and settings[mix]:
            raise UsageError(f"{name} uses no labels, and {mix} mixes labels: leave it out")


def _sizes(data: Dataset) -> str:
    return ", ".join(f"{rows} {name}" for name, rows in data.sizes.items())
