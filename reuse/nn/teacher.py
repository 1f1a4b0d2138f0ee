"""A teacher: a copy of a network that follows it slowly and is not trained."""

import copy
import math

import torch
from torch import Tensor, nn

from reuse.errors import UsageError


class Teacher(nn.Module):
    """A copy of a student whose weights are buffers, not parameters: no optimizer has them, every checkpoint does.

    Args:
        student: it is copied as it is now.

    Takes what the student takes, and returns what the student would, without gradients.
    """

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(student)
        _make_buffers(self.network)

    @torch.no_grad()
    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the copy's outputs."""
        outputs: Tensor = self.network(*inputs)
        return outputs

    @torch.no_grad()
    def follow(self, student: nn.Module, momentum: float) -> None:
        """Keep `momentum` of each weight and take the rest from the student's; buffers of the student are left alone.

        Args:
            student: of the architecture that was copied.
            momentum: from 0, which copies the student, to 1, which stands still.
        """
        own, theirs = dict(self.network.named_buffers()), dict(student.named_parameters())
        torch._foreach_lerp_([own[name] for name in theirs], [*theirs.values()], 1 - momentum)


def rising_momentum(first: float, progress: float) -> float:
    """Return the momentum at a share of all steps, 1 - (1 - first) (cos(π progress) + 1) / 2: from `first` to 1."""
    return 1 - (1 - first) * (math.cos(math.pi * progress) + 1) / 2


def check_momentum(momentum: float) -> None:
    """Raise a UsageError unless a momentum is a share."""
    if not 0 <= momentum <= 1:
        raise UsageError(f"the teacher's momentum is {momentum}: give a share from 0 to 1, such as 0.99")


def _make_buffers(network: nn.Module) -> None:
    """Turn all parameters into buffers of the same names; one with several names stays one."""
    made: dict[int, Tensor] = {}
    for module in network.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None:
                del module._parameters[name]
                module.register_buffer(name, made.setdefault(id(parameter), parameter.detach()))
