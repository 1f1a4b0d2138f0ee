"""What stands in for a model's forward while it takes features in place of its inputs."""

from typing import Any

from torch import nn

from reuse.data.samples import SampleForm


class WholeModel(nn.Module):
    """A model as the head of its own inputs.

    Args:
        model: the model.
        form: of samples, which says whether it takes inputs by name.
    """

    def __init__(self, model: nn.Module, form: SampleForm) -> None:
        super().__init__()
        self.model = model
        self._names = tuple(map(str, form.inputs)) if form.by_name else ()

    def forward(self, *inputs: Any) -> Any:
        """Return what the model returns; inputs as features are given, one by one or in a tuple."""
        if len(inputs) == 1 and isinstance(inputs[0], tuple):
            (inputs,) = inputs
        forward = type(self.model).forward
        named = dict(zip(self._names, inputs, strict=True)) if self._names else {}
        return forward(self.model, **named) if named else forward(self.model, *inputs)


class HeadForward:
    """The forward of a model that takes features in place of its inputs.

    Args:
        features: whose `head` computes it, as it is when it is called.
    """

    def __init__(self, features: Any) -> None:
        self._features = features

    def __call__(self, *features: Any, **named: Any) -> Any:
        """Return what the model returns."""
        return self._features.head(*features, *named.values())
