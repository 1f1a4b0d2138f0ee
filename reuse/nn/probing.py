"""A trial of a model on two empty samples, before anything is trained."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from reuse.errors import UsageError
from reuse.layout import Layout, called, empty_rows, one_tensor
from reuse.nn.main_output import main_output
from reuse.seeding import untouched_random_state

# What a forward pass raises when it is given inputs of the wrong shape or type.
REFUSALS = (RuntimeError, AssertionError, ValueError, TypeError, IndexError, ArithmeticError)


def check_outputs(model: nn.Module, layout: Layout, num_outputs: int, spec: str, advice: str) -> None:
    """Raise a UsageError unless `model` turns two rows into `(2, num_outputs)`.

    Args:
        model: left as it was: modes, buffers, random state.
        layout: of a row of its inputs.
        num_outputs: how many outputs are expected.
        spec: what the user wrote, for the message.
        advice: what the model takes, for the message.
    """
    expected = (2, num_outputs)
    try:
        outputs = _try_on_zeros(model, layout)
    except REFUSALS as error:
        outputs = _as_integers(model, layout, spec, advice, error)
    main = main_output(outputs)
    if tuple(main.shape) != expected:
        form = "" if main is outputs else f"a {type(outputs).__name__} that begins with "
        raise UsageError(f"{spec} returns {form}{tuple(main.shape)} for two samples; {expected} was expected: {advice}")


def reason(error: BaseException) -> str:
    """Return the first line of an error's message, without colours, or its kind where it has none."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    return (text.strip().splitlines() or [type(error).__name__])[0].rstrip(".")


@torch.no_grad()
def evaluate(model: nn.Module, rows: Tensor) -> object:
    """Return what `model` gives for some rows in eval mode; modes and random state are put back."""
    with untouched_random_state(), _in_eval_mode(model):
        return model(rows)


@torch.no_grad()
def _try_on_zeros(model: nn.Module, layout: Layout) -> object:
    with untouched_random_state(), _in_eval_mode(model):
        return called(model, layout, empty_rows(layout, 2))


def _as_integers(model: nn.Module, layout: Layout, spec: str, advice: str, first: Exception) -> object:
    """Try again with integers, which models that begin with an embedding take."""
    try:
        if len(layout) == 1:
            return _try_on_zeros(model, one_tensor(layout[0].shape, torch.long))
    except REFUSALS:
        pass
    inputs = ", ".join(map(str, layout))
    raise UsageError(f"{spec} does not take inputs {inputs} ({reason(first)}): {advice}") from first


@contextmanager
def _in_eval_mode(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
