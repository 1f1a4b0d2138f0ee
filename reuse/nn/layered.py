"""Networks whose layers a spec names: dense, convolutional, highway and recurrent ones."""

from pathlib import Path

from torch import nn

from reuse.errors import UsageError
from reuse.nn.conv_blocks import RESIDUAL
from reuse.nn.convnet import ConvNet
from reuse.nn.embeddings import TokenOptions, Tokens, mean_embedding, token_embedding
from reuse.nn.hidden import HiddenStyle
from reuse.nn.highway import highway_layers
from reuse.nn.mlp import MLP, Stack, dense_layers
from reuse.nn.options import LayerOptions
from reuse.nn.recurrent import RecurrentNet
from reuse.nn.recurrent_layers import RECURRENCES
from reuse.nn.selu import warn_of_network
from reuse.nn.specs import CONVNET, LayeredSpec, parse_layered, with_defaults
from reuse.nn.word_vectors import read_word_vectors

DENSE_FAMILIES: dict[str, Stack] = {"mlp": dense_layers, "default": dense_layers, "highway": highway_layers}


def build_layered(
    spec: str, shape: tuple[int, ...], num_outputs: int, options: LayerOptions, tokens: Tokens | None
) -> nn.Module:
    """Return the network of a layered spec.

    Args:
        spec: of a family of `specs.LAYER_NAMES`.
        shape: of one sample.
        num_outputs: units of the output layer.
        options: of its layers; those that are None are the family's.
        tokens: what the embedding is to know where the inputs are tokens.

    Raises:
        UsageError: a shape or setting that such a network does not take.
    """
    parsed, options = parse_layered(spec), with_defaults(spec, options)
    if parsed.family not in RECURRENCES:  # these warn themselves
        warn_of_network(spec, options)
    style = _style(options)
    _check_drop_path(parsed, style)
    if parsed.family in RECURRENCES:
        return _build_recurrent(parsed, shape, num_outputs, style, options, tokens)
    if options.recurrent_dropout:
        raise UsageError(
            f"{spec} has no recurrent layers, so recurrent_dropout={options.recurrent_dropout} cannot be: use dropout"
        )
    if parsed.family in DENSE_FAMILIES:
        stack, embedding = DENSE_FAMILIES[parsed.family], None if tokens is None else mean_embedding(tokens)
        inputs = shape if tokens is None else (tokens.features,)
        return MLP(inputs, parsed.widths, num_outputs, style, options.input_dropout, embedding, stack)
    if len(shape) != 3:
        raise UsageError(f"{spec} takes images (channels, height, width); one input here is {shape}")
    image = (shape[0], shape[1], shape[2])
    return ConvNet(image, parsed.convolutions, num_outputs, style, options.input_dropout, parsed.widths)


def find_tokens(spec: str, options: LayerOptions, given: TokenOptions) -> Tokens | None:
    """Return what an embedding is to know of the tokens, None where the inputs are none; a file of vectors is read.

    Raises:
        UsageError: there are embeddings for inputs that are no tokens.
    """
    size, embeddings = options.embedding_size, given.embeddings
    if given.num_tokens is None:
        if size is not None or embeddings is not None:
            raise UsageError(
                f"embeddings are of tokens, and the inputs of {spec} are none: leave them out, or use texts"
            )
        return None
    if isinstance(embeddings, str | Path):
        embeddings = read_word_vectors(embeddings, given.words)
    return Tokens(given.num_tokens, size, embeddings)


def _style(options: LayerOptions) -> HiddenStyle:
    assert options.activation is not None, "the family has one"
    assert options.dropout is not None, "the family has one"
    return HiddenStyle(options.activation, options.norm, options.init, options.dropout, options.drop_path)


def _check_drop_path(spec: LayeredSpec, style: HiddenStyle) -> None:
    if style.drop_path and not any(layer.kind == RESIDUAL for layer in spec.convolutions):
        raise UsageError(
            f"drop_path={style.drop_path} leaves out residual layers, and {spec} has none: use dropout, or residual "
            f"layers, as in {CONVNET}:32,residual64"
        )


def _build_recurrent(
    spec: LayeredSpec,
    shape: tuple[int, ...],
    num_outputs: int,
    style: HiddenStyle,
    options: LayerOptions,
    tokens: Tokens | None,
) -> nn.Module:
    dropouts = (options.input_dropout, options.recurrent_dropout)
    if tokens is not None:
        embedding = token_embedding(tokens)
        return RecurrentNet(spec.family, tokens.features, spec.widths, num_outputs, style, *dropouts, embedding)
    if len(shape) != 2:
        raise UsageError(
            f"{spec} takes sequences (time, features), or tokens (time,) where num_tokens is given; one input here is "
            f"{shape}: load arrays with sequences=True, or a table's column of texts with text=COLUMN"
        )
    return RecurrentNet(spec.family, shape[1], spec.widths, num_outputs, style, *dropouts)
