"""The settings of the model: its layers, those that are taken over, and those that are frozen."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from reuse.settings.group import Count, Patterns, Settings
from reuse.settings.setting import Needs, Text


@dataclass(frozen=True, kw_only=True)
class ModelSettings(Settings):
    """The model, and the layers that a fresh one is made of.

    Attributes:
        model: a model spec (see `reuse.build`), or from Python a module of torch; None: the source's.
        activation: of hidden layers, such as `relu` or `leaky_relu:0.2`; None: the source run's, else elu.
        norm: of hidden layers, such as `batch` or `batch:after,input,output`; None: the source run's, else none.
        init: initial weights of fresh hidden layers; None: the source run's, else what the activation needs.
        dropout: of hidden layers; None: the source run's, else 0.
        input_dropout: of the inputs; None: the source run's, else 0.
        recurrent_dropout: of connections between hidden states of an lstm or gru; None: the source run's, else 0.
        drop_path: probability of leaving out a residual layer; None: the source run's, else 0.
        embeddings: a word2vec or GloVe file that fills the embedding layer.
        embedding_size: features of each token; None: the source run's, else 64.
        trust: let a run or config file that names a `package.module:callable` import and call it, and one that names a
            cache or a run folder write there.
    """

    model: Any = None
    activation: str | None = None
    norm: str | None = None
    init: str | None = None
    dropout: float | None = None
    input_dropout: float | None = None
    recurrent_dropout: float | None = None
    drop_path: float | None = None
    embeddings: str | Path | None = None
    embedding_size: Count | None = None
    trust: bool = False


@dataclass(frozen=True, kw_only=True)
class ReusingSettings(Settings):
    """The layers that are taken over from a source.

    Attributes:
        restore: patterns of the source's layers to restore; none: all that fit, the output layer apart.
        rename: names of the source's layers that the model calls otherwise, such as `backbone=` (it is taken off) or
            `body=features,top=fc`; None: a prefix that all layers have is found.
        drop_layers: upper hidden layers to leave out, such as `hidden3`.
        random_weights: do without the pretrained weights of timm or of a folder of transformers.
    """

    restore: Patterns = ()
    rename: str | None = None
    drop_layers: str | None = None
    random_weights: bool = False


@dataclass(frozen=True, kw_only=True)
class SideSettings(Settings):
    """The small network that trains beside one that is frozen as a whole.

    Attributes:
        side: what trains beside the reused layers, which are frozen as a whole and computed once: `ladder`, a small
            network that takes in what each of them gives (ladder side-tuning, arXiv 2206.06522), as `ladder:4` a
            quarter as wide, or `ladder:reduction=4,grid=4`, of maps pooled to 4 by 4 places; or `linear`, one linear
            layer over all of them (`linear:2`: 2 by 2 places).
        side_layers: patterns of the layers that it takes in, such as `conv*`; none: the main ones.
    """

    side: str | None = None
    side_layers: Annotated[Patterns, Needs("side")] = ()


@dataclass(frozen=True, kw_only=True)
class FreezingSettings(Settings):
    """The layers that are frozen.

    Attributes:
        freeze: patterns of the layers to freeze (see `reuse.layers.selecting`); none: everything trains.
    """

    freeze: Patterns = ()


@dataclass(frozen=True, kw_only=True)
class PhaseSettings(FreezingSettings):
    """The layers that are frozen, epoch by epoch.

    Attributes:
        unfreeze: what trains after so many epochs though it was frozen, such as `5:hidden2,10:all`.
        unfreeze_warmup: epochs over which the rate of layers that begin to train later rises to its full height.
        auto_freeze: let layers freeze by themselves, from the inputs on, as long as their gradients change less from
            interval to interval than a percentile of all changes; True: 50 (AutoFreeze, arXiv 2102.01386).
        auto_freeze_every: length of such an interval in epochs; None: a twentieth of all epochs.
    """

    unfreeze: str | None = None
    unfreeze_warmup: Annotated[float, Needs("unfreeze")] = 1.0
    auto_freeze: Annotated[bool | float, Text("[NUMBER]", float)] = False
    auto_freeze_every: Annotated[Count | None, Needs("auto_freeze")] = None
