"""One norm in place of another: which norms a model has, what they see, and what can be kept of them."""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.conv import _ConvNd

from reuse.errors import UsageError
from reuse.nn.norm_specs import Norm
from reuse.nn.norms import RMSNormOfMaps, build_norm

# timm's norms that are none of torch's.
BY_NAME = ("RmsNorm", "SimpleNorm")

# Norms of one and of three dimensions, where the menu of maps has those of two.
OF_DIMENSIONS: dict[tuple[str, int], type[_NormBase]] = {
    ("batch", 1): nn.BatchNorm1d,
    ("batch", 3): nn.BatchNorm3d,
    ("instance", 1): nn.InstanceNorm1d,
    ("instance", 3): nn.InstanceNorm3d,
}


@dataclass(frozen=True)
class FoundNorm:
    """A norm inside a model.

    Attributes:
        name: in the model.
        module: the norm.
        width: its features.
        dimensions: of a map beside batch and channels; 0 for vectors; None where the features come last.
    """

    name: str
    module: nn.Module
    width: int
    dimensions: int | None


class FeaturesLast(nn.Module):
    """A norm of vectors, for inputs of any shape whose features come last: tokens, or maps of transformers.

    Takes and returns `(batch, …, features)`.
    """

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised inputs."""
        normalised: Tensor = self.norm(x.reshape(-1, x.size(-1)))
        return normalised.view(x.shape)


def find_norms(model: nn.Module) -> list[FoundNorm]:
    """Return the norms of `model` in order of registration, a shared one under each of its names.

    Raises:
        UsageError: a norm over more than its features, or one whose width cannot be told.
    """
    found: list[FoundNorm] = []
    before: nn.Linear | _ConvNd | None = None
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, nn.Linear | _ConvNd):
            before = module
        elif name and _is_norm(module):
            found.append(FoundNorm(name, module, _width(name, module, before), _dimensions(module, before)))
    return found


def replacement(found: FoundNorm, norm: Norm) -> tuple[nn.Module, set[str]]:
    """Return a new norm for the place of one that was found, and the names of the tensors that it has from that one.

    Raises:
        UsageError: such a norm cannot see what the old one saw.
    """
    new = _build(found, norm)
    carried = _carry(found.module, new)
    tensor = next(found.module.parameters(), None)
    if tensor is not None:
        new.to(tensor.device, tensor.dtype)
    if found.dimensions is None and norm.name not in ("layer", "rms"):
        new = FeaturesLast(new)
    kept = [(name, getattr(found.module, name, None)) for name in ("drop", "act")]
    behind = [(name, part) for name, part in kept if isinstance(part, nn.Module) and not isinstance(part, nn.Identity)]
    whole = nn.Sequential(OrderedDict([("norm", new), *behind])) if behind else new
    whole.training = new.training = found.module.training
    return whole, carried


def own_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of a module, without those of modules inside it."""
    return {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}


def _build(found: FoundNorm, norm: Norm) -> nn.Module:
    kind = OF_DIMENSIONS.get((norm.name, found.dimensions or 0))
    if kind is not None:
        affine = {"affine": True, **norm.arguments}
        return kind(found.width, **affine)  # type: ignore[arg-type]
    if norm.name == "instance" and not found.dimensions:
        raise UsageError(f"{found.name} is no norm of maps, so norm 'instance' cannot take its place: choose another")
    return build_norm(norm.name, found.width, maps=bool(found.dimensions), arguments=norm.arguments)


@torch.no_grad()
def _carry(old: nn.Module, new: nn.Module) -> set[str]:
    """Copy what has the same name and shape in both, and whether it trains; return the names."""
    carried: set[str] = set()
    theirs = own_tensors(old)
    for name, tensor in (*new.named_parameters(), *new.named_buffers()):
        if name in theirs and theirs[name].shape == tensor.shape:
            tensor.copy_(theirs[name])
            carried.add(name)
    for parameter in new.parameters():
        parameter.requires_grad_(all(tensor.requires_grad for tensor in old.parameters()))
    return carried


def _is_norm(module: nn.Module) -> bool:
    kinds = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm)
    return isinstance(module, kinds) or any(kind.__name__.startswith(BY_NAME) for kind in type(module).__mro__)


def _width(name: str, module: nn.Module, before: nn.Linear | _ConvNd | None) -> int:
    shape = getattr(module, "normalized_shape", (0,))
    if len(shape) > 1:
        raise UsageError(f"{name} is a norm over {tuple(shape)}, not over features alone: it cannot be exchanged")
    width = getattr(module, "num_features", 0) or getattr(module, "num_channels", 0) or shape[0]
    if not width and before is not None:  # a local response norm, which does not know its width
        width = before.out_features if isinstance(before, nn.Linear) else before.out_channels
    if not width:
        raise UsageError(f"{name} does not say how many features it normalises: it cannot be exchanged")
    return int(width)


def _dimensions(module: nn.Module, before: nn.Linear | _ConvNd | None) -> int | None:
    kind = type(module).__name__
    if isinstance(module, RMSNormOfMaps):
        return 2
    for dimensions in (2, 3):
        if f"{dimensions}d" in kind:
            return dimensions
    if not isinstance(module, (_NormBase, nn.GroupNorm, nn.LocalResponseNorm)):
        return None
    if isinstance(module, nn.InstanceNorm1d):
        return 1
    if isinstance(before, nn.Linear):
        return 0
    if before is None:
        return 0 if isinstance(module, _BatchNorm) and "1d" in kind else 2
    return len(before.kernel_size)
