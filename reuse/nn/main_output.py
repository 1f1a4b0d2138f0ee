"""The output that a model is trained on, where it returns several: the one that is called so, or the first."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from reuse.errors import UsageError

# What the output for the task is called, the first of them that is there.
MAIN = ("logits", "out", "output", "outputs", "prediction", "predictions", "scores", "x")


def main_output(outputs: Any) -> Tensor:
    """Return the tensor to train on and to predict by, of whatever a model returns.

    Args:
        outputs: a tensor; a dictionary, named tuple or dataclass of them; or a list or tuple. Entries that are no
            tensors (None, a loss's settings) are passed over, as are single numbers (a loss) beside others.

    Raises:
        UsageError: there is no tensor in it.

    Example:
        >>> main_output({"aux": torch.zeros(2, 3), "logits": torch.ones(2, 3)}).sum()
        tensor(6.)
    """
    if isinstance(outputs, Tensor):
        return outputs
    return next(iter(named_outputs(outputs).values()))


def named_outputs(outputs: Any) -> dict[str, Tensor]:
    """Return the tensors among several outputs by name or number, the main one first.

    Raises:
        UsageError: there is none.
    """
    given = {name: value for name, value in _entries(outputs).items() if isinstance(value, Tensor)}
    if not given:
        kind = type(outputs).__name__
        raise UsageError(f"the model returns a {kind} without a tensor: return the outputs, or logits among others")
    by_row = {name: tensor for name, tensor in given.items() if tensor.ndim} or given  # rather no loss beside logits
    main = next((name for name in MAIN if name in by_row), next(iter(by_row)))
    return {main: given.pop(main), **given}


def _entries(outputs: Any) -> dict[str, Any]:
    if isinstance(outputs, Mapping):
        return {str(name): value for name, value in outputs.items()}
    if is_dataclass(outputs):
        return {field.name: getattr(outputs, field.name) for field in fields(outputs)}
    if isinstance(outputs, tuple | list):
        names = getattr(outputs, "_fields", range(len(outputs)))
        return {str(name): value for name, value in zip(names, outputs, strict=True)}
    return {}
