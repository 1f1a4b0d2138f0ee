"""The settings of training: changes to batches, the objective, how weights move, the loop, what is recorded."""

from dataclasses import dataclass, field
from typing import Annotated

from reuse.settings.group import Amount, Count, Settings
from reuse.settings.setting import Maximum, Minimum, Needs, Text

LEAST_PATIENCE = Minimum(1, "give 1 epoch or more, or --no-early-stopping")
EVERY = "give every how many epochs the weights are kept, 1 or more, or leave it out"


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
        objective: a name of `reuse pretrain --list`, such as `autoencoder`, `byol`, or `supervised` on the labels of a
            similar task with more of them, with settings of its own as in `byol:momentum=0.9`; or an object of your own
            (see `reuse.Objective`).
        noise: for autoencoders: the standard deviation of Gaussian noise on the inputs, or the share of them that a
            `denoising_autoencoder` masks; None takes the objective's own.
    """

    objective: str | object = field(default="autoencoder", kw_only=False)
    noise: float | None = None


@dataclass(frozen=True, kw_only=True)
class ProbingSettings(Settings):
    """Scores of the features that a pretraining learns.

    Attributes:
        probe_every: epochs from one score of the encoder's features of validation rows to the next, by their nearest
            neighbours and by a linear layer, where these rows have labels.
        stop_on: `probe`: early stopping watches the linear layer's score, and the weights of the best one are kept.
    """

    probe_every: Annotated[int | None, Minimum(1), Maximum(10**9)] = None
    stop_on: Annotated[str | None, Text("probe"), Needs("probe_every")] = None


@dataclass(frozen=True, kw_only=True)
class DecaySettings(Settings):
    """Details of steps that heads which are trained together share.

    Attributes:
        decay_all: let norms and biases decay too.
        warmup: epochs in which the rate rises to its full value.
    """

    decay_all: Annotated[bool, Needs("weight_decay")] = False
    warmup: float = 0.0


@dataclass(frozen=True, kw_only=True)
class OptimizingSettings(DecaySettings):
    """The way weights move: optimizer, rates, schedule, clipping, penalties, constraints, averages.

    Attributes:
        optimizer: a name of torch's or timm's, such as `nesterov` or `rmsprop:alpha=0.9`.
        learning_rate: the full rate.
        momentum: for optimizers that have one.
        weight_decay: the optimizer's; norms and biases are spared.
        layer_rates: multipliers of the rate by layer, such as `hidden1=0.1,conv*=0.5`.
        layer_decay: multiplier of the rate from each layer to the one below.
        switch_optimizer: a change in mid-training, epochs:optimizer:rate, such as `10:sgd:0.01`.
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
    """The length of a training.

    Attributes:
        epochs: the greatest number of epochs.
        patience: epochs without a better validation loss before stopping; early_stopping=False trains to the end.
        early_stopping: False trains all epochs, unless max_gap ends them; the best weights are kept all the same.
    """

    epochs: Count = 100
    patience: Annotated[int, LEAST_PATIENCE, Maximum(10**9), Needs("early_stopping")] = 20
    early_stopping: bool = True


@dataclass(frozen=True, kw_only=True)
class ComputingSettings(Settings):
    """The device, the precision and the size of batches.

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
        channels_last: lay convolutions over images out with their channels last, faster above all in bfloat16.
        parallel: how the processes that torchrun starts share a model: `ddp` keeps it whole in each, `fsdp` divides it.
    """

    accumulate: Count = 1
    alternate: bool = False
    precise_norm: bool = False
    max_gap: float | None = None
    train_metrics: bool = False
    compile: Annotated[bool | str, Text("[auto]")] = False
    channels_last: bool = False
    parallel: str = "ddp"


@dataclass(frozen=True, kw_only=True)
class RecordingSettings(Settings):
    """The records of a training beside its history.

    Attributes:
        watch: look at gradients, weights and dead units of each layer, and advise where something is wrong.
        tensorboard: write losses, metrics and histograms for TensorBoard into the run folder.
        snapshots: keep the weights of every so many epochs, or cycles of a schedule with restarts such as `cosine:5`.
    """

    watch: bool = False
    tensorboard: bool = False
    snapshots: Annotated[int | None, Minimum(1, EVERY), Maximum(10**9)] = None
