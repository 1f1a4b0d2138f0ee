"""Making sure that every trainable tensor is really trained."""

from collections.abc import Sequence

from torch.nn import Parameter

from reuse.errors import ReuseError

_SHOWN = 8


def check_gradients(named_parameters: Sequence[tuple[str, Parameter]]) -> None:
    """Refuse to go on where a gradient is missing after a backward pass: that tensor would never move, unnoticed.

    Raises:
        ReuseError: the message names the tensors.
    """
    missed = [name for name, parameter in named_parameters if parameter.grad is None]
    if missed:
        shown = ", ".join(missed[:_SHOWN]) + (f" and {len(missed) - _SHOWN} more" if len(missed) > _SHOWN else "")
        raise ReuseError(
            f"no gradient reached {shown} in the first step, so training would leave them as they are: "
            "freeze them if the network does not use them, or look for what cuts them off (detach, no_grad)"
        )
