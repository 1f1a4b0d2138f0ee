"""Setting the momentum of an optimizer that is at work."""

from torch.optim import Optimizer


def set_momentum(optimizer: Optimizer, value: float) -> bool:
    """Set the momentum of every parameter group: its `momentum`, or the first of its `betas`.

    A momentum of 0 stays: who chose plain gradient descent gets it throughout.

    Args:
        optimizer: any of torch's or timm's.
        value: from 0 up to, not with, 1.

    Returns:
        Whether any group has a momentum.
    """
    moved = False
    for group in optimizer.param_groups:
        if group.get("momentum"):
            group["momentum"], moved = value, True
        elif "momentum" not in group and group.get("betas"):
            group["betas"], moved = (value, *group["betas"][1:]), True
    return moved
