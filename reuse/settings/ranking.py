"""The arguments of `reuse rank`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from reuse.settings.caching import CachingSettings
from reuse.settings.data import DataSettings
from reuse.settings.run import ListenerSettings
from reuse.settings.setting import Maximum, Minimum, Text

Names = Annotated[str | Sequence[str] | None, Text("A,B,…")]
Folds = Annotated[int, Minimum(2, "give 2 folds or more, such as 5"), Maximum(10**6)]


@dataclass(frozen=True, kw_only=True)
class RankArguments(CachingSettings, DataSettings, ListenerSettings):
    """Arguments of `reuse.rank`.

    Attributes:
        sources: run folders, files of weights, model specs such as `timm:resnet18`, in Python modules too; one or more.
        data: a data spec or arrays (see `reuse.load`), with classes or numbers as targets.
        layers: names of layers, or patterns of them such as `layer?`, of any of the models; `features` is what the
            output layer takes; None: that and up to four stages below it.
        pool: what becomes of the places of a picture and the steps of a sequence: `mean`, `max`, `last` or `flatten`.
        scores: of transferability, of `logme`, `leep`, `nce`, `h_score`, `shrunk_h`, `parc`, `sfda`, `nearest`; None:
            all that suit the targets; `none`: no score, the race alone.
        folds: into how many parts the training and validation rows are divided, each of which validates in turn.
        model: a model spec, where a source is a file of weights.
        random_weights: do without the pretrained weights of timm or of a folder of transformers.
        precision: float32, tf32, bfloat16, float16 or float64.
        device: of the models: auto, cpu, cuda, cuda:N or mps.
        seed: of labels drawn, folds and random weights.
        trust: let runs that name a `package.module:callable` import and call it.
    """

    sources: Any = field(kw_only=False)
    data: Any = field()
    layers: Names = None
    pool: str = "mean"
    scores: Names = None
    folds: Folds = 5
    model: str | None = None
    random_weights: bool = False
    precision: str = "float32"
    device: str = "auto"
    seed: int = 0
    trust: bool = False
    cache_kind: str = field(init=False, default="disk")
