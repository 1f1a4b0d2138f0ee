"""The settings in groups, each of which one part of `reuse` takes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from reuse.errors import UsageError
from reuse.reporting import Reporter
from reuse.settings.setting import AtLeast, Text, settings_of
from reuse.units import parse_bytes


def _count(text: str) -> int | str:
    return int(text) if re.fullmatch(r"[+-]?\d+", text.strip()) else text


def read_shape(text: str) -> tuple[int, ...]:
    """Return the numbers in a text such as `3,64,64` or `64x48`.

    Raises:
        UsageError: it holds no whole numbers.
    """
    parts = re.split(r"[x,]", text)
    if not all(re.fullmatch(r"\s*[+-]?\d+\s*", part) for part in parts):
        raise UsageError(f"{text!r} holds no whole numbers: write for example 3,64,64, or 64x48 for a size")
    return tuple(int(part) for part in parts)


def _size(text: str) -> int | tuple[int, ...]:
    sizes = read_shape(text)
    return sizes[0] if len(sizes) == 1 else sizes


def _amount(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


Count = Annotated[int, AtLeast(1)]
"""A whole number of 1 or more."""
LabelCount = Annotated[int | str | None, Text("N or N/class", _count)]
"""So many labelled rows in all, or of each class."""
ImageSize = Annotated[int | Sequence[int] | None, Text("PIXELS or HxW", _size)]
"""Pixels, one number or height and width."""
Patterns = Annotated[str | Sequence[str], Text(repeated=True)]
"""Patterns of layers (see `reuse.layers.selecting`)."""
Amount = Annotated[float | str | None, Text("NUMBER or LAYER=NUMBER,…", _amount)]
"""One number for all layers, or a number by layer."""
Bytes = Annotated[int | None, Text("BYTES", parse_bytes)]
"""Bytes, as a number or as a text such as `2GB`."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A group of settings, checked: values are of the types that the group says.

    Raises:
        UsageError: a value that a setting does not take; the message says which it takes.
    """

    def __post_init__(self) -> None:
        for name, setting in settings_of(type(self)).items():
            object.__setattr__(self, name, setting.checked(getattr(self, name)))


@dataclass(frozen=True, kw_only=True)
class ReadingSettings(Settings):
    """How data are read and split.

    Attributes:
        data: a data spec or arrays (see `reuse.load`).
        classes: which classes to keep, such as `5,6` or `0-7`.
        target: the target column of a table; fine-tuning takes the source run's where none is given.
        group_by: a column whose groups never straddle splits; fine-tuning takes the source run's where none is given.
        image_size: pixels, one number or height and width; fine-tuning takes the source's where none is given.
        channels: of images, 1 or 3; fine-tuning takes the source's where none are given.
        skip_bad: set broken images aside instead of stopping.
        text: the column of a table that holds texts, which are then the inputs.
        vocabulary: how many words of texts are told apart, or how many tokens arrays have.
        sequence_length: tokens a row of text or of tokens, cut or filled up; None: what 95 % of the texts have.
        split_seed: of the test and validation rows; None: the source run's where its data are the same, so that it has
            never trained on these test rows, else `seed`.
    """

    data: Any = None
    classes: str | Sequence[str | int] | None = None
    target: str | None = None
    group_by: str | None = None
    image_size: ImageSize = None
    channels: int | None = None
    skip_bad: bool = False
    text: str | None = None
    vocabulary: int | None = None
    sequence_length: int | None = None
    split_seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class DataSettings(ReadingSettings):
    """The rows of one training.

    Attributes:
        labels: how many labelled rows in all, a fifth of them for validation; `10/class` too.
    """

    labels: LabelCount = None


@dataclass(frozen=True, kw_only=True)
class ModelSettings(Settings):
    """The model, and the layers that a fresh one is made of.

    Attributes:
        model: a model spec (see `reuse.build`); None: the source's.
        activation: of hidden layers, such as `relu` or `leaky_relu:0.2`; None: the source run's, else elu.
        norm: of hidden layers, such as `batch` or `batch:after,input,output`; None: the source run's, else none.
        init: initial weights of fresh hidden layers; None: the source run's, else what the activation needs.
        dropout: of hidden layers; None: the source run's, else 0.
        input_dropout: of the inputs; None: the source run's, else 0.
        recurrent_dropout: of connections between hidden states of an lstm or gru; None: the source run's, else 0.
        drop_path: probability of leaving out a residual layer; None: the source run's, else 0.
        embeddings: a word2vec or GloVe file that fills the embedding layer.
        embedding_size: features of each token; None: the source run's, else 64.
        trust: let a run or config file that names a `package.module:callable` import and call it.
    """

    model: str | None = None
    activation: str | None = None
    norm: str | None = None
    init: str | None = None
    dropout: float | None = None
    input_dropout: float | None = None
    recurrent_dropout: float | None = None
    drop_path: float | None = None
    embeddings: str | None = None
    embedding_size: int | None = None
    trust: bool = False


@dataclass(frozen=True, kw_only=True)
class ReusingSettings(Settings):
    """The layers that are taken over from a source.

    Attributes:
        restore: patterns of the source's layers to restore; none: all that fit, the output layer apart.
        drop_layers: upper hidden layers to leave out, such as `hidden3`.
        random_weights: do without timm's pretrained weights.
    """

    restore: Patterns = ()
    drop_layers: str | None = None
    random_weights: bool = False


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
    unfreeze_warmup: float = 1.0
    auto_freeze: Annotated[bool | float, Text("[NUMBER]", float)] = False
    auto_freeze_every: int | None = None


@dataclass(frozen=True, kw_only=True)
class AugmentingSettings(Settings):
    """Changes to batches before the network sees them.

    Attributes:
        augment: what is done to training images or tables at random, such as `shift:2,mirror` or `noise:0.1`.
        mixup: alpha of the mixing of pairs of rows and their labels; 0 mixes none.
        cutmix: alpha of the pasting of patches between images; 0 pastes none.
    """

    augment: str | None = None
    mixup: float = 0.0
    cutmix: float = 0.0


@dataclass(frozen=True, kw_only=True)
class LabelSettings(Settings):
    """The weight of labels in the loss.

    Attributes:
        label_smoothing: share of each label that is spread over all classes.
        class_weights: `balanced`, or weights of classes such as `cat=2,dog=1`.
    """

    label_smoothing: float = 0.0
    class_weights: str | None = None


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings(LabelSettings):
    """The objective of a pretraining.

    Attributes:
        objective: a name of `reuse pretrain --list`: `autoencoder`, `denoising_autoencoder`, `supervised` on the labels
            of a similar task with more of them; or an object of your own (see `reuse.Objective`).
        noise: for autoencoders: the standard deviation of Gaussian noise on the inputs, or the share of them that a
            `denoising_autoencoder` masks; None takes the objective's own.
    """

    objective: str | object = field(default="autoencoder", kw_only=False)
    noise: float | None = None


@dataclass(frozen=True, kw_only=True)
class DecaySettings(Settings):
    """Details of steps that heads which are trained together share.

    Attributes:
        decay_all: let norms and biases decay too.
        warmup: epochs in which the rate rises to its full value.
    """

    decay_all: bool = False
    warmup: float = 0.0


@dataclass(frozen=True, kw_only=True)
class OptimizingSettings(DecaySettings):
    """How weights move: optimizer, rates, schedule, clipping, penalties, constraints, averages.

    Attributes:
        optimizer: a name of torch's or timm's, such as `nesterov` or `rmsprop:alpha=0.9`.
        learning_rate: the full rate.
        momentum: for optimizers that have one.
        weight_decay: the optimizer's; norms and biases are spared.
        layer_rates: multipliers of the rate by layer, such as `hidden1=0.1,conv*=0.5`.
        layer_decay: multiplier of the rate from each layer to the one below.
        switch_optimizer: a change in mid-training, epoch:optimizer:rate, such as `10:sgd:0.01`.
        schedule: of the rate, such as `cosine`, `1cycle`, `exponential:10`, `piecewise:5,0.1`, `performance:0.5,5`, or
            `package.module:function`, a function of (step, total), (step) or (epoch).
        clip_norm: greatest norm of all gradients together.
        clip_value: greatest value of a gradient.
        clip_layer_norm: greatest norm of each tensor's gradient.
        clip_adaptive: greatest norm of a unit's gradient as a share of its weights' norm.
        l1: penalty on absolute weights, one number, or by layer such as `hidden1=0.01`.
        l2: penalty on squared weights, one number, or by layer.
        max_norm: greatest norm of the incoming weights of each unit, one number, or by layer.
        sharpness: radius of sharpness-aware steps; 0 takes ordinary ones.
        ema: decay of the moving average of weights that is validated and kept, such as 0.99.
        swa: epoch from which the average of each epoch's weights is validated and kept.
    """

    optimizer: str = "adam"
    learning_rate: float = 1e-3
    momentum: float | None = None
    weight_decay: float = 0.0
    layer_rates: str | None = None
    layer_decay: float | None = None
    switch_optimizer: str | None = None
    schedule: str = "constant"
    clip_norm: float | None = None
    clip_value: float | None = None
    clip_layer_norm: float | None = None
    clip_adaptive: float | None = None
    l1: Amount = None
    l2: Amount = None
    max_norm: Amount = None
    sharpness: float = 0.0
    ema: float | None = None
    swa: int | None = None


@dataclass(frozen=True, kw_only=True)
class EpochSettings(Settings):
    """How long is trained.

    Attributes:
        epochs: the greatest number of epochs.
        patience: epochs without a better validation loss before stopping.
        early_stopping: False trains all epochs, unless max_gap ends them; the best weights are kept all the same.
    """

    epochs: Count = 100
    patience: Annotated[int | None, AtLeast(1, "give 1 epoch or more, or --no-early-stopping")] = 20
    early_stopping: bool = True


@dataclass(frozen=True, kw_only=True)
class ComputingSettings(Settings):
    """Where and in which batches is computed.

    Attributes:
        batch_size: rows a step.
        precision: float32, tf32, bfloat16, float16 or float64.
        device: auto, cpu, cuda, cuda:N or mps.
        seed: of labels drawn, initial weights, order, noise and dropout.
    """

    batch_size: Count = 32
    precision: str = "float32"
    device: str = "auto"
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(EpochSettings, ComputingSettings):
    """The training loop.

    Attributes:
        accumulate: batches whose gradients make one step.
        alternate: train every other epoch without dropout, penalties, augmentation and mixing.
        precise_norm: compute the batch norms' statistics anew over all training rows at the end.
        max_gap: stop when the validation loss exceeds the training loss, measured without dropout, by this share of it.
        train_metrics: measure the training rows without dropout after each epoch, as the validation rows are.
        compile: compile whole training steps: True, or `auto` where that saves time.
        parallel: how the processes that torchrun starts share a model: `ddp` keeps it whole in each, `fsdp` divides it.
    """

    accumulate: Count = 1
    alternate: bool = False
    precise_norm: bool = False
    max_gap: float | None = None
    train_metrics: bool = False
    compile: Annotated[bool | str, Text("[auto]")] = False
    parallel: str = "ddp"


@dataclass(frozen=True, kw_only=True)
class StoringSettings(Settings):
    """Where the activations of frozen layers are kept.

    Attributes:
        cache_dir: the folder; None: `$REUSE_CACHE` or `./cache`.
        cache_dtype: in which type they are stored, such as `float16`; None: as computed.
        cache_budget: bytes that all caches together may take.
        cache_kind: `disk`, `memory` for this run alone, or `auto`, the faster of them.
    """

    cache_dir: str | Path | None = None
    cache_dtype: str | None = None
    cache_budget: Bytes = None
    cache_kind: str = "auto"


@dataclass(frozen=True, kw_only=True)
class CachingSettings(StoringSettings):
    """What is kept of frozen layers, and what is done to it.

    Attributes:
        cache: False computes the frozen layers anew each epoch.
        views: versions of each training row, as it is and changed by `augment`, that are cached and read in turn.
        refresh_views: epochs from one new version to the next, which is computed in the background.
        feature_noise: normal noise on what frozen layers compute, in parts of each feature's deviation, such as 0.1.
    """

    cache: bool = True
    views: int | None = None
    refresh_views: int | None = None
    feature_noise: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RecordingSettings(Settings):
    """What is recorded of a training beside its history.

    Attributes:
        watch: look at gradients, weights and dead units of each layer, and advise where something is wrong.
        tensorboard: write losses, metrics and histograms for TensorBoard into the run folder.
        snapshots: keep the weights of every so many epochs, or cycles of a schedule with restarts such as `cosine:5`.
    """

    watch: bool = False
    tensorboard: bool = False
    snapshots: int = 0


@dataclass(frozen=True, kw_only=True)
class ListenerSettings(Settings):
    """The one who is told what goes on; no part of what a run is replayed from.

    Attributes:
        reporter: told of lines and epochs; by default nobody is.
    """

    reporter: Reporter | None = None


@dataclass(frozen=True, kw_only=True)
class RunSettings(ListenerSettings):
    """The run folder, which is no part of what a run is replayed from.

    Attributes:
        out: the run folder; by default a new one under `runs`.
        resume: a run folder to go on with; what is not given otherwise comes from its settings.
    """

    out: str | Path | None = None
    resume: str | Path | None = None
