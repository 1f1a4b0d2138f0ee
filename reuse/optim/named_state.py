"""Optimizer state keyed by parameter name, so that it survives freezing, unfreezing and reordering.

torch numbers the parameters instead, which ties a saved state to one exact list of trainable layers. Hyperparameters
are not part of it: a resumed run takes its rates, decay and momentum from its settings.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

NamedState = dict[str, dict[str, Any]]
GROUP_STEP = "group_step"
"""Where the step count of a group is kept, for optimizers that have no count a parameter (timm's LAMB and Adan)."""


def named_state(optimizer: Optimizer, named_parameters: Iterable[tuple[str, Parameter]]) -> NamedState:
    """Return `{parameter name: {"exp_avg": tensor, "step": …}}`, copied to the CPU; what never moved has no entry."""
    names = {id(parameter): name for name, parameter in named_parameters}
    state: NamedState = {}
    for group in optimizer.param_groups:
        shared = {GROUP_STEP: _copied(group["step"])} if "step" in group else {}
        for parameter in group["params"]:
            own = {key: _copied(value) for key, value in optimizer.state.get(parameter, {}).items()}
            if own or shared:
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
    order = [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
    current = optimizer.state_dict()
    known = {number: _without_group_step(state[name]) for number, name in enumerate(order) if name in state}
    _put_group_steps(current["param_groups"], order, state)
    optimizer.load_state_dict({"state": {**current["state"], **known}, "param_groups": current["param_groups"]})
    return [name for name in order if name not in state]


def _put_group_steps(groups: list[dict[str, Any]], order: list[str], state: Mapping[str, Mapping[str, Any]]) -> None:
    for group in groups:
        steps = [state[order[n]][GROUP_STEP] for n in group["params"] if GROUP_STEP in state.get(order[n], {})]
        if steps:
            group["step"] = _copied(steps[0])


def _without_group_step(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) for key, value in entry.items() if key != GROUP_STEP}


def _copied(value: Any) -> Any:
    return value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value
