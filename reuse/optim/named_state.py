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

from reuse.distributed import divided_like, whole

NamedState = dict[str, dict[str, Any]]

GROUP_COUNTS = {"step": "group_step", "lookahead_step": "group_lookahead_step"}
"""Counts that an optimizer keeps for a group (timm's LAMB, Adan, Lookahead), and what they are called in the state."""

LIKE_PARAMETER = {
    "acc_delta", "ax", "exp_avg", "exp_avg_sq", "exp_inf", "grad_avg", "max_exp_avg_sq", "momentum_buffer", "prev",
    "square_avg", "step_size", "sum",
}  # fmt: skip
"""What torch's optimizers keep for each number of a parameter."""

WHOLE = ""
"""In place of a parameter's name: what the optimizer keeps beside all groups, such as a random state (timm's Kron)."""


def named_state(optimizer: Optimizer, named_parameters: Iterable[tuple[str, Parameter]]) -> NamedState:
    """Return `{parameter name: {"exp_avg": tensor, "step": …}}`, copied to the CPU, of what the optimizer moves."""
    names = {id(parameter): name for name, parameter in named_parameters}
    held = _within(optimizer).state
    state: NamedState = {}
    for group in optimizer.param_groups:
        shared = {own: _copied(group[count]) for count, own in GROUP_COUNTS.items() if count in group}
        for parameter in group["params"]:
            state[names[id(parameter)]] = _copied(dict(held.get(parameter, {}))) | shared
    whole = {k: _copied(v) for k, v in optimizer.state_dict().items() if k not in ("state", "param_groups")}
    return state | {WHOLE: whole} if whole else state


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

    Raises:
        ValueError: what it holds of a parameter has another shape.
    """
    names = {id(parameter): name for name, parameter in named_parameters}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    order = [names[id(parameter)] for parameter in parameters]
    current = optimizer.state_dict()
    known = {number: _own(state[name]) for number, name in enumerate(order) if name in state}
    if type(optimizer).__module__.startswith("torch.optim"):
        for parameter, name in zip(parameters, order, strict=True):
            _check_shapes(name, parameter, state.get(name, {}))
    _put_group_counts(current["param_groups"], order, state)
    whole = _copied(dict(state.get(WHOLE, {})))
    optimizer.load_state_dict({**current, **whole, "state": {**current["state"], **known}})
    held = _within(optimizer).state
    for number, entry in known.items():
        for key, saved in entry.items():
            held[parameters[number]][key] = _divided(parameters[number], _in_type(held[parameters[number]][key], saved))
    _fill_momentum(_within(optimizer))
    return [name for name in order if name not in state]


def _within(optimizer: Optimizer) -> Optimizer:
    """Return the optimizer that holds the state: timm's Lookahead keeps it in the one that it goes around."""
    inner = getattr(optimizer, "_base_optimizer", optimizer)
    assert isinstance(inner, Optimizer)
    return inner


def _check_shapes(name: str, parameter: Parameter, entry: Mapping[str, Any]) -> None:
    for key, value in entry.items():
        expected = parameter.shape if key in LIKE_PARAMETER else torch.Size() if key == "step" else None
        if expected is not None and isinstance(value, Tensor) and value.shape != expected:
            raise ValueError(f"its {key} of {name} has shape {tuple(value.shape)}, and {tuple(expected)} is expected")


def _in_type(loaded: Any, saved: Any) -> Any:
    """Undo torch's conversion to the parameter's type: Nadam's float32 product would go on as float64, and differ."""
    if isinstance(saved, Tensor):
        return loaded if loaded.dtype == saved.dtype else saved.to(loaded.device)
    if isinstance(saved, list):
        return [_in_type(old, new) for old, new in zip(loaded, saved, strict=True)]
    return loaded


def _divided(parameter: Parameter, value: Any) -> Any:
    """Divide what is like a parameter among the processes, as the parameter is where FSDP trains it."""
    alike = isinstance(value, Tensor) and value.shape == parameter.shape
    return divided_like(parameter, value) if alike else value


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


def _put_group_counts(groups: list[dict[str, Any]], order: list[str], state: Mapping[str, Mapping[str, Any]]) -> None:
    for group in groups:
        for count, own in GROUP_COUNTS.items():
            counts = [state[order[n]][own] for n in group["params"] if own in state.get(order[n], {})]
            if counts:
                group[count] = _copied(counts[0])


def _own(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of what is one parameter's own in its entry."""
    return {key: _copied(value) for key, value in entry.items() if key not in GROUP_COUNTS.values()}


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return whole(value.detach()).to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copied(entry) for key, entry in value.items()}
    return [_copied(entry) for entry in value] if isinstance(value, list) else value
