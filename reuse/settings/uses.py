"""The arguments of the commands that use what is trained, or look at a model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from reuse.settings.group import Count, Patterns, Settings, read_shape
from reuse.settings.run import ListenerSettings
from reuse.settings.setting import Needs, Text

MetricNames = Annotated[str | Sequence[str], Text("NAME,NAME:K,…", repeated=True)]
"""Metrics beside those that a training tells."""
Shape = Annotated[Sequence[int] | None, Text("C,H,W", read_shape)]


@dataclass(frozen=True, kw_only=True)
class RowSettings(Settings):
    """The rows that trained runs are used on.

    Attributes:
        data: a data spec or arrays; None: the runs' own data, split as it was for the runs.
        target: the target column of a table; None: the runs'.
        split: test, valid, train or all; None: test for the runs' own data and for data that brings its own test split,
            else all.
        metrics: more of them: for classes balanced_accuracy, roc_auc, average_precision, top_k (top_k:3), for labels
            subset_accuracy, hamming_loss, micro_f1, roc_auc, average_precision, for numbers mae; or all.
        batch_size: rows at a time.
        device: auto, cpu, cuda, cuda:N or mps.
        skip_bad: set broken images aside instead of stopping.
        trust: let runs that name a `package.module:callable` import and call it.
    """

    data: Any = None
    target: str | None = None
    split: str | None = None
    metrics: MetricNames = ()
    batch_size: Count = 256
    device: str = "auto"
    skip_bad: bool = False
    trust: bool = False


@dataclass(frozen=True, kw_only=True)
class EvaluateArguments(RowSettings, ListenerSettings):
    """Arguments of `reuse evaluate`.

    Attributes:
        run: the run folder.
        max_pixels: most pixels of an image that is read; None: as for the run.
    """

    run: str | Path = field(kw_only=False)
    max_pixels: int | None = None


@dataclass(frozen=True, kw_only=True)
class PredictArguments(ListenerSettings):
    """Arguments of `reuse predict`.

    Attributes:
        run: the run folder.
        data: a data spec or arrays; labels are not needed and not looked at.
        split: all, or test, valid, train: the user's own, or drawn as for a training, for which labels are needed.
        batch_size: rows at a time.
        device: auto, cpu, cuda, cuda:N or mps.
        skip_bad: set broken images aside instead of stopping.
        max_pixels: most pixels of an image that is read; None: as for the run.
        mc_dropout: how many times to predict with dropout at work (Monte-Carlo dropout, Gal & Ghahramani 2016): the
            mean is predicted, and a column says how uncertain it is, by entropy of classes or by standard deviation of
            numbers; 0 predicts once without dropout.
        seed: of what is dropped.
        trust: let a run that names a `package.module:callable` import and call it.
    """

    run: str | Path = field(kw_only=False)
    data: Any = field()
    split: str = "all"
    batch_size: Count = 256
    device: str = "auto"
    skip_bad: bool = False
    max_pixels: int | None = None
    mc_dropout: int = 0
    seed: Annotated[int, Needs("mc_dropout")] = 0
    trust: bool = False


@dataclass(frozen=True, kw_only=True)
class ExportArguments(Settings):
    """Arguments of `reuse export`.

    Attributes:
        run: the run folder.
        to: `onnx`, `torch` (a program of torch.export), `timm` (weights that timm.create_model loads) or `safetensors`.
        out: the folder to write, new or empty; by default one under `exports`.
        trust: let a run that names a `package.module:callable` import and call it.
    """

    run: str | Path = field(kw_only=False)
    to: str = field()
    out: str | Path | None = None
    trust: bool = False


@dataclass(frozen=True, kw_only=True)
class EnsembleArguments(RowSettings):
    """Arguments of `reuse ensemble`.

    Attributes:
        runs: run folders, or the folder `snapshots` of a run.
        mix: fit on the validation rows how much each run counts, instead of all alike.
    """

    runs: Sequence[Any] = field(kw_only=False)
    mix: bool = False


@dataclass(frozen=True, kw_only=True)
class SoupArguments(Settings):
    """Arguments of `reuse ensemble --soup`.

    Attributes:
        runs: run folders; their data must be split alike, with the same split_seed.
        method: `greedy` begins with the best run and takes in each next one, from better to worse, with which the
            average is no worse on the validation rows; `uniform` takes all.
        data: the arrays that the runs were trained on, where they were; a run keeps none.
        batch_size: rows at a time, also where the batch norms' statistics are computed anew over the training rows.
        device: auto, cpu, cuda, cuda:N or mps.
        trust: let runs that name a `package.module:callable` import and call it.
        out: the run folder; by default a new one under `runs`.
    """

    runs: Sequence[Any] = field(kw_only=False)
    method: str = "greedy"
    data: Any = None
    batch_size: Count = 256
    device: str = "auto"
    trust: bool = False
    out: str | Path | None = None


@dataclass(frozen=True, kw_only=True)
class ReportArguments(RowSettings, ListenerSettings):
    """Arguments of `reuse.report`.

    Attributes:
        runs: a run folder, or several, which are compared.
        out: the file to write.
        data: the runs' own by default; those that were trained on arrays are given them here.
    """

    runs: str | Path | Sequence[Any] = field(kw_only=False)
    out: str | Path = "report.html"


@dataclass(frozen=True, kw_only=True)
class InspectArguments(Settings):
    """Arguments of `reuse.setup.inspecting.inspect_model`.

    Attributes:
        model: a model spec or a run folder.
        freeze: patterns of the layers to freeze; none: a run's own.
        data: a data spec, for the shape of inputs and the number of outputs.
        input_shape: of one sample, such as `3,64,64`; None: the data's, the run's, or the model's own.
        num_outputs: units of the output layer.
        depth: how many levels of layers to list.
        pretrained: look at timm's model with its pretrained weights, instead of random ones.
        trust: let a run that names a `package.module:callable` import and call it.
    """

    model: str | Path = field(kw_only=False)
    freeze: Patterns = ()
    data: Any = None
    input_shape: Shape = None
    num_outputs: int | None = None
    depth: Count = 1
    pretrained: bool = False
    trust: bool = False
