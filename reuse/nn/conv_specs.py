"""The layers of a convnet as text: `32,64`, `20k5,residual64+residual64/128`.

=================  =====================================================================================================
``32``             a 3×3 convolution of 32 channels; every layer keeps the size of its map, then pooling halves it
``20k5``           a 5×5 convolution; a kernel's size is odd and goes with every kind
``32+32,64``       no pooling behind a layer with a plus
``double64``       two convolutions, which together see 5×5
``factorised64``   1×3, then 3×1
``bottleneck64``   1×1 to a quarter of the channels, 3×3, 1×1
``separable64``    3×3 of each channel by itself, then 1×1
``residual64``     two convolutions, added to their inputs
``dense32``        a convolution of 32 channels, appended to its inputs
``…/128,64``       dense layers of 128 and 64 units behind the convolutions
=================  =====================================================================================================
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from reuse.errors import UsageError
from reuse.menus import lookup, split_list
from reuse.nn.conv_blocks import BLOCKS, DENSE, PLAIN

KERNEL = 3
MOST_DIGITS = 1000  # of a number; Python reads no more than 4,300
LAYER = re.compile(r"(?P<kind>[a-z_]*)(?P<width>[0-9]+)(?:k(?P<kernel>[0-9]+))?")


@dataclass(frozen=True)
class ConvLayer:
    """One layer of a convnet.

    Attributes:
        width: channels that it makes.
        kind: of `conv_blocks.BLOCKS`.
        kernel: height and width of its convolutions, odd.
        pooled: whether the map is halved behind it.
    """

    width: int
    kind: str = PLAIN
    kernel: int = KERNEL
    pooled: bool = True

    def __str__(self) -> str:
        kind = "" if self.kind == PLAIN else self.kind
        return f"{kind}{self.width}" + ("" if self.kernel == KERNEL else f"k{self.kernel}")

    def num_outputs(self, num_inputs: int) -> int:
        """Return the channels that it gives for `num_inputs` channels."""
        return num_inputs + self.width if self.kind == DENSE else self.width


def parse_conv_layers(text: str, spec: str) -> tuple[ConvLayer, ...]:
    """Return the layers in `text`, such as `32+32,residual64`; `spec` is what the user wrote, for the message.

    Raises:
        UnknownNameError: a kind that there is not.
        UsageError: a layer that cannot be read, or a kernel of even size.
    """
    layers: list[ConvLayer] = []
    for group in split_list(text, "layers", spec):
        *unpooled, last = [_parse_layer(part.strip(), spec) for part in group.split("+")]
        layers += [*(replace(layer, pooled=False) for layer in unpooled), last]
    return tuple(layers)


def conv_layers_text(layers: Sequence[ConvLayer]) -> str:
    """Return the text of `layers`; pooling stands behind the last in any case."""
    joined = "".join(f"{layer}{',' if layer.pooled else '+'}" for layer in layers[:-1])
    return joined + str(layers[-1])


def whole_number(digits: str) -> int:
    """Return the number that digits write.

    Raises:
        UsageError: there are more than `MOST_DIGITS`.
    """
    if len(digits) > MOST_DIGITS:
        raise UsageError(f"a number of {len(digits):,} digits, {digits[:8]}…, is no size: give smaller numbers")
    return int(digits)


def _parse_layer(text: str, spec: str) -> ConvLayer:
    found = LAYER.fullmatch(text)
    if found is None or whole_number(found["width"]) < 1:
        raise UsageError(
            f"{text!r} in {spec!r} is not a width or layer: give positive whole numbers, as in convnet:32,64, or kinds "
            f"of layers before them ({', '.join(BLOCKS)}), as in convnet:32,residual64"
        )
    kernel = whole_number(found["kernel"] or str(KERNEL))
    if kernel % 2 == 0:
        raise UsageError(
            f"the kernel of {text!r} in {spec!r} is of even size: give an odd one, so that it has a centre"
        )
    kind = found["kind"] or PLAIN
    lookup(BLOCKS, kind, "kind of convolutional layer")
    return ConvLayer(whole_number(found["width"]), kind, kernel)
