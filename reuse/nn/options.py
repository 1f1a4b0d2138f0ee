"""Options of a model's layers, as `reuse.build` takes them."""

from dataclasses import dataclass, fields, replace
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class LayerOptions:
    """Options of the layers of a model; `reuse.build` says what each does.

    A run keeps them by name, so to rename one is to change the form of run.json.

    Attributes:
        activation: of the hidden layers; None: the family's.
        norm: of the hidden layers, with its arguments and places; None: the family's.
        init: initial weights of the hidden layers; None: what the activation needs.
        dropout: probability of dropping an output of a hidden layer; None: the family's.
        input_dropout: probability of dropping an input.
        drop_path: probability of leaving out a residual layer.
        recurrent_dropout: probability of dropping a connection between hidden states.
        embedding_size: features of each token; None: those of the word vectors, else 64.
    """

    activation: str | None = None
    norm: str | None = None
    init: str | None = None
    dropout: float | None = None
    input_dropout: float = 0.0
    drop_path: float = 0.0
    recurrent_dropout: float = 0.0
    embedding_size: int | None = None

    @property
    def given(self) -> tuple[str, ...]:
        """The names of those that differ from their defaults."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name) != field.default)

    def filled(self, defaults: "LayerOptions") -> "LayerOptions":
        """Return these options, those of `defaults` where they are None."""
        missing = [field.name for field in fields(self) if getattr(self, field.name) is None]
        return replace(self, **{name: getattr(defaults, name) for name in missing})


def or_default(value: T | None, default: T) -> T:
    """Return `value`, or `default` where it is None."""
    return default if value is None else value
