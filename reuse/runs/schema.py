"""The schema of what a run folder says beside its manifest's types: what goes together, in records and checkpoints."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from reuse.menus import is_number, is_whole

if TYPE_CHECKING:
    from reuse.data.targets import TargetScale
    from reuse.runs.manifest import Manifest

KINDS = ("pretrain", "finetune", "sweep", "soup")
CACHE_KINDS = ("disk", "memory", "none")


def check_manifest(manifest: "Manifest", tasks: Sequence[str]) -> None:
    """Raise where entries of a manifest cannot be, or do not go together.

    Args:
        manifest: whose entries are of the right types.
        tasks: that predict.

    Raises:
        ValueError: the message says which entries.
    """
    _expect(manifest.kind in KINDS, f"kind {manifest.kind!r} is none of {', '.join(KINDS)}")
    _expect(manifest.task is None or manifest.task in tasks, f"task {manifest.task!r} is none of {', '.join(tasks)}")
    tuned = manifest.kind in ("finetune", "soup") and manifest.model is not None
    _expect(not tuned or manifest.task is not None, f"a {manifest.kind} without a task")
    _check_classes(manifest)
    _check_shape(manifest)
    epochs = [phase.epoch for phase in manifest.phases]
    _expect(epochs == sorted(set(epochs)) and all(epoch > 0 for epoch in epochs), f"phases begin at epochs {epochs}")
    for phase in manifest.phases:
        _expect(all(isinstance(tensor, Mapping) for tensor in phase.frontier), f"frontier {phase.frontier!r}")
    for choice in manifest.cached.values():
        _expect(choice.kind in CACHE_KINDS, f"cached {choice.kind!r} is none of {', '.join(CACHE_KINDS)}")


def check_line(line: Any, after: int) -> int:
    """Return the number of the epoch that a line of the history is of.

    Args:
        line: of the history.
        after: number of the epoch before.

    Raises:
        ValueError: it is no record of an epoch.
    """
    _expect(isinstance(line, Mapping), f"a line holds {line!r}, and no record of an epoch")
    epoch = line.get("epoch")
    _expect(is_whole(epoch) and epoch > after, f"an epoch is {epoch!r}, after epoch {after}")
    advice = line.get("advice", ())
    _expect(isinstance(advice, list | tuple), f"advice {advice!r}")
    for one in advice:
        told = isinstance(one, Mapping) and isinstance(one.get("layers"), list | tuple) and "kind" in one
        _expect(told, f"advice {one!r} names no layers and kind")
    return int(epoch)


def check_state(trainer: Mapping[str, Any], stopping: Mapping[str, Any], epoch: int) -> None:
    """Raise where the state of a training is not what a trainer keeps.

    Args:
        trainer: its state, without weights.
        stopping: that of early stopping, without weights.
        epoch: after which it was written.

    Raises:
        ValueError: the message says which entry.
    """
    _expect(trainer["epoch"] == epoch, f"its epoch is {trainer['epoch']!r}, and its folder's {epoch}")
    optimizer, random = trainer["optimizer"], trainer["random"]
    of_tensors = isinstance(optimizer, Mapping) and all(isinstance(entry, Mapping) for entry in optimizer.values())
    _expect(of_tensors, "its optimizer holds no state by parameter")
    steps = trainer.get("steps", 0)
    _expect(is_whole(steps) and steps >= 0, f"its number of steps is {steps!r}")
    state, now = random.get("cpu") if isinstance(random, Mapping) else None, torch.get_rng_state()
    fits = isinstance(state, Tensor) and state.dtype == now.dtype and state.shape == now.shape
    _expect(fits, "its random state is none of torch's")
    _expect(is_number(stopping["best"]) and not math.isnan(stopping["best"]), f"its best loss is {stopping['best']!r}")
    for name in ("best_epoch", "waited"):
        none_yet = name == "best_epoch" and stopping[name] is None  # as nothing was measured on validation rows
        fits = none_yet or (is_whole(stopping[name]) and stopping[name] >= 0)
        _expect(fits, f"its {name} is {stopping[name]!r}")


def _check_classes(manifest: "Manifest") -> None:
    classes, model = manifest.classes, manifest.model
    twice = (
        next((name for name in classes if classes.count(name) > 1), None) if len(set(classes)) < len(classes) else None
    )
    _expect(twice is None, f"two classes are called {twice!r}")
    if manifest.task is None or model is None:
        return
    if manifest.task == "regression":
        _expect(not classes, f"the task is regression, and there are {len(classes)} classes")
        _check_scale(manifest.target_scale, model.num_outputs)
        return
    _expect(len(classes) == model.num_outputs, f"{len(classes)} classes and {model.num_outputs} outputs")
    _expect(manifest.target_scale is None, "a scale of numbers, and the targets are classes")


def _check_scale(scale: "TargetScale | None", num_outputs: int) -> None:
    if scale is None:
        return
    counts = len(scale.mean), len(scale.std)
    _expect(counts == (num_outputs, num_outputs), f"a scale of {counts} numbers, and {num_outputs} outputs")
    finite = all(map(math.isfinite, (*scale.mean, *scale.std)))
    _expect(finite and min(scale.std) > 0, f"a scale of mean {scale.mean} and standard deviation {scale.std}")


def _check_shape(manifest: "Manifest") -> None:
    """Raise where the preprocessing does not give what the model takes."""
    if manifest.model is None or manifest.preprocessing is None:
        return
    shape, kind = manifest.model.input_shape, manifest.preprocessing.kind
    size, means = manifest.preprocessing.image_size, len(manifest.preprocessing.mean)
    if kind == "images" and size is not None and len(shape) == 3:  # noqa: PLR2004, RUF100 - channels, height, width
        _expect(shape[1:] == size, f"images of {size}, and a model for {shape[1:]}")
    widths = {"images": shape[0], "vectors": shape[-1], "table": shape[-1], "sequences": shape[-1]}
    if means and kind in widths:
        _expect(means in (1, widths[kind]), f"{means} means, and a model for {widths[kind]}")


def _expect(holds: Any, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
