"""Dropout modules: which they are, and switching them alone."""

from torch import nn
from torch.nn.modules.dropout import _DropoutNd


def dropouts(model: nn.Module) -> list[nn.Module]:
    """Return the modules that drop at random: torch's dropouts, and drop-path as timm and torchvision call it."""
    return [module for module in model.modules() if isinstance(module, _DropoutNd) or _drops_paths(module)]


def switch_off_dropout(model: nn.Module) -> None:
    """Put every dropout into eval mode, until `model.train()`."""
    for module in dropouts(model):
        module.eval()


def _drops_paths(module: nn.Module) -> bool:
    return type(module).__name__ in ("DropPath", "StochasticDepth", "DropBlock2d", "PatchDropout")
