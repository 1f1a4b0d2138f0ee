"""The grid of a sweep: lists of settings, and every combination of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from reuse.data.labels import parse_labels
from reuse.errors import UsageError
from reuse.heads.stacked_optimizers import check_stackable
from reuse.optim.groups import OptimizerSettings
from reuse.settings.commands import FinetuneSettings

NO_LAYERS, LAYERS = "0", "mlp:"


@dataclass(frozen=True)
class Choice:
    """One combination of settings.

    Attributes:
        head: `0` for the model's own layers, `mlp:100/50` for hidden layers added below its output layer.
        optimizer: a name of `reuse.heads.stacked_optimizers.STACKABLE`, with arguments behind a colon.
        learning_rate: the full rate.
        weight_decay: the optimizer's own kind of decay.
        momentum: None takes the optimizer's own.
        schedule: of the rate.
    """

    head: str
    optimizer: str
    learning_rate: float
    weight_decay: float
    momentum: float | None
    schedule: str

    def applied(self, settings: FinetuneSettings) -> FinetuneSettings:
        """Return the settings of a fine-tuning that trains such a head."""
        return replace(
            settings,
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            schedule=self.schedule,
        )

    @property
    def origin(self) -> str:
        """The way it came about, for a note."""
        return ""

    def optimizer_settings(self, decay_all: bool) -> OptimizerSettings:
        """Return the settings of the optimizer."""
        return OptimizerSettings(self.optimizer, self.learning_rate, self.momentum, self.weight_decay, decay_all)


def read_choices(
    *, head: Any, optimizer: Any, learning_rate: Any, weight_decay: Any, momentum: Any, schedule: Any
) -> list[Choice]:
    """Return every combination of settings, each of which is one value, a sequence, or a text with commas.

    Schedules have commas of their own and are separated by `;`.

    Raises:
        UsageError: a value that cannot be taken.
    """
    lists = (
        [_read_head(text) for text in as_values("head", head, str)],
        _joined_arguments(as_values("optimizer", optimizer, str)),
        as_values("learning_rate", learning_rate, float),
        as_values("weight_decay", weight_decay, float),
        [None] if momentum is None else as_values("momentum", momentum, float),
        as_values("schedule", schedule, str, ";"),
    )
    choices = [Choice(*values) for values in product(*(dict.fromkeys(some) for some in lists))]
    for name in {choice.optimizer for choice in choices}:
        check_stackable(name)
    for choice in choices:
        choice.optimizer_settings(decay_all=False)  # numbers out of their range
    return choices


def read_labels(labels: Any) -> list[int | str | None]:
    """Return how many labels a sweep tries; `all` for all of them, as None.

    Raises:
        UsageError: a value is none of a whole number, N/class and all.
    """
    if labels is None:
        return [None]
    values: list[int | str | None] = []
    for text in as_values("labels", labels, str):
        if text != "all":
            parse_labels(text)
        values.append(None if text == "all" else int(text) if text.isdigit() else text)
    return list(dict.fromkeys(values))


def as_values(name: str, value: Any, read: Callable[[Any], Any], separator: str = ",") -> list[Any]:
    """Return a setting's values: of one value, of a sequence, or of a text that separates them.

    Raises:
        UsageError: there is none, or one of them is of another type.
    """
    parts: Sequence[Any] = [value]
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(separator)] if value.strip() else []
        if "" in parts:
            raise UsageError(f"{name} is {value!r}, which has an empty place: fill it, or take a {separator} away")
    elif isinstance(value, Sequence):
        parts = value
    try:
        found = [read(part) for part in parts]
    except (TypeError, ValueError) as error:
        kind = "numbers" if read is float else "texts"
        raise UsageError(f"{name} is {value!r}: give {kind}, one or several, as in 0.1{separator}0.01") from error
    if not found:
        raise UsageError(f"{name} is {value!r}, which holds no value: give one or several separated by {separator}")
    return found


def head_widths(head: str) -> str | None:
    """Return what a head adds, as `add_layers` takes it: `100,50`; None for nothing."""
    return None if head == NO_LAYERS else head.removeprefix(LAYERS).replace("/", ",")


def _read_head(text: str) -> str:
    if text == NO_LAYERS or all(width.isdigit() for width in text.removeprefix(LAYERS).split("/")):
        return text if text == NO_LAYERS else f"{LAYERS}{text.removeprefix(LAYERS)}"
    raise UsageError(f"head is {text!r}: give 0 for the model's own layers, or hidden layers to add, as in mlp:100/50")


def _joined_arguments(parts: Sequence[str]) -> list[str]:
    """Put together again what belongs to one optimizer: `rmsprop:alpha=0.9,eps=1e-8`."""
    joined: list[str] = []
    for part in parts:
        if joined and "=" in part and ":" not in part:
            joined[-1] = f"{joined[-1]},{part}"
        else:
            joined.append(part)
    return joined
