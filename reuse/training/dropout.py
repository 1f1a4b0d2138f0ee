"""Dropout modules: which they are, and switching them alone."""

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from reuse.nn.outputs import is_timm
from reuse.nn.recurrent_layers import RecurrentLayer


def dropouts(model: nn.Module) -> list[nn.Module]:
    """Return the modules that drop at random: torch's dropouts, and drop-path as timm and torchvision call it."""
    return [module for module in model.modules() if isinstance(module, _DropoutNd) or _drops_paths(module)]


def switch_off_dropout(model: nn.Module) -> None:
    """Put every dropout into eval mode, until `model.train()`.

    Some of timm's models drop in front of their classifier by a function, by the mode of the whole: it alone evaluates,
    and what is in it trains on.
    """
    for module in dropouts(model):
        module.eval()
    for module in model.modules():
        if isinstance(module, RecurrentLayer):
            module.recurrent.training = False
        if is_timm(module) and getattr(module, "drop_rate", 0) > 0:
            module.training = False


def drops(model: nn.Module) -> bool:
    """Return whether anything in a model is dropped at random in training."""
    return any(_share(module) > 0 for module in model.modules())


def _share(module: nn.Module) -> float:
    """Return the share of what a module drops, as it calls it; 0: it drops nothing."""
    if isinstance(module, _DropoutNd):
        return module.p
    if isinstance(module, RecurrentLayer):
        return module.recurrent_dropout
    share = getattr(module, "drop_rate", 0) if is_timm(module) else int(_drops_paths(module))
    return float(share or 0)


def _drops_paths(module: nn.Module) -> bool:
    return type(module).__name__ in ("DropPath", "StochasticDepth", "DropBlock2d", "PatchDropout")
