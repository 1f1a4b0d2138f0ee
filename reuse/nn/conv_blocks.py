"""Convolutional layers by kind: plain ones, factorised ones, and those that keep their inputs in what they give."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from reuse.nn.hidden import HiddenStyle, hidden_conv, norm_and_activation

Parts = OrderedDict[str, nn.Module]

NARROWING = 4  # a bottleneck has a quarter of the channels (He et al. 2016)


class Residual(nn.Module):
    """Two convolutions whose outputs are added to the inputs: He et al. 2016, https://arxiv.org/abs/1512.03385.

    The inputs go through a 1×1 convolution where their channels are others. The activation stands behind the sum. With
    `style.drop_path` the convolutions of a row are left out at random in training (Huang et al. 2016,
    https://arxiv.org/abs/1603.09382).

    Takes `(batch, num_inputs, h, w)` and returns `(batch, width, h, w)`.
    """

    def __init__(self, num_inputs: int, width: int, kernel: int, style: HiddenStyle) -> None:
        super().__init__()
        norm = style.placed_norm
        is_after = norm is not None and norm.after
        linear = replace(style, activation="none", init=style.initializer, norm=None if is_after else style.norm)
        self.first = hidden_conv(num_inputs, width, style, kernel=(kernel, kernel))
        self.second = hidden_conv(width, width, linear, kernel=(kernel, kernel))
        self.drop_path = _drop_path(style.drop_path)
        same = num_inputs == width
        self.shortcut = nn.Identity() if same else hidden_conv(num_inputs, width, linear, kernel=(1, 1))
        behind = norm_and_activation(width, style if is_after else replace(style, norm=None), maps=True)
        self.behind = nn.Sequential(OrderedDict(behind))

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated sum."""
        total: Tensor = self.behind(self.drop_path(self.second(self.first(x))) + self.shortcut(x))
        return total


class DenselyConnected(nn.Module):
    """A convolution whose outputs are appended to its inputs: Huang et al. 2017, https://arxiv.org/abs/1608.06993.

    Takes `(batch, num_inputs, h, w)` and returns `(batch, num_inputs + width, h, w)`.
    """

    def __init__(self, num_inputs: int, width: int, kernel: int, style: HiddenStyle) -> None:
        super().__init__()
        self.layer = hidden_conv(num_inputs, width, style, kernel=(kernel, kernel))

    def forward(self, x: Tensor) -> Tensor:
        """Return inputs and outputs, one behind the other."""
        return torch.cat([x, self.layer(x)], 1)


def _plain(num_inputs: int, width: int, kernel: int, style: HiddenStyle) -> Parts:
    return OrderedDict(hidden_conv(num_inputs, width, style, kernel=(kernel, kernel)).named_children())


def _double(num_inputs: int, width: int, kernel: int, style: HiddenStyle) -> Parts:
    """Return two 3×3, which see as much as one 5×5 with fewer weights (Simonyan and Zisserman 2015)."""
    first = hidden_conv(num_inputs, width, style, kernel=(kernel, kernel))
    return OrderedDict(first=first, second=hidden_conv(width, width, style, kernel=(kernel, kernel)))


def _factorised(num_inputs: int, width: int, kernel: int, style: HiddenStyle) -> Parts:
    """Return 1×3 and 3×1 (Szegedy et al. 2016, https://arxiv.org/abs/1512.00567)."""
    first = hidden_conv(num_inputs, width, style, kernel=(1, kernel))
    return OrderedDict(first=first, second=hidden_conv(width, width, style, kernel=(kernel, 1)))


def _bottleneck(num_inputs: int, width: int, kernel: int, style: HiddenStyle) -> Parts:
    """Return 1×1 to fewer channels, 3×3, and 1×1 to all (Lin et al. 2014; He et al. 2016)."""
    narrow = max(width // NARROWING, 1)
    return OrderedDict(
        reduce=hidden_conv(num_inputs, narrow, style, kernel=(1, 1)),
        middle=hidden_conv(narrow, narrow, style, kernel=(kernel, kernel)),
        expand=hidden_conv(narrow, width, style, kernel=(1, 1)),
    )


def _separable(num_inputs: int, width: int, kernel: int, style: HiddenStyle) -> Parts:
    """Return 3×3 of each channel by itself, then 1×1 (Howard et al. 2017, https://arxiv.org/abs/1704.04861)."""
    depthwise = hidden_conv(num_inputs, num_inputs, style, kernel=(kernel, kernel), groups=num_inputs)
    return OrderedDict(depthwise=depthwise, pointwise=hidden_conv(num_inputs, width, style, kernel=(1, 1)))


def _residual(num_inputs: int, width: int, kernel: int, style: HiddenStyle) -> Parts:
    return OrderedDict(residual=Residual(num_inputs, width, kernel, style))


def _dense(num_inputs: int, width: int, kernel: int, style: HiddenStyle) -> Parts:
    return OrderedDict(dense=DenselyConnected(num_inputs, width, kernel, style))


PLAIN, RESIDUAL, DENSE = "plain", "residual", "dense"

# What a layer of each kind is made of, lowest first.
BLOCKS: dict[str, Callable[[int, int, int, HiddenStyle], Parts]] = {
    PLAIN: _plain,
    "double": _double,
    "factorised": _factorised,
    "bottleneck": _bottleneck,
    "separable": _separable,
    RESIDUAL: _residual,
    DENSE: _dense,
}


def _drop_path(probability: float) -> nn.Module:
    if not probability:
        return nn.Identity()
    from timm.layers import DropPath  # timm takes seconds to import

    drop: nn.Module = DropPath(probability)
    return drop
