"""Train deep networks from layers that are already trained, and never compute a frozen layer twice."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from reuse.version import __version__

if TYPE_CHECKING:
    from reuse.caching.cache import ActivationCache
    from reuse.data.loading import load
    from reuse.errors import CacheError, CutError, DataError, ReuseError, RunError, UnknownNameError, UsageError
    from reuse.finetuning.finetune import finetune
    from reuse.inference.ensembling import ensemble_runs
    from reuse.inference.souping import soup_runs
    from reuse.layers.cutting import cut
    from reuse.layers.freezing import freeze, unfreeze
    from reuse.layers.transplanting import transplant
    from reuse.nn.building import build
    from reuse.objectives.objective import Objective, Turn
    from reuse.objectives.supervised import Classification, MultiLabel, Regression
    from reuse.optim.optimization import Optimization
    from reuse.optim.settings import OptimizerSettings
    from reuse.pretraining.pretrain import pretrain
    from reuse.runs.models import load_model
    from reuse.runs.results import Result
    from reuse.searching.rate_finding import lr_find
    from reuse.searching.sweep import sweep
    from reuse.training.settings import LoopSettings
    from reuse.training.step import StepParts
    from reuse.training.trainer import Trainer

# The public names and where they are, imported when they are first used: `import reuse` does not wait for torch.
_HOMES = {
    "ActivationCache": "reuse.caching.cache",
    "CacheError": "reuse.errors",
    "Classification": "reuse.objectives.supervised",
    "CutError": "reuse.errors",
    "DataError": "reuse.errors",
    "LoopSettings": "reuse.training.settings",
    "MultiLabel": "reuse.objectives.supervised",
    "Objective": "reuse.objectives.objective",
    "Optimization": "reuse.optim.optimization",
    "OptimizerSettings": "reuse.optim.settings",
    "Regression": "reuse.objectives.supervised",
    "Result": "reuse.runs.results",
    "ReuseError": "reuse.errors",
    "RunError": "reuse.errors",
    "StepParts": "reuse.training.step",
    "Trainer": "reuse.training.trainer",
    "Turn": "reuse.objectives.objective",
    "UnknownNameError": "reuse.errors",
    "UsageError": "reuse.errors",
    "build": "reuse.nn.building",
    "cut": "reuse.layers.cutting",
    "ensemble_runs": "reuse.inference.ensembling",
    "finetune": "reuse.finetuning.finetune",
    "freeze": "reuse.layers.freezing",
    "load": "reuse.data.loading",
    "load_model": "reuse.runs.models",
    "lr_find": "reuse.searching.rate_finding",
    "pretrain": "reuse.pretraining.pretrain",
    "soup_runs": "reuse.inference.souping",
    "sweep": "reuse.searching.sweep",
    "transplant": "reuse.layers.transplanting",
    "unfreeze": "reuse.layers.freezing",
}

__all__ = [
    "ActivationCache",
    "CacheError",
    "Classification",
    "CutError",
    "DataError",
    "LoopSettings",
    "MultiLabel",
    "Objective",
    "Optimization",
    "OptimizerSettings",
    "Regression",
    "Result",
    "ReuseError",
    "RunError",
    "StepParts",
    "Trainer",
    "Turn",
    "UnknownNameError",
    "UsageError",
    "__version__",
    "build",
    "cut",
    "ensemble_runs",
    "finetune",
    "freeze",
    "load",
    "load_model",
    "lr_find",
    "pretrain",
    "soup_runs",
    "sweep",
    "transplant",
    "unfreeze",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'reuse' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
