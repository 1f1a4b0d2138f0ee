"""A trial of a model on two empty samples, before anything is trained."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from reuse.errors import UsageError
from reuse.nn.main_output import main_output
from reuse.seeding import untouched_random_state

# What a forward pass raises when it is given inputs of the wrong shape or type.
REFUSALS = (RuntimeError, AssertionError, ValueError, TypeError, IndexError, ArithmeticError)


def check_outputs(model: nn.Module, input_shape: tuple[int, ...], num_outputs: int, spec: str, advice: str) -> None:
    """Raise a UsageError unless `model` turns `(2, *input_shape)` into `(2, num_outputs)`.

    Args:
        model: left as it was: modes, buffers, random state.
        input_shape: shape of one sample.
        num_outputs: how many outputs are expected.
        spec: what the user wrote, for the message.
        advice: what the model takes, for the message.
    """
    expected = (2, num_outputs)
    try:
        outputs = evaluate(model, torch.zeros(2, *input_shape))
    except REFUSALS as error:
        outputs = _as_integers(model, input_shape, spec, advice, error)
    main = main_output(outputs)
    if tuple(main.shape) != expected:
        form = "" if main is outputs else f"a {type(outputs).__name__} that begins with "
        raise UsageError(f"{spec} returns {form}{tuple(main.shape)} for two samples; {expected} was expected: {advice}")


def reason(error: BaseException) -> str:
    """Return the first line of an error's message, or its kind where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


@torch.no_grad()
def evaluate(model: nn.Module, x: Tensor) -> object:
    """Return what `model` gives for `x` in eval mode; modes and random state are put back."""
    with untouched_random_state(), _in_eval_mode(model):
        return model(x)


def _as_integers(model: nn.Module, input_shape: tuple[int, ...], spec: str, advice: str, first: Exception) -> object:
    """Try again with integers, which models that begin with an embedding take."""
    try:
        return evaluate(model, torch.zeros(2, *input_shape, dtype=torch.long))
    except REFUSALS:
        raise UsageError(f"{spec} does not take inputs {input_shape} ({reason(first)}): {advice}") from first


@contextmanager
def _in_eval_mode(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
