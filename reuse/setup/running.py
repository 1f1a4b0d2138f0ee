"""From settings, a model and its feed to a trained, recorded, evaluated model: what both commands share."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import nn
from xxhash import xxh3_128

from reuse.augmenting.views import read_views
from reuse.caching.packing import choose_storage
from reuse.data.dataset import SPLITS, Dataset, Split
from reuse.data.loading import load
from reuse.data.preprocessing import Preprocessing
from reuse.data.rows import Rows
from reuse.devices import Compute, choose_device
from reuse.distributed import is_main, join, main_first
from reuse.errors import DataError, UsageError
from reuse.features.feeding import Feed
from reuse.features.preparing import CACHE_KINDS
from reuse.menus import lookup
from reuse.nn.building import DEFAULT_SETTINGS
from reuse.nn.callables import names_code
from reuse.nn.defaults import family_settings
from reuse.nn.exchanging import exchange_notes
from reuse.nn.selu import input_concerns
from reuse.nn.specs import LAYER_NAMES, is_recurrent
from reuse.nn.word_vectors import WordVectors, read_word_vectors
from reuse.objectives.menu import ObjectiveSettings, from_labels
from reuse.objectives.objective import Objective
from reuse.optim.schedules import SCHEDULES
from reuse.reporting import Reporter
from reuse.runs.fitting import Fitted, fit
from reuse.runs.folder import ARRAYS, RunFolder
from reuse.runs.models import ModelRecipe
from reuse.runs.recording import Recording
from reuse.runs.snapshots import kept_epochs
from reuse.runs.tensorboard import check_tensorboard
from reuse.settings import defaults_of
from reuse.training.parallel import KINDS
from reuse.training.stopping import EarlyStopping
from reuse.training.threads import fitting_threads
from reuse.training.trainer import Trainer

NOT_SETTINGS = ("reporter", "resume", "out")
DATA_SETTINGS = (
    "classes",
    "target",
    "group_by",
    "image_size",
    "channels",
    "skip_bad",
    "text",
    "vocabulary",
    "sequence_length",
    "seed",
    "split_seed",
)
# The other settings of `reuse.build`, with what they are where neither the user nor a source run says anything.
BUILD_SETTINGS: dict[str, Any] = {
    "activation": "elu",
    "norm": None,
    "init": None,
    "dropout": 0.0,
    "input_dropout": 0.0,
    "drop_path": 0.0,
    "recurrent_dropout": 0.0,
    "embedding_size": None,
}


@dataclass(frozen=True)
class Trained:
    """A training that is done: how it went, and the metrics of each split with the best weights."""

    fitted: Fitted
    metrics: dict[str, dict[str, float]]
    seconds: float


def plain_settings(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a command as the settings of its run: paths as text, sequences as lists."""
    settings = {name: _plain(value) for name, value in arguments.items() if name not in NOT_SETTINGS}
    if not isinstance(arguments.get("data"), str | Path | None):
        settings["data"] = ARRAYS
    return settings


def continued(command: Callable[..., Any], given: Mapping[str, Any], run: RunFolder) -> tuple[dict[str, Any], Any]:
    """Return the settings with which `command` goes on with `run`: those it began with, but for what is given now.

    What settings.toml does not name was None, or is a setting of a newer version: both are the default.

    Args:
        command: `pretrain` or `finetune`.
        given: the arguments given now.
        run: to go on with.

    Returns:
        The settings, and the data: a spec, or the arrays given now.

    Raises:
        UsageError: the run is another command's, or its data were arrays and are not given again.
    """
    saved = run.settings()
    saved.pop("trust", None)  # nobody's folder allows its own code to run
    begun = saved.pop("command", None)
    if begun != command.__name__:
        raise UsageError(f"{run.path} is a run of `reuse {begun}`: resume it with that command")
    defaults = checked_names(command, given)
    data = given.get("data", saved.get("data"))
    if isinstance(data, str) and data == ARRAYS:
        raise UsageError(f"{run.path} was trained on arrays, which a run does not keep: give them as data again")
    settings = {name: saved.get(name, default) for name, default in plain_settings(defaults).items()}
    if names_code(str(settings["schedule"]), tuple(SCHEDULES)) and "schedule" not in given and not given.get("trust"):
        raise UsageError(
            f"the run's schedule is the code {settings['schedule']}, which would be imported and called: allow it by "
            "--trust"
        )
    settings |= plain_settings(given)
    check_epochs(settings)
    return settings, data


def checked_names(command: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of all settings of `command`.

    Raises:
        UnknownNameError: a name in `given` is none of them.
    """
    defaults = defaults_of(command)
    for name in given:
        lookup(defaults, name, "setting")
    return defaults


def unlike_defaults(command: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call that are not the defaults: what the caller gave, as far as that can be told."""
    defaults = checked_names(command, arguments)
    return {name: value for name, value in arguments.items() if not _is_default(value, defaults[name])}


def data_digests(data: Dataset) -> dict[str, str]:
    """Return a digest of the rows and targets of each split, by which a resumed run knows its data again."""
    return {name: _split_digest(getattr(data, name)) for name in SPLITS}


def check_same_data(run: RunFolder, data: Dataset) -> None:
    """Raise unless a resumed run reads the rows that it began with.

    Raises:
        DataError: they differ; the message names the splits.
    """
    began = run.manifest().get("rows")
    changed = [name for name, digest in data_digests(data).items() if began is not None and began.get(name) != digest]
    if changed:
        raise DataError(
            f"{data.name} is not what {run.path} began with: its {', '.join(changed)} rows differ. Resume with the "
            "same data and settings, or begin a new run"
        )


def build_options(settings: Mapping[str, Any], inherited: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """Return the options of `reuse.build`: the user's, else those of a source run, else the defaults.

    timm's models and a user's own bring their layers along, so for them nothing is filled in. Dropout between hidden
    states is inherited by recurrent nets alone.
    """
    if not is_recurrent(settings["model"]):
        inherited = {name: value for name, value in inherited.items() if name != "recurrent_dropout"}
    family = settings["model"].partition(":")[0]
    defaults = {**BUILD_SETTINGS, **family_settings(settings["model"])} if family in LAYER_NAMES else DEFAULT_SETTINGS
    options = {}
    for name in BUILD_SETTINGS:
        filled = inherited.get(name, defaults[name])
        options[name] = filled if settings[name] is None else settings[name]
    return options


def make_recipe(settings: dict[str, Any], data: Dataset) -> tuple[ModelRecipe, WordVectors | None]:
    """Return how the model is built for the data, and what its embedding layer is filled from at first.

    Args:
        settings: resolved; the size of word vectors is put into them.
        data: what the model is for.

    Raises:
        UsageError: embeddings for inputs that are not words.
        DataError: a file of word vectors that cannot be read.
    """
    vectors = None
    if settings["embeddings"] is not None:
        if not data.preprocessing.token_names:
            raise UsageError(f"embeddings are for words, and the inputs of {data.name} are none: leave embeddings out")
        vectors = read_word_vectors(settings["embeddings"], data.preprocessing.token_names)
        settings["embedding_size"] = vectors.size
    options = {name: settings[name] for name in BUILD_SETTINGS}
    if data.num_tokens is not None:
        options["num_tokens"] = data.num_tokens
    return ModelRecipe(settings["model"], data.input_shape, max(data.num_outputs, 1), options), vectors


def describe_model(model: nn.Module, settings: Mapping[str, Any], data: Dataset) -> list[str]:
    """Return in one sentence each what a person should know of a model that has been built, before it is trained."""
    standardised = bool(data.preprocessing.mean)
    return [*exchange_notes(model), *input_concerns(settings["model"], settings, standardised)]


def make_objective(settings: Mapping[str, Any], data: Dataset) -> Objective:
    """Return what is minimised for the labels of the data."""
    told = ObjectiveSettings(label_smoothing=settings["label_smoothing"], class_weights=settings["class_weights"])
    return from_labels(data, told)


def take_part(reporter: Reporter | None) -> Reporter:
    """Join the processes that train together, if there are several, and return who is told: in the others nobody."""
    join()
    return reporter if reporter is not None and is_main() else Reporter()


def choose_compute(settings: Mapping[str, Any]) -> Compute:
    """Return where and in which types to compute."""
    return Compute(choose_device(settings["device"]), settings["precision"])


def load_data(spec: Any, settings: Mapping[str, Any], preprocessing: Preprocessing | None, **others: Any) -> Dataset:
    """Return the data of a command from its settings."""
    chosen = {name: settings[name] for name in DATA_SETTINGS}
    chosen["sequences"] = is_recurrent(settings["model"])
    with main_first():  # what is downloaded is downloaded once
        return load(spec, preprocessing=preprocessing, **{**chosen, **others})


def check_epochs(settings: Mapping[str, Any]) -> None:
    """Raise unless the settings that no other part checks before hours are spent can be taken."""
    if not isinstance(settings["epochs"], int) or settings["epochs"] < 1:
        raise UsageError(f"epochs is {settings['epochs']!r}: give a whole number of 1 or more")
    for name in ("batch_size", "accumulate"):
        if not isinstance(settings[name], int) or settings[name] < 1:
            raise UsageError(f"{name.replace('_', ' ')} is {settings[name]!r}: give a whole number of 1 or more")
    if settings["patience"] is not None and settings["patience"] < 1:
        raise UsageError(f"patience is {settings['patience']}: give 1 epoch or more, or --no-early-stopping")
    EarlyStopping(None, max_gap=settings["max_gap"])
    lookup(KINDS, settings["parallel"], "parallel")
    if settings.get("cache_dtype") is not None:
        choose_storage(settings["cache_dtype"])
    if settings.get("cache_kind") is not None:
        lookup(CACHE_KINDS, settings["cache_kind"], "cache kind")
    read_views(settings)
    kept_epochs(settings["snapshots"], settings["epochs"], schedule=settings["schedule"])
    if settings["tensorboard"]:
        check_tensorboard()


def train(
    trainer: Trainer,
    feed: Feed,
    settings: Mapping[str, Any],
    run: RunFolder,
    reporter: Reporter,
    resume: bool,
    *,
    stopping: EarlyStopping | None = None,
    since: int = 1,
    until: int | None = None,
    rested: Collection[str] = (),
    inputs: Callable[[], Feed] | None = None,
) -> Trained:
    """Train on a feed and measure the best weights on all splits.

    Args:
        trainer: what trains.
        feed: what it reads.
        settings: of the command.
        run: where the training is recorded.
        reporter: told of lines and epochs.
        resume: go on from the last checkpoint.
        stopping: that of the phases before; None begins anew.
        since: number of the first epoch of this phase, if patience is to begin anew with it.
        until: number of the last epoch of a phase that others follow, which measures and restores nothing; None: the
            training ends here, unless layers settle.
        rested: names of the tensors that trained in earlier phases and rest now.
        inputs: makes a feed of the whole model, for where the best weights are from before layers came to rest.
    """
    started = time.perf_counter()
    rows = feed.splits["train"]
    valid = feed.splits["valid"] if len(feed.splits["valid"][0]) else None
    if stopping is None:
        stopping = make_stopping(trainer.objective, settings)

    def whole() -> Rows:
        assert inputs is not None
        read = inputs()
        feed.network, feed.splits = read.network, read.splits
        trainer.network = read.network
        return feed.splits["train"][0]

    with fitting_threads(feed.network, trainer.model, rows[0], settings["batch_size"], settings["precision"]):
        fitted = fit(
            trainer,
            rows,
            valid,
            stopping=stopping,
            epochs=settings["epochs"],
            since=since,
            until=until,
            run=run,
            reporter=reporter,
            resume=resume,
            precise_norm=settings["precise_norm"],
            recording=Recording(settings["watch"], settings["tensorboard"], settings["snapshots"]),
            rested=rested,
            whole=whole if inputs is not None else None,
        )
        done = not fitted.goes_on
        metrics = {name: trainer.evaluate(*rows) if done and len(rows[0]) else {} for name, rows in feed.splits.items()}
    return Trained(fitted, metrics, time.perf_counter() - started)


def make_stopping(objective: Objective, settings: Mapping[str, Any]) -> EarlyStopping:
    """Return what decides when to stop and keeps the best weights."""
    patience = settings["patience"] if settings["early_stopping"] else None
    return EarlyStopping(patience, objective.monitor, settings["max_gap"])


def as_list(value: str | Sequence[str] | None) -> list[str]:
    """Return none, one or several texts as a list."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _is_default(value: Any, default: Any) -> bool:
    return type(value) is type(default) and bool(value == default)


def _split_digest(split: Split) -> str:
    digest = xxh3_128(split.inputs.digests().tobytes())
    if split.targets is not None:
        digest.update(split.targets.numpy().tobytes())
    return digest.hexdigest()
