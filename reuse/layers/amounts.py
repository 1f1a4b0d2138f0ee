"""Settings that are one number for all layers, or a number by layer: `0.01`, `hidden1=0.01,conv*=0.1`."""

from torch import nn

from reuse.errors import UsageError
from reuse.layers.selecting import select

Amount = float | str | None


def read_amounts(amount: Amount, model: nn.Module, setting: str) -> dict[str, float]:
    """Return what a setting means for each parameter that trains, by name; empty where it is not given.

    Args:
        amount: one number for all, or patterns of layers (see `reuse.layers.selecting`) with a number each; where
            several match a parameter, the last one counts.
        model: whose layers these are.
        setting: its name, for messages.

    Raises:
        UsageError: not a number or a list of patterns with numbers; a pattern matches nothing.
    """
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    if amount is None:
        return {}
    try:
        return dict.fromkeys(names, float(amount))
    except ValueError:
        pass
    amounts: dict[str, float] = {}
    for entry in str(amount).split(","):
        pattern, value = _split(entry, setting)
        matched = set(select(model, pattern).parameters)
        amounts.update({name: value for name in names if name in matched})
    return amounts


def _split(entry: str, setting: str) -> tuple[str, float]:
    pattern, equals, number = (part.strip() for part in entry.rpartition("="))
    try:
        if pattern and equals:
            return pattern, float(number)
    except ValueError:
        pass
    raise UsageError(
        f"{setting} holds {entry!r}: give one number, or layers with numbers, as in hidden1=0.01,conv*=0.1"
    )
