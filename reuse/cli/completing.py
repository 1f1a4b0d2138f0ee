"""Values that a shell completes: names of menus, data, models, runs and their layers. Nothing heavy is imported."""

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from reuse.cli.menu_names import names_in
from reuse.nn.timm_names import timm_names
from reuse.paths import cache_folder, from_home

Completing = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
Names = Callable[[click.Context, str], Iterable[str]]
"""From the context and what is typed so far to whole values."""

MENUS = {
    "activation": [("nn/activations.py", "ACTIVATIONS")],
    "optimizer": [("optim/optimizers.py", "OPTIMIZERS")],
    "schedule": [("optim/schedules.py", "SCHEDULES")],
    "init": [("nn/initializers.py", "INITIALIZERS")],
    "norm": [("nn/norms.py", "VECTOR_NORMS"), ("nn/norms.py", "MAP_NORMS"), ("nn/norm_specs.py", "WEIGHT_NORMS")],
    "objective": [("objectives/menu.py", "OBJECTIVES")],
    "precision": [("precision.py", "PRECISIONS")],
}
LISTED = {
    "augment": [
        ("augmenting/positions.py", "MOVES"),
        ("augmenting/positions.py", "WARPS"),
        ("augmenting/colours.py", "COLOURS"),
        ("augmenting/values.py", "IMAGE_VALUES"),
        ("augmenting/values.py", "TABLE_VALUES"),
        ("augmenting/columns.py", "SEQUENCE_STEPS"),
    ],
    "metrics": [("inference/metrics.py", "METRICS")],
}
"""Settings, and the dictionaries whose names they take; of those in `LISTED` several, with commas between them."""

WORDS = {
    "device": ("auto", "cpu", "cuda", "mps"),
    "split": ("all", "test", "train", "valid"),
    "task": ("classification", "multilabel", "regression"),
    "solver": ("logistic", "ridge"),
    "parallel": ("ddp", "fsdp"),
    "class_weights": ("balanced",),
    "stop_on": ("probe",),
    "keep": ("best",),
    "soup": ("greedy", "uniform"),
    "compile": ("auto",),
    "to": ("onnx", "safetensors", "timm", "torch"),
}
FAMILIES = ("default", "mlp:", "convnet:", "lstm:", "gru:", "highway:", "timm:", "hf:")
LAYERS = ("freeze", "restore", "drop_layers", "layer_rates", "unfreeze")
RUNS = ("run", "runs", "resume", "names")
BELOW_RUNS = 3  # folders deep in which layers have names worth completing


def completing(name: str) -> Completing | None:
    """Return what completes the values of a setting, in the shape that click takes; None where nothing is known.

    Args:
        name: of the setting, as in Python.
    """
    names = _names_of(name)
    return None if names is None else lambda ctx, _, typed: matching(names(ctx, typed), typed)


def _names_of(name: str) -> Names | None:
    if name in MENUS:
        return lambda *_: _named(MENUS[name])
    if name in LISTED:
        return lambda _, typed: [typed[: typed.rfind(",") + 1] + value for value in _named(LISTED[name])]
    if name in WORDS:
        return lambda *_: WORDS[name]
    if name in ("data", "test_data"):
        return lambda *_: (*names_in("data/catalogue.py", "NAMED"), "openml:")
    if name in RUNS:
        return lambda *_: _runs()
    if name == "key":
        return lambda *_: _keys()
    if name == "model":
        return lambda _, typed: (*FAMILIES, *_timm(typed), *_runs())
    if name == "source":
        return lambda _, typed: (*_runs(), *FAMILIES, *_timm(typed))
    return _layers if name in LAYERS else None


def _named(menus: Iterable[tuple[str, str]]) -> list[str]:
    return [value for file, menu in menus for value in names_in(file, menu)]


def matching(names: Iterable[str], typed: str) -> list[CompletionItem]:
    """Return the values that begin as is typed; files, where there are none."""
    found = [CompletionItem(name) for name in dict.fromkeys(names) if name.startswith(typed)]
    return found or [CompletionItem(typed, type="file")]


def _timm(typed: str) -> Iterable[str]:
    """Return models of timm, with their family where it is typed; without anything typed they would be too many."""
    if typed.startswith("timm:"):
        return (f"timm:{name}" for name in timm_names())
    return timm_names() if typed else ()


def _runs() -> list[str]:
    """Return the run folders under ./runs, the newest first."""
    folders = [path.parent for path in Path("runs").glob("*/run.json")]
    return [str(path) for path in sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True)]


def _keys() -> list[str]:
    """Return the keys of the prefixes in the default cache folder."""
    return sorted(path.parent.name for path in cache_folder().glob("*/prefix.json"))


def _layers(context: click.Context, typed: str) -> Iterable[str]:
    """Return patterns that end in a layer of the source: after the last comma, `!` and `:` kept."""
    begin, comma, last = typed.rpartition(",")
    mark = last[: len(last) - len(last.lstrip("!:"))]
    known = context.params.get("source") or context.params.get("model")
    # Behind an option without its value, which is what is completed, click leaves arguments as they are.
    layers = _layers_of(known or next((word for word in context.args if not word.startswith("-")), None))
    return [f"{begin}{comma}{mark}{layer}" for layer in layers]


def _layers_of(source: object) -> list[str]:
    """Return the names of the layers of a run; of another model the one name that any output layer has."""
    folders = [str(source)] if source else [run for run in _runs() if _kind(run) == "pretrain"][:1]
    names = [name for folder in folders for name in _tensors(from_home(folder) / "weights.safetensors")]
    parts = [name.split(".")[:-1] for name in names]
    layers = (".".join(part[:end]) for part in parts for end in range(1, min(len(part), BELOW_RUNS) + 1))
    return list(dict.fromkeys(layers)) or ["head"]


def _kind(run: str) -> object:
    try:
        return json.loads((from_home(run) / "run.json").read_text(encoding="utf-8")).get("kind")
    except (OSError, ValueError, AttributeError):
        return None


def _tensors(path: Path) -> list[str]:
    """Return the names of the tensors in a file of safetensors, from its header alone."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > os.fstat(file.fileno()).st_size:
                return []
            return [name for name in json.loads(file.read(size)) if name != "__metadata__"]
    except (OSError, ValueError, TypeError, RecursionError):
        return []
