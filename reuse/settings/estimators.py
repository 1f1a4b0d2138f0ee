"""The settings of the estimators for scikit-learn: those of the commands, without what a pipeline gives or keeps."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reuse.settings.caching import CachingSettings, FeatureSettings
from reuse.settings.group import Count, ImageSize, Settings
from reuse.settings.model import ModelSettings, PhaseSettings, ReusingSettings
from reuse.settings.training import (
    AugmentingSettings,
    LabelSettings,
    ObjectiveSettings,
    OptimizingSettings,
    TrainingSettings,
)


@dataclass(frozen=True, kw_only=True)
class SourceSettings(Settings):
    """The source of an estimator's layers, and its random numbers.

    Attributes:
        source: a run folder, a file of weights, a model spec such as `timm:resnet18`, or a `torch.nn.Module`; None: the
            newest pretraining run under `runs`.
        image_size: pixels, to which images are resized; None: they stay as they are, or are as a source run's.
        random_state: of initial weights, splits, order and dropout: a number, a `RandomState`, or None.
    """

    source: Any = field(default=None, kw_only=False)
    image_size: ImageSize = None
    random_state: Any = None


@dataclass(frozen=True, kw_only=True)
class ExtractingSettings(SourceSettings, CachingSettings):
    """Settings of `reuse.FrozenFeatures`.

    Attributes:
        layers: names of layers, or patterns of them such as `layer?`, whose outputs are the features, side by side;
            None: what the output layer takes.
        pool: what becomes of the places of a picture and the steps of a sequence: `mean`, `max`, `last` or `flatten`.
        model: a model spec, where the source is a file of weights.
        random_weights: do without timm's pretrained weights.
        cache: False computes the features anew each time.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: float32, tf32, bfloat16, float16 or float64.
        trust: let a run that names a `package.module:callable` import and call it.
    """

    layers: Any = None
    pool: str = "mean"
    model: str | None = None
    random_weights: bool = False
    cache: bool = True
    device: str = "auto"
    precision: str = "float32"
    trust: bool = False
    cache_kind: str = field(init=False, default="disk")
    rehash: bool = field(init=False, default=False)


@dataclass(frozen=True, kw_only=True)
class TransferSettings(
    SourceSettings,
    PhaseSettings,
    ReusingSettings,
    FeatureSettings,
    ModelSettings,
    AugmentingSettings,
    OptimizingSettings,
    TrainingSettings,
):
    """Settings of `reuse.TransferRegressor`.

    Attributes:
        add_layers: widths of hidden layers to add on top, such as `50,20`.
        l2_sp: pull of the reused weights that train towards where they began.
        valid_fraction: share of the rows that is drawn to choose the epoch by; 0: the last epoch is taken.
        out: a run folder to keep; by default none is kept.
        cache_kind: where activations are kept: `disk`, for all folds, processes and later fits, `memory` for one fit
            alone, or `auto`, the faster of them for this fit.
    """

    add_layers: str | None = None
    l2_sp: float | None = None
    valid_fraction: float = 0.2
    out: str | Path | None = None
    cache_kind: str = "disk"
    epochs: Count = 200
    seed: int = field(init=False, default=0)
    rehash: bool = field(init=False, default=False)


@dataclass(frozen=True, kw_only=True)
class TransferClassifierSettings(LabelSettings, TransferSettings):
    """Settings of `reuse.TransferClassifier`."""


@dataclass(frozen=True, kw_only=True)
class EncodingSettings(
    ExtractingSettings, ObjectiveSettings, ModelSettings, AugmentingSettings, OptimizingSettings, TrainingSettings
):
    """Settings of `reuse.PretrainedEncoder`.

    Attributes:
        model: a model spec (see `reuse.build`); an autoencoder's decoder is built from it.
        cache: True keeps the outputs of the layers, for the same rows and the same trained network.
        valid_fraction: share of the rows that is drawn to choose the epoch by; 0: the last epoch is taken.
        out: a run folder to keep; by default none is kept.
    """

    source: Any = field(init=False, default=None)
    random_weights: bool = field(init=False, default=False)
    model: str = "mlp:100,50,25"
    cache: bool = False
    valid_fraction: float = 0.2
    epochs: Count = 100
    learning_rate: float = 3e-3
    out: str | Path | None = None
    seed: int = field(init=False, default=0)
    label_smoothing: float = field(init=False, default=0.0)
    class_weights: str | None = field(init=False, default=None)
