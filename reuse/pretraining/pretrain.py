"""`pretrain`: train layers that others will reuse, without labels or on the labels of another task."""

import time
from pathlib import Path
from typing import Any, Unpack

from torch import nn

from reuse.data.dataset import Dataset
from reuse.distributed import from_main
from reuse.features.feeding import feed_inputs
from reuse.objectives.objective import Objective
from reuse.reporting import Reporter
from reuse.runs.checkpoints import load_newest, savable_tensors, save_start
from reuse.runs.fitting import interruptible
from reuse.runs.folder import WEIGHTS, RunFolder
from reuse.runs.results import Result
from reuse.runs.tensor_files import save_tensors
from reuse.settings import Settings, all_settings
from reuse.setup.pretraining import Pretext, new_pretext
from reuse.setup.running import (
    check_epochs,
    check_same_data,
    continued,
    data_digests,
    plain_settings,
    take_part,
    train,
    unlike_defaults,
)
from reuse.setup.trainers import equip, make_trainer
from reuse.training.parallel import describe_spread, spread


def pretrain(
    objective: str | Objective = "autoencoder",
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
        objective: a name of `reuse pretrain --list`: `autoencoder`, `denoising_autoencoder`, `variational`, `byol`,
            `gan`, or `supervised` on the labels of a similar task with more of them; or an object of a subclass of
            `reuse.Objective`.
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
    pretext = new_pretext(settings, data_spec, reporter, run)
    settings, data, trained, compute = pretext.settings, pretext.data, pretext.trained, pretext.compute
    equip(trained, pretext.objective, settings, data)  # what cannot be taken is refused before anything is written
    if run is None:
        run = from_main(lambda: _new_run(pretext, out))
    else:
        check_same_data(run, data)
        load_newest(run, trained)
        run.write_settings("pretrain", settings)
    for line in describe_spread(trained):
        reporter.line(line)
    reporter.line(f"pretraining {pretext.recipe.spec} as {settings['objective']} on {data.name}: {_sizes(data)}")
    with interruptible(run):
        feed = feed_inputs(trained, data, compute)
        feed.network = spread(trained, feed.network, settings["parallel"])
        trainer = make_trainer(trained, pretext.objective, feed, settings, data)
        done = train(trainer, feed, settings, run, reporter, resume)
        save_tensors(run.path / WEIGHTS, savable_tensors(pretext.encoder))
        for name, child in _beside(pretext).items():
            save_tensors(run.path / f"{name}.safetensors", savable_tensors(child))
    seconds = {
        "load": pretext.load_seconds,
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
        fresh=tuple(name for name, _ in pretext.encoder.named_children()),
        phases=({"epoch": 1, "frozen": []},),
        notes=data.notes,
    )
    run.write_result(result.to_dict())
    return result


def _new_run(pretext: Pretext, out: str | Path | None) -> RunFolder:
    run = RunFolder.create("pretrain", out)
    save_start(run, pretext.trained)
    run.write_settings("pretrain", pretext.settings)
    run.write_manifest(_manifest(pretext))
    return run


def _beside(pretext: Pretext) -> dict[str, nn.Module]:
    """Return what is trained beside the encoder: the other children of what the objective has built."""
    if pretext.encoder is pretext.trained:
        return {}
    children = pretext.trained.named_children()
    return {name: child for name, child in children if child is not pretext.encoder and savable_tensors(child)}


def _manifest(pretext: Pretext) -> dict[str, Any]:
    settings, data = pretext.settings, pretext.data
    labelled = pretext.objective.needs_labels and pretext.encoder is pretext.trained
    return {
        "kind": "pretrain",
        "objective": settings["objective"],
        "task": data.task if labelled else None,
        "classes": list(data.classes) if labelled else [],
        "model": pretext.recipe.to_dict(),
        "data": data.name,
        "preprocessing": data.preprocessing.to_dict(),
        "rows": data_digests(data),
    }


def _sizes(data: Dataset) -> str:
    return ", ".join(f"{rows} {name}" for name, rows in data.sizes.items())
