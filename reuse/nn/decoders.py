"""Decoders built from encoders: the mirror image of ours, a general one for any other."""

import math
from collections import OrderedDict

from torch import Tensor, nn

from reuse.errors import UsageError
from reuse.nn.convnet import ConvNet, Size, map_sizes
from reuse.nn.encoders import encoder_of, tokens_to_map_shape
from reuse.nn.hidden import HiddenStyle, hidden_linear, initialize
from reuse.nn.mlp import MLP
from reuse.nn.probing import REFUSALS, evaluate, reason
from reuse.nn.upsampling import ChannelsFirst, MapDecoder, TokensToMap, doubling_sizes, halved, halved_channels

__all__ = ["Autoencoder", "build_decoder", "build_generator", "coding_shape", "encoder_of"]

LARGEST_FIRST_MAP = 4  # pixels a side of the map that a vector is spread over
CHANNELS = (16, 256)  # fewest (next to the image) and most (next to the coding)


class Autoencoder(nn.Module):
    """An encoder and a decoder behind it.

    Args:
        encoder: from `(batch, *input_shape)` to the coding (see `encoder_of`).
        decoder: from the coding back to `(batch, *input_shape)` (see `build_decoder`).
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def encode(self, x: Tensor) -> Tensor:
        """Return the coding of `x`."""
        coding: Tensor = self.encoder(x)
        return coding

    def forward(self, x: Tensor) -> Tensor:
        """Return the reconstruction of `x`, of its shape."""
        reconstruction: Tensor = self.decoder(self.encoder(x))
        return reconstruction


def build_decoder(encoder: nn.Module, example: Tensor, channels: int | None = None) -> nn.Module:
    """Return a fresh decoder from the coding of `encoder` to the shape of its inputs.

    - An mlp's is the mlp of the same widths in reverse; its last layer has no activation.
    - A plain convnet's goes up through the same maps: each layer enlarges to the size that the encoder's layer started
      from (nearest neighbour: no checkerboards, Odena et al. 2016) and convolves.
    - Any other goes from a vector, tokens or a map by doublings to an image, or through one hidden layer to a vector.

    Args:
        encoder: a model without its output layer (see `encoder_of`); it is run once in eval mode and left as it was.
        example: one sample, `(1, *input_shape)`.
        channels: of what is decoded, in place of the first number of the shape; None: as many as go in.

    Returns:
        A module from the coding, `(batch, …)`, to `(batch, *input_shape)`.

    Raises:
        UsageError: the example is of tokens, or the encoder does not take it or gives no single tensor with the batch
            in front.

    Example:
        >>> encoder = encoder_of(reuse.build("mlp:20,10", (4,), 3))
        >>> build_decoder(encoder, torch.zeros(1, 4))(torch.zeros(2, 10)).shape
        torch.Size([2, 4])
    """
    shape = (channels or example.size(1), *example.shape[2:])
    if not example.is_floating_point():
        raise UsageError("a decoder gives numbers, and these inputs are tokens: pretrain on labels (supervised)")
    coding = coding_shape(encoder, example)
    if isinstance(encoder, MLP) and encoder.has_mirror:
        return _mirrored_mlp(encoder, shape)
    if isinstance(encoder, ConvNet) and encoder.has_mirror:
        return _mirrored_convnet(encoder, (shape[0], shape[1], shape[2]))
    if len(shape) != 3:
        return _to_vector(math.prod(coding), shape)
    return _to_image(encoder, coding, (shape[0], shape[1], shape[2]))


def build_generator(encoder: nn.Module, example: Tensor, size: int) -> nn.Module:
    """Return a fresh decoder from `size` numbers: spread over a coding like the encoder's, and then decoded like one.

    Args:
        encoder: as `build_decoder` takes it.
        example: one sample, `(1, *input_shape)`.
        size: how many numbers.

    Returns:
        A module `spread`, `unflatten`, `decoder` from `(batch, size)` to `(batch, *input_shape)`.

    Raises:
        UsageError: as `build_decoder`; or the size is below 1.
    """
    if size < 1:
        raise UsageError(f"a generator is to start from {size} numbers: give 1 or more")
    decoder, coding = build_decoder(encoder, example), coding_shape(encoder, example)
    spread = hidden_linear(size, math.prod(coding), HiddenStyle())
    return nn.Sequential(OrderedDict(spread=spread, unflatten=nn.Unflatten(1, coding), decoder=decoder))


def coding_shape(encoder: nn.Module, example: Tensor) -> tuple[int, ...]:
    """Return the shape of one sample's coding.

    Args:
        encoder: run once in eval mode and left as it was.
        example: one sample, `(1, *input_shape)`.

    Raises:
        UsageError: the encoder does not take it, or gives no single tensor with the batch in front.
    """
    try:
        coding = evaluate(encoder, example)
    except REFUSALS as error:
        given = tuple(example.shape)
        raise UsageError(f"the encoder does not take an example of shape {given} ({reason(error)})") from error
    if not isinstance(coding, Tensor) or coding.dim() < 2 or len(coding) != len(example):
        got = tuple(coding.shape) if isinstance(coding, Tensor) else type(coding).__name__
        raise UsageError(f"an encoder gives one tensor (batch, …) per input; for one sample this one gave {got}")
    return tuple(coding.shape[1:])


def _mirrored_mlp(encoder: MLP, shape: tuple[int, ...]) -> nn.Module:
    *upper, coding = encoder.widths
    mirror = MLP((coding,), upper[::-1], math.prod(shape), encoder.style.for_decoder)
    mirror.add_module("unflatten", nn.Unflatten(1, shape))
    return mirror


def _mirrored_convnet(encoder: ConvNet, shape: tuple[int, int, int]) -> nn.Module:
    sizes = map_sizes((shape[1], shape[2]), encoder.convolutions)
    *lower, top = [layer.width for layer in encoder.convolutions]
    start = (top, *sizes[-1])
    spread = nn.Unflatten(1, start)
    channels = [*lower[::-1], shape[0]]
    return MapDecoder(spread, start[0], channels, sizes[-2::-1], encoder.style.for_decoder)


def _to_vector(num_inputs: int, shape: tuple[int, ...]) -> nn.Module:
    """Return one hidden layer as wide as the geometric mean of both ends, then the inputs."""
    width = max(math.isqrt(num_inputs * math.prod(shape)), 1)
    output = nn.Linear(width, math.prod(shape))
    initialize(output)
    layers = (nn.Flatten(), hidden_linear(num_inputs, width, HiddenStyle()), output, nn.Unflatten(1, shape))
    return nn.Sequential(*layers)


def _to_image(encoder: nn.Module, coding: tuple[int, ...], image: tuple[int, int, int]) -> nn.Module:
    target = image[1:]
    if len(coding) == 3 and str(getattr(encoder, "output_fmt", "NCHW")).endswith("NHWC"):  # timm's swin and its kin
        return _grow(ChannelsFirst(), coding[2], (coding[0], coding[1]), image)
    if len(coding) == 3:
        return _grow(nn.Identity(), coding[0], (coding[1], coding[2]), image)
    places = tokens_to_map_shape(encoder, coding[0]) if len(coding) == 2 else None
    if places is not None:
        leading, rows, columns = places
        return _grow(TokensToMap(leading, (rows, columns)), coding[1], (rows, columns), image)
    times = max(math.ceil(math.log2(max(target) / LARGEST_FIRST_MAP)), 0)
    size = halved(target, times)
    channels = min(CHANNELS[0] * 2 ** max(times - 1, 0), CHANNELS[1])
    dense = hidden_linear(math.prod(coding), channels * math.prod(size), HiddenStyle())
    spread = nn.Sequential(nn.Flatten(), dense, nn.Unflatten(1, (channels, *size)))
    return _grow(spread, channels, size, image)


def _grow(spread: nn.Module, num_channels: int, start: Size, image: tuple[int, int, int]) -> nn.Module:
    sizes = doubling_sizes(start, image[1:])
    channels = halved_channels(num_channels, len(sizes) - 1, *CHANNELS)
    return MapDecoder(spread, num_channels, [*channels, image[0]], sizes, HiddenStyle())
