"""A model tried on one or two empty rows before it trains: what it returns, and what it cannot learn from."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from reuse.data.dataset import Dataset
from reuse.errors import UsageError
from reuse.layers.freezing import freeze
from reuse.layers.preserving import unchanged_state
from reuse.layers.reasons import first_line
from reuse.layers.selecting import summarize
from reuse.layout import InputNames, called, empty_rows
from reuse.nn.hf_specs import is_hf
from reuse.nn.main_output import main_output, named_outputs
from reuse.nn.recipe import OWN_FAMILIES, ModelRecipe
from reuse.units import format_count

MEANT = "let forward return what is meant first, or call it logits"
ROWS = 2  # of a trial
SINGLE = "Expected more than 1 value per channel"  # torch's words, of a batch norm that has one value to learn from


def settle_outputs(
    model: nn.Module, recipe: ModelRecipe, data: Dataset, batch_size: int, num_outputs: int | None = None
) -> list[str]:
    """Freeze what the output that is trained on does not depend on, where a model of the user's own returns several.

    Auxiliary heads, which some models have while they train, get no gradient from it and would be missed.

    Args:
        model: frozen as it is trained.
        recipe: of the model.
        data: whose rows it takes.
        batch_size: rows of a batch.
        num_outputs: how many numbers a row the targets need; None: that is not known.

    Returns:
        Sentences on it; none where one tensor is returned.

    Raises:
        UsageError: the model does not take the rows, what is trained on has other outputs than the targets need, or
            depends on nothing that trains.
    """
    if recipe.spec.partition(":")[0] in OWN_FAMILIES and not is_hf(recipe.spec):
        return []
    training = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    with torch.enable_grad(), _trial(model, data, rows=ROWS) as outputs:
        if outputs is None:
            _refuse_failing(model, recipe, data, batch_size)
            return []
        named = {"its output": outputs} if isinstance(outputs, Tensor) else named_outputs(outputs)
        (main, tensor), *others = named.items()
        if num_outputs:
            _check_form(f"{recipe.spec}: {main}", tensor, data.task, num_outputs)
        if isinstance(outputs, Tensor) and tensor.requires_grad:
            return []
        missed = _missed(tensor, training)
    if missed:  # by chance, perhaps: what drops layers while it trains has them all when it evaluates
        with torch.enable_grad(), _trial(model, data, rows=ROWS, mode=False) as evaluated:
            missed = {} if evaluated is None else _missed(main_output(evaluated), missed)
        if len(missed) == len(training):
            raise UsageError(f"{recipe.spec}: {main} depends on nothing that trains: freeze less, or {MEANT}")
    if isinstance(outputs, Tensor):
        return []
    beside = f", not {', '.join(name for name, _ in others)}" if others else ""
    notes = [f"{recipe.spec} returns a {type(outputs).__name__}: trained on {main}{beside}"]
    notes = [] if is_hf(recipe.spec) else notes
    if missed:
        freeze(model, list(missed))
        notes.append(f"frozen, as {main} does not depend on it: {', '.join(summarize(model, set(missed)))}")
    return notes


def _refuse_failing(model: nn.Module, recipe: ModelRecipe, data: Dataset, batch_size: int) -> None:
    """Raise a UsageError where a model does not take a batch of the data either, whose rows are not empty."""
    inputs, like = data.train.inputs, _like(model)
    drawn = inputs.gather(torch.arange(min(batch_size, len(inputs))))
    rows = [t.to(like.device, like.dtype if t.is_floating_point() else t.dtype) for t in drawn]
    with torch.no_grad(), unchanged_state(model):
        model.train()
        try:
            called(model, inputs.layout, rows)
        except Exception as error:
            given = ", ".join(map(str, inputs.layout))
            names = f"; forward takes {', '.join(InputNames.of(model.forward).names)}"
            line = first_line(error) + (names if isinstance(error, TypeError) else "")
            raise UsageError(f"{recipe.spec} does not take rows of {given}: {line}") from error


def _check_form(subject: str, output: Tensor, task: str, num_outputs: int) -> None:
    """Raise a UsageError where an output for `ROWS` rows is not what the targets need: so many numbers a row.

    Numbers that are regressed on may come in any shape.
    """
    shape = tuple(output.shape)
    if shape == (ROWS, num_outputs) and output.is_floating_point():
        return
    if task == "regression" and shape[:1] == (ROWS,) and output.numel() == ROWS * num_outputs:
        return
    if len(shape) == 2 and shape[0] == ROWS and output.is_floating_point():  # noqa: PLR2004, RUF100
        said = f"has {format_count(shape[1], 'number')} a row, and the targets need {num_outputs}"
        raise UsageError(f"{subject} {said}: give its last layer as many, or {MEANT}")
    found = f"has shape {shape} and type {str(output.dtype).removeprefix('torch.')} for {ROWS} rows"
    raise UsageError(f"{subject} {found}, and the targets need numbers of shape ({ROWS}, {num_outputs}): {MEANT}")


def _missed(output: Tensor, training: dict[str, nn.Parameter]) -> dict[str, nn.Parameter]:
    """Return the parameters that get no gradient from an output."""
    if not output.requires_grad:
        return training
    reached = torch.autograd.grad(output.float().sum(), list(training.values()), allow_unused=True)
    return {name: p for (name, p), gradient in zip(training.items(), reached, strict=True) if gradient is None}


def check_single_rows(model: nn.Module, data: Dataset, batch_size: int) -> None:
    """Raise where batches hold one row and a batch norm that trains has one value to learn from.

    Raises:
        UsageError: the message says what to do.
    """
    if min(batch_size, len(data.train)) > 1 or not any(isinstance(m, _NORMS) and m.training for m in _modules(model)):
        return
    try:
        with torch.no_grad(), _trial(model, data, rows=1):
            pass
    except ValueError as error:
        norms = ", ".join([n for n, m in model.named_modules() if isinstance(m, _NORMS)][:3])
        raise UsageError(
            f"batches hold one row, and batch norm ({norms}, …) cannot learn from one: give --batch-size 2 or more, "
            "freeze it, or take --norm layer or group"
        ) from error


_NORMS = nn.modules.batchnorm._BatchNorm


def _modules(model: nn.Module) -> list[nn.Module]:
    """Return the modules of a model in training mode; those that are frozen stay as they are."""
    modes = model.training
    model.train()
    found = [module for module in model.modules() if module.training]
    model.train(modes)
    return found


def _like(model: nn.Module) -> Tensor:
    """Return a tensor of the device and the type that rows are to have."""
    return next(model.parameters(), torch.zeros(()))


@contextmanager
def _trial(model: nn.Module, data: Dataset, rows: int, mode: bool = True) -> Iterator[Any]:
    """Give what a model returns for empty rows in a mode; None where it fails, as training will say better.

    The model is as it was after the block, whose gradients need it as it is.

    Raises:
        ValueError: a batch norm has one value to learn from.
    """
    like = _like(model)
    layout = data.train.inputs.layout
    example = empty_rows(layout, rows, like)
    with unchanged_state(model):
        model.train(mode)
        try:
            outputs = called(model, layout, example)
        except Exception as error:
            if isinstance(error, ValueError) and SINGLE in str(error):
                raise
            outputs = None
        yield outputs
