"""The settings of each command, put together from the groups, and its arguments: settings and where its run goes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from reuse.settings.caching import CachingSettings, FeatureSettings, StoringSettings
from reuse.settings.data import DataSettings, ReadingSettings
from reuse.settings.group import Count
from reuse.settings.model import FreezingSettings, ModelSettings, PhaseSettings, ReusingSettings, SideSettings
from reuse.settings.run import ListenerSettings, RunSettings
from reuse.settings.setting import Maximum, Minimum, Needs, Text
from reuse.settings.training import (
    AugmentingSettings,
    ComputingSettings,
    DecaySettings,
    EpochSettings,
    LabelSettings,
    ObjectiveSettings,
    OptimizingSettings,
    ProbingSettings,
    RecordingSettings,
    TrainingSettings,
)

Source = str | Path | None
Names = Annotated[str | Sequence[str], Text("A,B,…")]
Numbers = Annotated[float | str | Sequence[float], Text("A,B,…", str)]


@dataclass(frozen=True, kw_only=True)
class LearningSettings(
    ModelSettings,
    DataSettings,
    AugmentingSettings,
    LabelSettings,
    OptimizingSettings,
    TrainingSettings,
):
    """Settings of any training, but for what is recorded of it."""


@dataclass(frozen=True, kw_only=True)
class TrainedSettings(LearningSettings, RecordingSettings):
    """Settings that pretraining and fine-tuning share."""


@dataclass(frozen=True, kw_only=True)
class PretrainSettings(ObjectiveSettings, ProbingSettings, CachingSettings, TrainedSettings):
    """Settings of a pretraining.

    Attributes:
        model: a model spec (see `reuse.build`), or from Python a module of torch, of which a copy is trained; an
            autoencoder's decoder is built from it.
        transductive: train on the test rows' inputs too, without their labels.
        pictures: of images, draw reconstructions, samples, filters, nearest neighbours and maps of the features into
            the run folder.
    """

    command: ClassVar[str] = "pretrain"

    data: Any = "digits"
    model: Any = "mlp:100,50,25"
    transductive: bool = False
    pictures: bool = True
    epochs: Count = 100
    learning_rate: float = 3e-3


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings(PhaseSettings, SideSettings, ReusingSettings, FeatureSettings, TrainedSettings):
    """Settings of a fine-tuning.

    Attributes:
        source: a run folder, a file of weights, or a model spec such as `timm:resnet18` or `hf:FOLDER`, with pretrained
            weights; from Python a module of torch, of which a copy is trained; None: the newest pretraining run under
            `runs`.
        data: a data spec or arrays (see `reuse.load`); None: the source run's, with 30 labels and a comparison.
        add_layers: widths of hidden layers to add on top, such as `50,20`.
        l2_sp: pull of the reused weights that train towards where they began.
        compare: train from scratch and unfrozen too; None: only where `data` is not given.
        draws: over how many draws of the labels a comparison goes, from the seed on; None: 10 where `data` is not given
            and `compare` neither, else 1.
    """

    command: ClassVar[str] = "finetune"

    source: Any = field(default=None, kw_only=False)
    data: Any = None
    add_layers: str | None = None
    l2_sp: float | None = None
    compare: bool | None = None
    draws: Count | None = None
    epochs: Count = 200
    learning_rate: float = 1e-3


@dataclass(frozen=True, kw_only=True)
class PretrainArguments(PretrainSettings, RunSettings):
    """Arguments of `reuse.pretrain`."""


@dataclass(frozen=True, kw_only=True)
class FinetuneArguments(FinetuneSettings, RunSettings):
    """Arguments of `reuse.finetune`."""


@dataclass(frozen=True, kw_only=True)
class PlanArguments(FinetuneSettings, ListenerSettings):
    """Arguments of `reuse.plan`."""

    refusal: ClassVar[str] = "a plan writes and resumes nothing, and takes no {name}: leave it out"


@dataclass(frozen=True, kw_only=True)
class LrFindArguments(FreezingSettings, ReusingSettings, LearningSettings, ListenerSettings):
    """Arguments of `reuse.lr_find`.

    Attributes:
        source: of a fine-tuning (see `reuse.finetune`); None: the newest pretraining run under `runs`.
        objective: of a pretraining, such as `autoencoder`, in place of a source; None: it is a fine-tuning.
        lowest: the first rate.
        highest: the last rate; the test ends before it where the loss explodes.
        steps: how many, at least 20.
        plot: a picture to write, such as `rates.png`.
        add_layers: widths of hidden layers to add on top, such as `50,20`.
        l2_sp: pull of the reused weights that train towards where they began.
        noise: for autoencoders, as in a pretraining.
        transductive: train on the test rows' inputs too, without their labels.
        learning_rate: none: it is what is sought.
        epochs: the greatest number of epochs, on which schedules depend; not given: what the training takes.
    """

    refusal: ClassVar[str] = "a range test has no use for {name}: leave it out"

    source: Source = field(default=None, kw_only=False)
    objective: str | object | None = None
    lowest: float = 1e-7
    highest: float = 10.0
    steps: Annotated[int, Maximum(100_000)] = 200
    plot: str | Path | None = None
    add_layers: str | None = None
    l2_sp: float | None = None
    noise: float | None = None
    transductive: bool = False
    learning_rate: float = field(init=False, default=1e-3)


@dataclass(frozen=True, kw_only=True)
class HeadSettings(DecaySettings, EpochSettings):
    """Settings of heads that are trained by steps, those that are lists tried in all combinations.

    Attributes:
        learning_rate: rates to try, such as `0.001,0.01`.
        weight_decay: decays to try.
        optimizer: optimizers to try, of `reuse.heads.stacked_optimizers.STACKABLE`.
        momentum: momenta to try; None takes the optimizer's own.
        schedule: schedules to try, separated by `;`; all but 1cycle.
        seeds: how many initial weights each combination is trained from: `seed`, `seed + 1`, …
        label_smoothing: share of each label that is spread over all classes.
    """

    learning_rate: Numbers = 1e-3
    weight_decay: Numbers = 0.0
    optimizer: Names = "adam"
    momentum: Numbers | None = None
    schedule: Annotated[str | Sequence[str], Text("A;B;…")] = "constant"
    seeds: Annotated[int, Minimum(1, "give how many initial weights to try, 1 or more"), Maximum(100_000)] = 1
    label_smoothing: float = 0.0
    epochs: Count = 200


@dataclass(frozen=True, kw_only=True)
class SweepArguments(
    HeadSettings,
    FreezingSettings,
    ReusingSettings,
    StoringSettings,
    ModelSettings,
    ReadingSettings,
    ComputingSettings,
    ListenerSettings,
):
    """Arguments of `reuse.sweep`.

    Attributes:
        source: whose layers are reused (see `reuse.finetune`); None: the newest pretraining run under `runs`.
        head: `0` for the model's own layers, `mlp:100/50` for hidden layers of these widths added; several to try.
        solver: `logistic` or `ridge`, or both: linear heads are solved for and not trained, all penalties at once.
        penalty: penalties to try with a solver, on half the squared weights beside the mean loss of a row, which is
            scikit-learn's 1 / (C · rows), or alpha / rows for ridge; None: 1e-6, 1e-5, …, 1.
        probe_layers: probe each of these layers (patterns such as `conv*`; alone: the main ones), and all together by
            those of their columns that matter most (Head2Toe, arXiv 2201.03529): all layers are computed in one pass
            and cached one by one, and linear probes solved for; `keep` writes the best as a run that predicts.
        probe_grid: places of a side to which maps are pooled before they are probed.
        folds: into how many parts the training and validation rows are divided, each of which validates in turn; 0: the
            validation split does.
        labels: how many labelled rows in all, such as `100,1000`, `10/class` or `all`.
        class_weights: `balanced`, or weights of classes such as `cat=2,dog=1`.
        metric: by which they are ranked; None: accuracy, or r2 of numbers.
        keep: `best` writes the best head as a fine-tuning run, into `best` in the run folder.
        out: the run folder; by default a new one under `runs`.
    """

    refusal: ClassVar[str] = (
        "a sweep trains heads together on what frozen layers have computed once, and takes no {name}: leave it out, or "
        "use finetune for each setting"
    )

    source: Source = field(default=None, kw_only=False)
    head: Names = "0"
    solver: Names | None = None
    penalty: Numbers | None = None
    probe_layers: Annotated[bool | str, Text("[LAYERS]")] = False
    probe_grid: Annotated[Count, Needs("probe_layers")] = 2
    folds: int = 0
    labels: Annotated[int | str | Sequence[int | str] | None, Text("A,B,…", str)] = None
    class_weights: str | None = None
    metric: str | None = None
    keep: str | None = None
    out: str | Path | None = None
