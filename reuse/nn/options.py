"""Options of a model's layers, as `reuse.build` takes them."""

from dataclasses import dataclass, fields, replace
from typing import TypeVar

from reuse.settings.group import Settings

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class LayerOptions(Settings):
    """Options of the layers of a model.

    A run keeps them by name, so to rename one is to change the form of run.json.

    Attributes:
        activation: of the hidden layers, a name of `activations.ACTIVATIONS`; None: relu, or the default network's. The
            activations of timm's and users' models are exchanged for it (see `exchanging`).
        norm: between the linear part of a hidden layer and its activation: batch, layer, group, rms, instance,
            local_response, or, of the weights of that part, weight or spectral; none for no norm. Behind a colon come
            arguments and where else it stands, after the activation instead, on the inputs, on the outputs:
            `batch:eps=0.001,momentum=0.01,after,input,output`. None: none, or the default network's. The norms of
            timm's and users' models are exchanged for it.
        init: initial weights of the hidden layers; None follows the activation. The output layer has Glorot's.
        dropout: probability of dropping an output of a hidden layer, in a convnet with dense layers of these alone;
            for timm its `drop_rate`; None: 0, or the default network's.
        input_dropout: probability of dropping an input, or a feature of a token.
        drop_path: probability of leaving out a residual layer, in a convnet the last one; for timm its
            `drop_path_rate`.
        recurrent_dropout: probability of dropping a connection between hidden states of an lstm or gru.
        embedding_size: features of each token; None: 64, or those of `embeddings`.
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
