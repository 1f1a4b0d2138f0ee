"""What a fine-tuning works on: settings filled in from the source, data, and the model with the source's weights."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from reuse.data.dataset import Dataset
from reuse.data.preprocessing import Preprocessing
from reuse.errors import DataError, UsageError
from reuse.layers.freezing import Freezing, freeze, frozen
from reuse.layers.selecting import summarize
from reuse.layers.transplanting import transplant
from reuse.nn.outputs import output_layers
from reuse.nn.specs import add_layers, drop_layers
from reuse.nn.word_vectors import WordVectors
from reuse.reporting import Reporter
from reuse.runs.folder import ARRAYS, RunFolder
from reuse.runs.models import ModelRecipe
from reuse.seeding import seed_everything
from reuse.setup.preprocessing import preprocessing_for
from reuse.setup.running import (
    as_list,
    build_options,
    check_same_data,
    choose_compute,
    describe_model,
    load_data,
    make_recipe,
)
from reuse.setup.sources import Source, find_source

# Where no data is named there is nothing to lose: few labels show best what reused layers are worth.
LABELS_WITHOUT_DATA = 100


@dataclass(frozen=True)
class Task:
    """Everything that a fine-tuning needs, read and checked, before a model is built.

    Attributes:
        settings: resolved.
        source: where layers come from; None where all weights come from the run itself or from chance.
        recipe: how the model is built.
        data: the rows.
        preprocessing: what is done to them.
        started: when the command began, in seconds of `time.perf_counter`.
        load_seconds: what reading took.
        vectors: what the embedding layer is filled from at first; None for none.
    """

    settings: dict[str, Any]
    source: Source | None
    recipe: ModelRecipe
    data: Dataset
    started: float
    load_seconds: float
    vectors: WordVectors | None = None


def _inherit(settings: dict[str, Any], source: Source) -> dict[str, Any]:
    """Fill in what the user left to the source run, and refuse what cannot be."""
    theirs = source.settings
    without_data = settings["data"] is None
    if without_data and not theirs:
        raise UsageError(f"{source.name} is not a run, so it names no data: give --data")
    if without_data and theirs["data"] == ARRAYS:
        raise UsageError(f"{source.name} was trained on arrays, which a run does not keep: give them as data")
    filled = dict(settings)
    if without_data:
        filled["data"] = theirs["data"]
        filled["target"] = settings["target"] or theirs.get("target")
        filled["group_by"] = settings["group_by"] or theirs.get("group_by")
        filled["text"] = settings["text"] or theirs.get("text")
    if settings["split_seed"] is None:
        same = bool(theirs) and theirs["data"] == filled["data"]
        filled["split_seed"] = theirs.get("split_seed", theirs.get("seed", 0)) if same else settings["seed"]
    if settings["compare"] is None:
        filled["compare"] = without_data
    for name in ("image_size", "channels"):
        filled[name] = settings[name] if settings[name] is not None else theirs.get(name)
    spec = settings["model"] or source.spec
    if spec is None:
        raise UsageError(f"{source.name} holds weights and does not say of which model: give --model")
    if settings["drop_layers"]:
        spec = drop_layers(spec, settings["drop_layers"])
    if settings["add_layers"]:
        spec = add_layers(spec, settings["add_layers"])
    filled |= {"source": source.name, "model": spec, "drop_layers": None, "add_layers": None}
    inherited = source.manifest.get("model", {}).get("options", {}) if source.weights else {}
    return {**filled, **build_options(filled, inherited)}


def new_task(settings: dict[str, Any], spec: Any, reporter: Reporter) -> Task:
    """Find the source, fill in the settings, and read the data.

    Args:
        settings: of `finetune`, as given.
        spec: the data as given, arrays perhaps; None for the source's.
        reporter: told of notes on the data.
    """
    started = time.perf_counter()
    source = find_source(settings["source"])
    by_default = settings["data"] is None and settings["labels"] is None
    settings = _inherit(settings, source)
    seed_everything(settings["seed"])
    if source.manifest.get("preprocessing"):
        preprocessing: Preprocessing | None = Preprocessing.from_dict(source.manifest["preprocessing"])
        resized = settings["image_size"] != source.settings.get("image_size")
        if resized or settings["channels"] != source.settings.get("channels"):
            preprocessing = preprocessing_for(settings["model"], settings["image_size"], settings["channels"])
    else:
        preprocessing = preprocessing_for(settings["model"], settings["image_size"], settings["channels"])
    begun = time.perf_counter()
    data_spec, sized = settings["data"] if spec is None else spec, _sized(settings, preprocessing)
    if by_default:
        settings, data = _with_few_labels(data_spec, settings, sized, preprocessing, reporter)
    else:
        data = load_data(data_spec, sized, preprocessing, labels=settings["labels"])
    return _task(settings, source, data, reporter, started, time.perf_counter() - begun)


def _with_few_labels(
    spec: Any,
    settings: dict[str, Any],
    sized: dict[str, Any],
    preprocessing: Preprocessing | None,
    reporter: Reporter,
) -> tuple[dict[str, Any], Dataset]:
    """Load the source's data with few labels, as none were named; with all of them where there are too few for that."""
    try:
        data = load_data(spec, sized, preprocessing, labels=LABELS_WITHOUT_DATA)
    except (DataError, UsageError):
        return settings, load_data(spec, sized, preprocessing, labels=None)
    reporter.line(f"{LABELS_WITHOUT_DATA} labels are drawn, as no data was named: --labels draws others, --data all")
    return {**settings, "labels": LABELS_WITHOUT_DATA}, data


def resumed_task(settings: dict[str, Any], spec: Any, run: RunFolder, reporter: Reporter) -> Task:
    """Read again what a run had been given; its weights are in its checkpoint.

    Args:
        settings: resolved, those of the run but for what is given now.
        spec: of the data, or arrays.
        run: to go on with.
        reporter: told of notes on the data.
    """
    started = time.perf_counter()
    seed_everything(settings["seed"])
    preprocessing = Preprocessing.from_dict(run.manifest()["preprocessing"])
    data = load_data(spec, _sized(settings, preprocessing), preprocessing, labels=settings["labels"])
    check_same_data(run, data)
    return _task(settings, None, data, reporter, started, time.perf_counter() - started)


def _sized(settings: dict[str, Any], preprocessing: Preprocessing | None) -> dict[str, Any]:
    """Return the settings for loading: a preprocessing says the size and channels itself."""
    return settings if preprocessing is None else {**settings, "image_size": None, "channels": None}


def _task(
    settings: dict[str, Any], source: Source | None, data: Dataset, reporter: Reporter, started: float, seconds: float
) -> Task:
    for note in data.notes:
        reporter.line(note)
    if data.task == "unlabelled":
        raise UsageError(f"{data.name} has no labels to fine-tune on: name them, for a table with --target")
    recipe, vectors = make_recipe(settings, data)
    if vectors is not None:
        reporter.line(vectors.note)
    return Task(settings, source, recipe, data, started, seconds, vectors)


@dataclass(frozen=True)
class Origins:
    """Which layers of a model hold the weights of a source, and which began at random."""

    restored: tuple[str, ...]
    fresh: tuple[str, ...]


def describe_run(task: Task, data: Dataset, origins: Origins) -> dict[str, Any]:
    """Return what the manifest of a fine-tuning says of what it was begun with, its phases apart.

    Args:
        task: its model and source.
        data: its rows, those of the task or others of them.
        origins: which of its layers were restored.
    """
    return {
        "kind": "finetune",
        "objective": "supervised",
        "task": data.task,
        "classes": list(data.classes),
        "model": task.recipe.to_dict(),
        "data": data.name,
        "preprocessing": data.preprocessing.to_dict(),
        "source": task.source.name if task.source else None,
        "restored": list(origins.restored),
        "fresh": list(origins.fresh),
    }


def restored_model(task: Task, reporter: Reporter, resumed: bool = False) -> tuple[nn.Module, Origins]:
    """Return the model with the source's weights; a resumed run brings all of them itself."""
    settings, source = task.settings, task.source
    pretrained = source is not None and source.weights is None and not settings["random_weights"]
    pretrained = pretrained and task.recipe.spec.startswith("timm:")
    named_by_user = source is None or not source.manifest or settings["model"] != source.spec
    trust = settings["trust"] or (named_by_user and not resumed)
    model = task.recipe.build(pretrained=pretrained, embeddings=None if resumed else task.vectors, trust=trust)
    for line in describe_model(model, settings, task.data):
        reporter.line(line)
    model.to(choose_compute(settings).dtype)  # first, so that a source in float64 loses no digits
    if source is None or source.weights is None or settings["random_weights"]:
        if pretrained:
            reporter.line(f"restored timm's pretrained weights of {task.recipe.spec}")
        every, output = _layers(model), tuple(output_layers(model))
        if pretrained:
            return model, Origins(tuple(n for n in every if n not in output), tuple(n for n in every if n in output))
        return model, Origins((), every)
    graft = transplant(_without_output(source.weights, model, settings), model, restore=as_list(settings["restore"]))
    reporter.line(
        f"restored from {source.name}: {', '.join(graft.restored)}; fresh: {', '.join(graft.fresh) or 'none'}"
    )
    for misfit in graft.misfits:
        reporter.line(f"not restored: {misfit}")
    return model, Origins(graft.restored, graft.fresh)


def _layers(model: nn.Module) -> tuple[str, ...]:
    """Return the uppermost layers, the output layer by itself."""
    outputs = {n for n, _ in model.named_parameters() if _is_below(n, output_layers(model))}
    others = {n for n, _ in model.named_parameters()} - outputs
    return (*summarize(model, others), *summarize(model, outputs))


def _is_below(name: str, layers: Sequence[str]) -> bool:
    return any(name == layer or name.startswith(f"{layer}.") for layer in layers)


def _without_output(weights: dict[str, Tensor], model: nn.Module, settings: dict[str, Any]) -> dict[str, Tensor]:
    """Leave the output layer to chance unless patterns ask for it: its outputs mean other classes."""
    if settings["restore"]:
        return weights
    outputs = tuple(f"{name}." for name in output_layers(model))
    return {name: tensor for name, tensor in weights.items() if not name.startswith(outputs)}


def freeze_layers(model: nn.Module, settings: dict[str, Any], fresh: Sequence[str], reporter: Reporter) -> Freezing:
    """Freeze what the settings ask for and say what that is.

    Args:
        model: restored.
        settings: of the run.
        fresh: names of the layers that began at random.
        reporter: told what is frozen.
    """
    patterns = as_list(settings["freeze"])
    if not patterns:
        return frozen(model)
    freezing = freeze(model, patterns)
    reporter.line(f"frozen: {', '.join(freezing.layers)}")
    random = summarize(model, {name for name in freezing.parameters if _is_below(name, fresh)})
    if random:
        reporter.line(f"careful: frozen but not restored, so they stay as they began, at random: {', '.join(random)}")
    return freezing
