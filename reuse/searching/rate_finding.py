"""`lr_find`: which learning rate to give a training, by a range test of exactly that training; nothing is written."""

from pathlib import Path
from typing import Any

from reuse.errors import UsageError
from reuse.features.feeding import Feed, feed_inputs
from reuse.finetuning.finetune import finetune
from reuse.objectives.objective import Objective
from reuse.pretraining.pretrain import pretrain
from reuse.reporting import Reporter
from reuse.settings import UNUSED_BY_RANGE_TEST
from reuse.setup.beginning import begin
from reuse.setup.finetuning import new_task
from reuse.setup.pretraining import new_pretext
from reuse.setup.running import check_epochs, checked_names, plain_settings, take_part
from reuse.setup.trainers import make_trainer
from reuse.training.range_test import RateCurve, range_test
from reuse.training.threads import fitting_threads
from reuse.training.trainer import Trainer


def lr_find(
    source: str | Path | None = None,
    *,
    objective: str | Objective | None = None,
    lowest: float = 1e-7,
    highest: float = 10.0,
    steps: int = 200,
    plot: str | Path | None = None,
    reporter: Reporter | None = None,
    **settings: Any,
) -> RateCurve:
    """Build what `finetune`, or `pretrain`, would train, raise the rate step by step, and propose one.

    Args:
        source: of a fine-tuning (see `reuse.finetune`); None: the newest pretraining run under `runs`.
        objective: of a pretraining, such as `autoencoder`, in place of a source; None: it is a fine-tuning.
        lowest: the first rate.
        highest: the last rate; the test ends before it where the loss explodes.
        steps: how many, at least 20.
        plot: a picture to write, such as `rates.png`.
        reporter: told of lines; by default nobody is.
        settings: what the training would be given, other than `reuse.settings.UNUSED_BY_RANGE_TEST`.

    Returns:
        Rates, losses and the proposal, a tenth of the rate at which the loss turns.

    Raises:
        UsageError, DataError, RunError: as `finetune` and `pretrain`; or matplotlib is not installed.

    Example:
        >>> lr_find(objective="supervised", data="digits", model="mlp:100,50").proposal  # doctest: +SKIP
        0.0031
    """
    for name in UNUSED_BY_RANGE_TEST:
        if name in settings:
            raise UsageError(f"a range test has no use for {name}: leave it out")
    if plot is not None:
        check_matplotlib()
    listener = take_part(reporter)
    if objective is None:
        trainer, feed = _of_finetuning({"source": source, **settings}, listener)
    elif source is None:
        trainer, feed = _of_pretraining({"objective": objective, **settings}, listener)
    else:
        raise UsageError(f"objective {objective} is of a pretraining, which has no source: give one of the two")
    rows = feed.splits["train"]
    with fitting_threads(feed.network, trainer.model, rows[0], trainer.loop.batch_size, trainer.loop.precision):
        curve = range_test(trainer, *rows, lowest=lowest, highest=highest, steps=steps)
    if plot is not None:
        draw(curve, plot)
    return curve


def draw(curve: RateCurve, path: str | Path) -> None:
    """Draw loss against rate into a picture, its kind by the name.

    Raises:
        UsageError: matplotlib is not installed, or the picture cannot be written.
    """
    check_matplotlib()
    from matplotlib.figure import Figure  # optional; without pyplot no window is ever opened

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xscale="log", xlabel="learning rate", ylabel="loss")
    axes.plot(curve.rates, curve.losses, linewidth=0.6, alpha=0.5, label="loss of each step")
    axes.plot(curve.rates, curve.smoothed, label="running mean")
    if curve.turn is not None and curve.proposal is not None:
        axes.axvline(curve.turn, linestyle=":", color="grey", label=f"turn {curve.turn:.2g}")
        axes.axvline(curve.proposal, color="black", label=f"proposal {curve.proposal:.2g}")
    axes.legend()
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be drawn: {error}") from error


def check_matplotlib() -> None:
    """Raise a UsageError where matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401 - whether it is there
    except ImportError as error:
        raise UsageError(
            'matplotlib is not installed: pip install "torch-reuse[report]", or do without the plot'
        ) from error


def _of_finetuning(given: dict[str, Any], reporter: Reporter) -> tuple[Trainer, Feed]:
    """Return what a fine-tuning would begin with; frozen layers are computed in each step, as no step comes twice."""
    arguments = {**checked_names(finetune, given), **given}
    check_epochs(arguments)
    task = new_task(plain_settings(arguments), arguments["data"], reporter)
    begun = begin(task, reporter)
    feed = feed_inputs(begun.model, task.data, begun.compute)
    return make_trainer(begun.model, begun.objective, feed, task.settings, task.data, begun.anchors), feed


def _of_pretraining(given: dict[str, Any], reporter: Reporter) -> tuple[Trainer, Feed]:
    """Return what a pretraining would begin with."""
    arguments = {**checked_names(pretrain, given), **given}
    check_epochs(arguments)
    pretext = new_pretext(plain_settings(arguments), arguments["data"], reporter)
    feed = feed_inputs(pretext.trained, pretext.data, pretext.compute)
    trainer = make_trainer(pretext.trained, pretext.objective, feed, pretext.settings, pretext.data)
    return trainer, feed
