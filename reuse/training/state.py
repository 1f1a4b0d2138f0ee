"""The state that training changes in a model, by name: trainable parameters and live buffers."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from reuse.distributed import fill, whole
from reuse.errors import RunError
from reuse.menus import suggest


def live_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors that a training can change, under their names, not copied.

    These are the parameters that require a gradient and the buffers of modules that are not wholly frozen; every buffer
    counts, also those that `state_dict` leaves out.
    """
    tensors: dict[str, Tensor] = {name: p for name, p in model.named_parameters() if p.requires_grad}
    frozen = _wholly_frozen(model)
    tensors.update({name: b for name, b in model.named_buffers() if frozen.isdisjoint(_around(name))})
    return tensors


class LivePlaces:
    """The places of the live tensors of a model: found once, looked up as often as needed.

    A large model takes a millisecond or two to walk, as much as a tenth of a small head's epoch. A module may put
    another tensor in a place; which parameters train and which modules there are must stay as they are.

    Args:
        model: frozen as it trains.
    """

    def __init__(self, model: nn.Module) -> None:
        self._places: list[tuple[str, dict[str, Tensor | None], str]] = []
        for name in live_tensors(model):
            owner, _, own_name = name.rpartition(".")
            module = model.get_submodule(owner)
            held: dict[str, Any] = module._parameters if own_name in module._parameters else module._buffers
            self._places.append((name, held, own_name))

    def tensors(self) -> dict[str, Tensor]:
        """Return what `live_tensors` does."""
        return {name: tensor for name, held, own_name in self._places if (tensor := held[own_name]) is not None}


def copied(tensors: Mapping[str, Tensor], device: str | torch.device | None = None) -> dict[str, Tensor]:
    """Return clones of `tensors`, on `device` as a whole, or where and as they are."""
    if device is None:
        return {name: tensor.detach().to(tensor.device, copy=True) for name, tensor in tensors.items()}
    return {name: whole(tensor.detach()).to(device, copy=True) for name, tensor in tensors.items()}


def load_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy `tensors` into the parameters and buffers of the same names; what is not named is left alone.

    Raises:
        RunError: the model has no tensor of a name, or one of another shape; nothing is copied then.
    """
    own: dict[str, Tensor] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, tensor in tensors.items():
        if name not in own:
            raise RunError(f"the state holds {name!r}, which the model does not have: {suggest(name, own)}")
        if own[name].shape != tensor.shape:
            shapes = f"{tuple(tensor.shape)} in the state and {tuple(own[name].shape)} in the model"
            raise RunError(f"{name} is {shapes}: build the model with the settings of the run it comes from")
    with torch.no_grad():
        for name, tensor in tensors.items():
            fill(own[name], tensor)


def _wholly_frozen(model: nn.Module) -> set[str]:
    """Return the names of the modules that have parameters, all of them frozen; freezing holds these in eval mode.

    One walk over the parameters, not one for each module: this runs twice an epoch, which may take milliseconds.
    """
    owners: dict[str, bool] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owner = name.rpartition(".")[0]
        owners[owner] = owners.get(owner, False) or parameter.requires_grad
    holding, training = set[str](), set[str]()
    for owner, trains in owners.items():
        around = {owner, *_around(owner)}
        holding |= around
        if trains:
            training |= around
    return holding - training - {""}


def _around(name: str) -> Iterator[str]:
    """Yield the names of the modules that hold the tensor or module `name`, the innermost first, without the model."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name
