"""Activity of the units of a network: those that are zero for all rows, those at the end of their range."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.rnn import PackedSequence

from reuse.data.rows import Batch
from reuse.nn.recurrent_layers import RecurrentLayer
from reuse.objectives.objective import Network

DEAD, SATURATED = "dead", "saturated"
BOUND = 0.99  # share of the range of an activation from which on next to no gradient comes through

Stuck = Callable[[Any, Tensor], Tensor]
"""`(module, its outputs) -> where they are stuck`, of the outputs' shape."""

# What is derived from another of these comes first: a ReLU6 is a Hardtanh to torch.
STUCK: dict[type[nn.Module], tuple[str, Stuck]] = {
    nn.ReLU: (DEAD, lambda _, values: values == 0),
    nn.ReLU6: (DEAD, lambda _, values: values == 0),
    nn.GELU: (DEAD, lambda _, values: values.abs() < 1e-6),
    nn.Hardswish: (DEAD, lambda _, values: values == 0),
    nn.Tanh: (SATURATED, lambda _, values: values.abs() > BOUND),
    nn.Hardtanh: (SATURATED, lambda m, values: (values <= m.min_val) | (values >= m.max_val)),
    nn.Softsign: (SATURATED, lambda _, values: values.abs() > BOUND),
    nn.Sigmoid: (SATURATED, lambda _, values: (values < 1 - BOUND) | (values > BOUND)),
    nn.Hardsigmoid: (SATURATED, lambda _, values: (values <= 0) | (values >= 1)),
    nn.ELU: (SATURATED, lambda m, values: values < -BOUND * m.alpha),
    nn.CELU: (SATURATED, lambda m, values: values < -BOUND * m.alpha),
    nn.SELU: (SATURATED, lambda _, values: values < -BOUND * 1.0507 * 1.6733),
    nn.RNNBase: (SATURATED, lambda _, values: values.abs() > BOUND),
    # What a norm made of the hidden state has no bounds.
    RecurrentLayer: (SATURATED, lambda m, values: values.abs() > (BOUND if m.norm is None else math.inf)),
}


@dataclass(frozen=True)
class Activity:
    """Counts of the stuck units of an activation.

    Attributes:
        kind: `dead`: zero for every row; `saturated`: at the end of their range for most rows.
        share: of the units.
    """

    kind: str
    share: float


@dataclass
class _Count:
    """Counts of how often each unit was stuck, and of its values."""

    kind: str
    stuck: Tensor | int = 0
    total: int = 0

    def add(self, stuck: Tensor, units: int) -> None:
        """Take `stuck`, a mask whose dimension `units` counts units."""
        flat = stuck.movedim(units, 0).flatten(1)
        self.stuck = self.stuck + flat.sum(1)
        self.total += flat.shape[1]

    def activity(self) -> Activity:
        """Return what the counts amount to."""
        stuck = torch.as_tensor(self.stuck)
        those = stuck == self.total if self.kind == DEAD else stuck * 2 > self.total
        return Activity(self.kind, float(those.double().mean()))


class _Listener:
    """Counts, by forward hooks on activations; one that is called twice for a batch counts as two."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, int], _Count] = {}
        self.calls: Counter[str] = Counter()
        self.channels_first = True
        self.last: tuple[tuple[str, int], Tensor] | None = None

    def note_layout(self, module: nn.Module) -> None:
        """Notice where the units are in what follows: convolutions put them first, dense layers last."""
        self.channels_first = not isinstance(module, nn.Linear)

    def hear(self, name: str, module: nn.Module, kind: str, stuck: Stuck, outputs: object) -> None:
        """Take what an activation gave."""
        values = _values(outputs)
        if values is None or values.ndim < 2:
            return
        key = (name, self.calls[name])
        self.calls[name] += 1
        units = 1 if self.channels_first and not isinstance(module, nn.RNNBase | RecurrentLayer) else -1
        self.counts.setdefault(key, _Count(kind)).add(stuck(module, values), units)
        self.last = (key, values)

    def forget_output(self, outputs: object) -> None:
        """Leave out the activation whose values are the network's outputs: these may well be zeros and ones."""
        if self.last is not None and isinstance(outputs, Tensor):
            key, values = self.last
            if outputs.data_ptr() == values.data_ptr():
                del self.counts[key]
        self.calls.clear()
        self.last = None


def measure_activity(model: nn.Module, network: Network, batches: Iterable[Batch]) -> dict[str, Activity]:
    """Return how the activations of what trains answer, by name; put the model in eval mode before.

    Activations are known by their module (`STUCK`); functions, and those within frozen layers, are not looked at.

    Args:
        model: whose activations these are.
        network: what is called on a batch: the model, or the suffix of a cut, which shares its modules.
        batches: of at least one row together.
    """
    with torch.no_grad(), _listening(model) as listener:
        for batch in batches:
            listener.forget_output(network(*batch.inputs))
    worst: dict[str, Activity] = {}
    for (name, _), count in listener.counts.items():
        activity = count.activity()
        if name not in worst or activity.share > worst[name].share:
            worst[name] = activity
    return worst


@contextmanager
def _listening(model: nn.Module) -> Iterator[_Listener]:
    """Hear the activations of `model` while the block runs."""
    listener, hooks = _Listener(), []
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | _ConvNd | _NormBase | nn.GroupNorm):
            hooks.append(module.register_forward_hook(lambda m, _, __: listener.note_layout(m)))
        entry = next((entry for kind, entry in STUCK.items() if isinstance(module, kind)), None)
        if entry is not None and not _is_in_frozen_layer(model, name):
            hooks.append(module.register_forward_hook(_hook(listener, name, *entry)))
    try:
        yield listener
    finally:
        for hook in hooks:
            hook.remove()


def _hook(listener: _Listener, name: str, kind: str, stuck: Stuck) -> Callable[[nn.Module, object, object], None]:
    return lambda module, _, outputs: listener.hear(name, module, kind, stuck, outputs)


def _is_in_frozen_layer(model: nn.Module, name: str) -> bool:
    """Say whether the innermost module around an activation that has parameters has frozen ones only."""
    while name:
        parameters = list(model.get_submodule(name).parameters())
        if parameters:
            return not any(parameter.requires_grad for parameter in parameters)
        name = name.rpartition(".")[0]
    return False


def _values(outputs: object) -> Tensor | None:
    """Return the values that a module gave; None where they are no tensor."""
    if isinstance(outputs, tuple):
        outputs = outputs[0]  # of a recurrent layer: all steps, and then its last state
    if isinstance(outputs, PackedSequence):
        outputs = outputs.data
    return outputs if isinstance(outputs, Tensor) else None
