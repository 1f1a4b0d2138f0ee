"""The settings that `pretrain` and `finetune` share: name, type, default and help of each, in this one place.

The command line reads this file without importing it (see `reuse.cli.signatures`).
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

from reuse.menus import lookup

SHARED = "settings"
"""What the functions that take shared settings call them: `**settings: Unpack[Settings]`."""

UNUSED_BY_RANGE_TEST = (
    "out",
    "resume",
    "compare",
    "unfreeze",
    "unfreeze_warmup",
    "auto_freeze",
    "auto_freeze_every",
    "learning_rate",
    "cache",
    "cache_dir",
    "cache_dtype",
    "cache_budget",
    "cache_kind",
    "views",
    "refresh_views",
    "feature_noise",
)
"""Settings of a training that a range test has no use for: it writes nothing, and tries the rates itself."""


class Settings(TypedDict, total=False):
    """What both commands take by name.

    Attributes:
        labels: how many labelled rows in all, a fifth of them for validation; `10/class` too.
        classes: which classes to keep, such as `5,6` or `0-7`.
        target: the target column of a table; fine-tuning takes the source run's where none is given.
        group_by: a column whose groups never straddle splits; fine-tuning takes the source run's where none is given.
        image_size: pixels, one number or height and width; fine-tuning takes the source's where none is given.
        channels: of images, 1 or 3; fine-tuning takes the source's where none are given.
        skip_bad: set broken images aside instead of stopping.
        text: the column of a table that holds texts, which are then the inputs.
        vocabulary: how many words of texts are told apart, or how many tokens arrays have.
        sequence_length: tokens a row of text or of tokens, cut or filled up; None: what 95 % of the texts have.
        activation: of hidden layers, such as `relu` or `leaky_relu:0.2`; None: the source run's, else elu.
        norm: of hidden layers, such as `batch` or `batch:after,input,output`; None: the source run's, else none.
        init: initial weights of fresh hidden layers; None: the source run's, else what the activation needs.
        dropout: of hidden layers; None: the source run's, else 0.
        input_dropout: of the inputs; None: the source run's, else 0.
        recurrent_dropout: of connections between hidden states of an lstm or gru; None: the source run's, else 0.
        drop_path: probability of leaving out a residual layer; None: the source run's, else 0.
        embeddings: a word2vec or GloVe file that fills the embedding layer.
        embedding_size: features of each token; None: the source run's, else 64.
        label_smoothing: share of each label that is spread over all classes.
        class_weights: `balanced`, or weights of classes such as `cat=2,dog=1`.
        augment: what is done to training images or tables at random, such as `shift:2,mirror` or `noise:0.1`.
        mixup: alpha of the mixing of pairs of rows and their labels; 0 mixes none.
        cutmix: alpha of the pasting of patches between images; 0 pastes none.
        batch_size: rows a step.
        accumulate: batches whose gradients make one step.
        optimizer: a name of torch's or timm's, such as `nesterov` or `rmsprop:alpha=0.9`.
        momentum: for optimizers that have one.
        weight_decay: the optimizer's; norms and biases are spared.
        decay_all: let norms and biases decay too.
        layer_rates: multipliers of the rate by layer, such as `hidden1=0.1,conv*=0.5`.
        layer_decay: multiplier of the rate from each layer to the one below.
        switch_optimizer: a change in mid-training, epoch:optimizer:rate, such as `10:sgd:0.01`.
        schedule: of the rate, such as `cosine`, `1cycle`, `exponential:10`, `piecewise:5,0.1`, `performance:0.5,5`, or
            `package.module:function`, a function of (step, total), (step) or (epoch).
        warmup: epochs in which the rate rises to its full value.
        clip_norm: greatest norm of all gradients together.
        clip_value: greatest value of a gradient.
        clip_layer_norm: greatest norm of each tensor's gradient.
        clip_adaptive: greatest norm of a unit's gradient as a share of its weights' norm.
        l1: penalty on absolute weights, one number, or by layer such as `hidden1=0.01`.
        l2: penalty on squared weights, one number, or by layer.
        max_norm: greatest norm of the incoming weights of each unit, one number, or by layer.
        sharpness: radius of sharpness-aware steps; 0 takes ordinary ones.
        alternate: train every other epoch without dropout, penalties, augmentation and mixing.
        ema: decay of the moving average of weights that is validated and kept, such as 0.99.
        swa: epoch from which the average of each epoch's weights is validated and kept.
        precise_norm: compute the batch norms' statistics anew over all training rows at the end.
        patience: epochs without a better validation loss before stopping.
        early_stopping: False trains all epochs, unless max_gap ends them; the best weights are kept all the same.
        max_gap: stop when the validation loss exceeds the training loss, measured without dropout, by this share of it.
        train_metrics: measure the training rows without dropout after each epoch, as the validation rows are.
        watch: look at gradients, weights and dead units of each layer, and advise where something is wrong.
        tensorboard: write losses, metrics and histograms for TensorBoard into the run folder.
        snapshots: keep the weights of every so many epochs, or cycles of a schedule with restarts such as `cosine:5`.
        precision: float32, tf32, bfloat16, float16 or float64.
        compile: compile whole training steps: True, or `auto` where that saves time.
        device: auto, cpu, cuda, cuda:N or mps.
        parallel: how the processes that torchrun starts share a model: `ddp` keeps it whole in each, `fsdp` divides it.
        seed: of labels drawn, initial weights, order, noise and dropout.
        split_seed: of the test and validation rows; None: the source run's where its data are the same, so that it has
            never trained on these test rows, else `seed`.
        trust: let a run or config file that names a `package.module:callable` import and call it.
    """

    labels: int | str | None
    classes: str | Sequence[str | int] | None
    target: str | None
    group_by: str | None
    image_size: int | Sequence[int] | None
    channels: int | None
    skip_bad: bool
    text: str | None
    vocabulary: int | None
    sequence_length: int | None
    activation: str | None
    norm: str | None
    init: str | None
    dropout: float | None
    input_dropout: float | None
    recurrent_dropout: float | None
    drop_path: float | None
    embeddings: str | None
    embedding_size: int | None
    label_smoothing: float
    class_weights: str | None
    augment: str | None
    mixup: float
    cutmix: float
    batch_size: int
    accumulate: int
    optimizer: str
    momentum: float | None
    weight_decay: float
    decay_all: bool
    layer_rates: str | None
    layer_decay: float | None
    switch_optimizer: str | None
    schedule: str
    warmup: float
    clip_norm: float | None
    clip_value: float | None
    clip_layer_norm: float | None
    clip_adaptive: float | None
    l1: float | str | None
    l2: float | str | None
    max_norm: float | str | None
    sharpness: float
    alternate: bool
    ema: float | None
    swa: int | None
    precise_norm: bool
    patience: int
    early_stopping: bool
    max_gap: float | None
    train_metrics: bool
    watch: bool
    tensorboard: bool
    snapshots: int
    precision: str
    compile: bool | str
    device: str
    parallel: str
    seed: int
    split_seed: int | None
    trust: bool


DEFAULTS: dict[str, Any] = {
    "labels": None,
    "classes": None,
    "target": None,
    "group_by": None,
    "image_size": None,
    "channels": None,
    "skip_bad": False,
    "text": None,
    "vocabulary": None,
    "sequence_length": None,
    "activation": None,
    "norm": None,
    "init": None,
    "dropout": None,
    "input_dropout": None,
    "recurrent_dropout": None,
    "drop_path": None,
    "embeddings": None,
    "embedding_size": None,
    "label_smoothing": 0.0,
    "class_weights": None,
    "augment": None,
    "mixup": 0.0,
    "cutmix": 0.0,
    "batch_size": 32,
    "accumulate": 1,
    "optimizer": "adam",
    "momentum": None,
    "weight_decay": 0.0,
    "decay_all": False,
    "layer_rates": None,
    "layer_decay": None,
    "switch_optimizer": None,
    "schedule": "constant",
    "warmup": 0.0,
    "clip_norm": None,
    "clip_value": None,
    "clip_layer_norm": None,
    "clip_adaptive": None,
    "l1": None,
    "l2": None,
    "max_norm": None,
    "sharpness": 0.0,
    "alternate": False,
    "ema": None,
    "swa": None,
    "precise_norm": False,
    "patience": 20,
    "early_stopping": True,
    "max_gap": None,
    "train_metrics": False,
    "watch": False,
    "tensorboard": False,
    "snapshots": 0,
    "precision": "float32",
    "compile": False,
    "device": "auto",
    "parallel": "ddp",
    "seed": 0,
    "split_seed": None,
    "trust": False,
}


def defaults_of(command: Callable[..., Any]) -> dict[str, Any]:
    """Return the default of each setting of `command`, a function with settings of its own and the shared ones."""
    own = {name: p.default for name, p in inspect.signature(command).parameters.items() if name != SHARED}
    return own | DEFAULTS


def all_settings(command: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return every setting of a call, the shared ones filled in.

    Args:
        command: the function that is called.
        arguments: its `locals()` at the start.

    Raises:
        UnknownNameError: a shared setting that there is not.
    """
    shared: dict[str, Any] = arguments[SHARED]
    known = defaults_of(command)
    for name in shared:
        lookup(known, name, "setting")
    return {name: value for name, value in arguments.items() if name != SHARED} | DEFAULTS | shared
