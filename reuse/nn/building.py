"""From a spec string to a module."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from reuse.errors import UnknownNameError, UsageError
from reuse.lookup import suggest
from reuse.nn.callables import build_from_callable, can_be_imported
from reuse.nn.convnet import ConvNet
from reuse.nn.embeddings import Tokens, mean_embedding, token_embedding
from reuse.nn.hidden import HiddenStyle, check_probability
from reuse.nn.mlp import MLP
from reuse.nn.outputs import output_layer, replace_output
from reuse.nn.preprocessing import preprocessing_of
from reuse.nn.probing import check_outputs
from reuse.nn.recurrent import RecurrentNet
from reuse.nn.recurrent_layers import RECURRENCES
from reuse.nn.specs import LAYER_NAMES, LayeredSpec, parse_layered
from reuse.nn.word_vectors import WordVectors, read_word_vectors

__all__ = ["build", "output_layer", "preprocessing_of", "replace_output"]

FORMS = "mlp:300,100 · convnet:32,64 · lstm:64 · gru:64,32 · timm:resnet18 · package.module:callable"
DEFAULT_SETTINGS = {
    "activation": "relu",
    "norm": None,
    "init": None,
    "dropout": 0.0,
    "input_dropout": 0.0,
    "recurrent_dropout": 0.0,
    "embedding_size": None,
    "embeddings": None,
}


def build(
    spec: str,
    input_shape: tuple[int, ...],
    num_outputs: int,
    *,
    activation: str = "relu",
    norm: str | None = None,
    init: str | None = None,
    dropout: float = 0.0,
    input_dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
    num_tokens: int | None = None,
    embedding_size: int | None = None,
    embeddings: str | Path | WordVectors | None = None,
    words: Sequence[str] = (),
    pretrained: bool = False,
) -> nn.Module:
    """Return the model that `spec` describes.

    Args:
        spec: `mlp:300,100` (layers `hidden1`, `hidden2`, `output`), `convnet:32,64` (`conv1`, `conv2`, `output`),
            `lstm:64`, `gru:64,32` (`gru1`, `gru2`, `output`), `timm:NAME`, or `package.module:callable`, which is
            called with what its signature names. Over tokens, `embedding` stands in front of a recurrent net, and of an
            mlp, which sees the mean over a row's tokens.
        input_shape: shape of one sample, `(features,)`, `(channels, height, width)`, `(time, features)` or, where
            there is a `num_tokens`, `(time,)`.
        num_outputs: units of the output layer, which has no activation.
        activation: of the hidden layers, a name of `activations.ACTIVATIONS`.
        norm: between the linear part of a hidden layer and its activation: batch, layer, group, rms, instance; with
            places behind a colon also after the activation, on the inputs, on the outputs: `batch:after,input,output`.
        init: initial weights of the hidden layers; None follows the activation. The output layer has Glorot's.
        dropout: probability of dropping an output of a hidden layer; for timm its `drop_rate`.
        input_dropout: probability of dropping an input, or a feature of a token.
        recurrent_dropout: probability of dropping a connection between hidden states of an lstm or gru.
        num_tokens: inputs are whole numbers below this, of which 0 is padding; None: inputs are numbers that count.
        embedding_size: features of each token; None: 64, or those of `embeddings`.
        embeddings: what the embedding layer is filled from: a word2vec or GloVe file, read for `words`, or what
            `reuse.nn.word_vectors.read_word_vectors` made of one, whose `note` says how many words were found.
        words: what each token is called, "" for those that are no words; needed with a file.
        pretrained: load timm's pretrained weights.

    Returns:
        A module from `(batch, *input_shape)` to `(batch, num_outputs)`; timm's and the user's have been tried on two
        samples.

    Raises:
        UsageError: a spec, shape or setting that cannot be taken; `UnknownNameError` names the nearest.
        RunError: pretrained weights that cannot be had.

    Example:
        >>> build("mlp:100,50", (64,), 10)(torch.zeros(1, 64)).shape
        torch.Size([1, 10])
    """
    _check_shapes(input_shape, num_outputs)
    settings: dict[str, Any] = {
        "activation": activation,
        "norm": norm,
        "init": init,
        "dropout": dropout,
        "input_dropout": input_dropout,
        "recurrent_dropout": recurrent_dropout,
        "embedding_size": embedding_size,
        "embeddings": embeddings,
    }
    check_probability("dropout", dropout)
    check_probability("input_dropout", input_dropout)
    check_probability("recurrent_dropout", recurrent_dropout)
    family, _, name = spec.partition(":")
    if family in LAYER_NAMES:
        tokens = _tokens(spec, num_tokens, settings, words)
        return _build_layered(spec, tuple(input_shape), num_outputs, settings, tokens, pretrained)
    if family == "timm" and name:
        return _build_timm(name, tuple(input_shape), num_outputs, settings, pretrained)
    if num_tokens is not None:
        settings["num_tokens"] = num_tokens
    return _build_users(spec, tuple(input_shape), num_outputs, settings, pretrained)


def _build_layered(
    spec: str,
    shape: tuple[int, ...],
    num_outputs: int,
    settings: dict[str, Any],
    tokens: Tokens | None,
    pretrained: bool,
) -> nn.Module:
    if pretrained:
        raise UsageError(f"{spec} has no pretrained weights: give a run or a file of weights to restore from")
    parsed = parse_layered(spec)
    input_dropout, recurrent_dropout = settings.pop("input_dropout"), settings.pop("recurrent_dropout")
    style = HiddenStyle(**settings)
    if parsed.family in RECURRENCES:
        return _build_recurrent(parsed, shape, num_outputs, style, (input_dropout, recurrent_dropout), tokens)
    if recurrent_dropout:
        raise UsageError(
            f"{spec} has no recurrent layers, so recurrent_dropout={recurrent_dropout} cannot be: use dropout"
        )
    if parsed.family == "mlp" and tokens is not None:
        embedding = mean_embedding(tokens)
        return MLP((tokens.features,), parsed.widths, num_outputs, style, input_dropout, embedding)
    if parsed.family == "mlp":
        return MLP(shape, parsed.widths, num_outputs, style, input_dropout)
    if len(shape) != 3:
        raise UsageError(f"{spec} takes images (channels, height, width); one input here is {shape}")
    return ConvNet((shape[0], shape[1], shape[2]), parsed.widths, num_outputs, style, input_dropout)


def _build_recurrent(
    spec: LayeredSpec,
    shape: tuple[int, ...],
    num_outputs: int,
    style: HiddenStyle,
    dropouts: tuple[float, float],
    tokens: Tokens | None,
) -> nn.Module:
    if tokens is not None:
        embedding = token_embedding(tokens)
        return RecurrentNet(spec.family, tokens.features, spec.widths, num_outputs, style, *dropouts, embedding)
    if len(shape) != 2:
        raise UsageError(
            f"{spec} takes sequences (time, features), or tokens (time,) where num_tokens is given; one input here is "
            f"{shape}: load arrays with sequences=True, or a table's column of texts with text=COLUMN"
        )
    return RecurrentNet(spec.family, shape[1], spec.widths, num_outputs, style, *dropouts)


def _tokens(spec: str, num_tokens: int | None, settings: dict[str, Any], words: Sequence[str]) -> Tokens | None:
    """Take what is about tokens out of `settings` and return it, None where the inputs are no tokens."""
    size, embeddings = settings.pop("embedding_size"), settings.pop("embeddings")
    if num_tokens is None:
        if size is not None or embeddings is not None:
            raise UsageError(
                f"embeddings are of tokens, and the inputs of {spec} are none: leave them out, or use texts"
            )
        return None
    if isinstance(embeddings, str | Path):
        embeddings = read_word_vectors(embeddings, words)
    return Tokens(num_tokens, size, embeddings)


def _build_timm(
    name: str, shape: tuple[int, ...], num_outputs: int, settings: dict[str, Any], pretrained: bool
) -> nn.Module:
    from reuse.nn.timm_models import build_timm, takes  # timm takes seconds to import

    spec = f"timm:{name}"
    _refuse_unused(spec, settings, {"dropout"})
    model = build_timm(name, shape, num_outputs, pretrained=pretrained, dropout=settings["dropout"])
    check_outputs(model, shape, num_outputs, spec, takes(name))
    return model


def _build_users(
    spec: str, shape: tuple[int, ...], num_outputs: int, settings: dict[str, Any], pretrained: bool
) -> nn.Module:
    path, _, attribute = spec.partition(":")
    if not attribute or not can_be_imported(path):
        raise _unknown_form(spec, path)
    offered = settings | {"pretrained": pretrained}
    model, given = build_from_callable(spec, shape, num_outputs, offered)
    _refuse_unused(spec, settings, given)
    check_outputs(model, shape, num_outputs, spec, "make it take input_shape (or in_features) and num_outputs")
    return model


def _unknown_form(spec: str, family: str) -> UsageError:
    families = [*LAYER_NAMES, "timm"]
    if family in families:
        return UsageError(f"model {spec!r} is a family without anything after it: write one of {FORMS}")
    return UnknownNameError(
        f"unknown model {spec!r}: {family!r} is no family and no module that can be imported; "
        f"{suggest(family, families)} Forms: {FORMS}"
    )


def _refuse_unused(spec: str, settings: dict[str, Any], used: set[str]) -> None:
    unused = [n for n, value in settings.items() if n not in used and value != DEFAULT_SETTINGS.get(n, value)]
    if unused:
        raise UsageError(f"{spec} builds its own layers and takes no {', '.join(unused)}: leave it out")


def _check_shapes(input_shape: tuple[int, ...], num_outputs: int) -> None:
    if not input_shape or any(not isinstance(size, int) or size < 1 for size in input_shape):
        raise UsageError(f"an input shape is one or more positive whole numbers, without the batch; not {input_shape}")
    if num_outputs < 1:
        raise UsageError(f"a model needs at least one output; {num_outputs} was given")
