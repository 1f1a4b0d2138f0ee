"""Optimizer state keyed by parameter name, so that it survives freezing, unfreezing and reordering.

torch numbers the parameters instead, which ties a saved state to one exact list of trainable layers. Hyperparameters
are not part of it: a resumed run takes its rates, decay and momentum from its settings.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

NamedState = dict[str, dict[str, Any]]
GROUP_STEP = "group_step"
"""Where the step count of a group is kept, for optimizers that have no count a parameter (timm's LAMB and Adan)."""


def named_state(optimizer: Optimizer, named_parameters: Iterable[tuple[str, Parameter]]) -> NamedState:
    """Return `{parameter name: {"exp_avg": tensor, "step": …}}`, copied to the CPU, of what the optimizer moves."""
    names = {id(parameter): name for name, parameter in named_parameters}
    state: NamedState = {}
    for group in optimizer.param_groups:
        shared = {GROUP_STEP: _copied(group["step"])} if "step" in group else {}
        for parameter in group["params"]:
            own = {key: _copied(value) for key, value in optimizer.state.get(parameter, {}).items()}
            state[names[id(parameter)]] = own | shared
    return state


def load_named_state(
    optimizer: Optimizer, named_parameters: Iterable[tuple[str, Parameter]], state: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Put back what `named_state` returned, of parameters that the optimizer moves; the others are left alone.

    Args:
        optimizer: an optimizer of the same class, over the same or other parameters of the same model.
        named_parameters: names and parameters of that model.
        state: what `named_state` returned.

    Returns:
        Names of the parameters that the state does not know: these start fresh.
    """
    names = {id(parameter): name for name, parameter in named_parameters}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    order = [names[id(parameter)] for parameter in parameters]
    current = optimizer.state_dict()
    known = {number: _without_group_step(state[name]) for number, name in enumerate(order) if name in state}
    _put_group_steps(current["param_groups"], order, state)
    optimizer.load_state_dict({"state": {**current["state"], **known}, "param_groups": current["param_groups"]})
    for number, entry in known.items():
        _keep_types(optimizer.state[parameters[number]], entry)
    _fill_momentum(optimizer)
    return [name for name in order if name not in state]


def _keep_types(loaded: dict[str, Any], saved: Mapping[str, Any]) -> None:
    """Undo torch's conversion to the parameter's type: Nadam's float32 product would go on as float64, and differ."""
    for key, value in saved.items():
        if isinstance(value, Tensor) and loaded[key].dtype != value.dtype:
            loaded[key] = value.to(loaded[key].device)


def _fill_momentum(optimizer: Optimizer) -> None:
    """Give SGD's fresh parameters a momentum of zero, which is how momentum starts: fused SGD wants all or none."""
    if not isinstance(optimizer, torch.optim.SGD):
        return
    for group in optimizer.param_groups:
        buffers = [optimizer.state[parameter].get("momentum_buffer") for parameter in group["params"]]
        if any(buffer is not None for buffer in buffers):
            for parameter, buffer in zip(group["params"], buffers, strict=True):
                if buffer is None:
                    optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def _put_group_steps(groups: list[dict[str, Any]], order: list[str], state: Mapping[str, Mapping[str, Any]]) -> None:
    for group in groups:
        steps = [state[order[n]][GROUP_STEP] for n in group["params"] if GROUP_STEP in state.get(order[n], {})]
        if steps:
            group["step"] = _copied(steps[0])


def _without_group_step(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) for key, value in entry.items() if key != GROUP_STEP}


def _copied(value: Any) -> Any:
    return value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value
