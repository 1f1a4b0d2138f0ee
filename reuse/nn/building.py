"""Models from spec strings: ours, timm's and the user's own."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from reuse.devices import free_memory
from reuse.errors import UnknownNameError, UsageError
from reuse.layout import RowTensor, one_tensor
from reuse.menus import suggest
from reuse.nn.callables import build_from_callable, can_be_imported, names_code, offers
from reuse.nn.conv_specs import whole_number
from reuse.nn.embeddings import TokenOptions
from reuse.nn.exchanging import exchange
from reuse.nn.hf_specs import FAMILY, check_extra
from reuse.nn.hidden import check_probability
from reuse.nn.layered import build_layered, find_tokens
from reuse.nn.options import LayerOptions
from reuse.nn.outputs import output_layer, replace_output
from reuse.nn.preprocessing import preprocessing_of
from reuse.nn.probing import check_outputs
from reuse.nn.selu import warn_of_network
from reuse.nn.specs import LAYER_NAMES, LAYERED
from reuse.nn.timm_names import whole_spec
from reuse.seeding import untouched_random_state
from reuse.settings.calling import carried, takes
from reuse.settings.setting import settings_of
from reuse.units import format_bytes

__all__ = ["build", "output_layer", "preprocessing_of", "replace_output"]

LARGE = 4096  # numbers above which a model's size is looked at before it is built
MEMORY_SHARE = 2  # a gradient a weight
FORMS = (
    "default · mlp:300,100 · convnet:32,64 · highway:64,64 · lstm:64 · gru:64,32 · timm:resnet18 · hf:FOLDER · "
    "package.module:callable"
)


@dataclass(frozen=True, kw_only=True)
class BuildArguments(LayerOptions, TokenOptions):
    """Arguments of `reuse.build`.

    Attributes:
        spec: `mlp:300,100` (layers `hidden1`, `hidden2`, `output`), `convnet:32,64` (`conv1`, `conv2`, `output`; for
            5×5 kernels, blocks and dense layers behind see `conv_specs`: `convnet:20k5,residual64+residual64/128`),
            `highway:64,64` (layers of one width that learn how much of their inputs to pass on), `lstm:64`, `gru:64,32`
            (`gru1`, `gru2`, `output`), `default` (`default:300,100`: an mlp with He's initial weights, ELU, batch norm
            and dropout 0.2), `timm:NAME`, transformers' models with a classification head (`hf:FOLDER`,
            `hf:CONFIG.json`, `hf:bert:hidden_size=64,num_hidden_layers=2`, or `hf:` and a name of the hub), or
            `package.module:callable`, which is called with what its signature names.
            Over tokens, `embedding` stands in front of a recurrent net, and of dense layers, which see the mean over a
            row's tokens.
        input_shape: shape of one sample, `(features,)`, `(channels, height, width)`, `(time, features)` or, where
            there is a `num_tokens`, `(time,)`.
        num_outputs: units of the output layer, which has no activation.
        pretrained: load timm's pretrained weights.
        tensors: the tensors of a sample (`reuse.layout`), where there are several, of which `input_shape` is the first;
            a `package.module:callable` may ask for `input_shapes`, by name or in order.
        config: of a model of transformers, where it was read before; None: it is read.
    """

    spec: str = field(kw_only=False)
    input_shape: Sequence[int] = field(kw_only=False)
    num_outputs: int = field(kw_only=False)
    pretrained: bool = False
    tensors: Sequence[RowTensor] = ()
    config: Any = None


@takes(BuildArguments)
def build(arguments: BuildArguments) -> nn.Module:
    """Return the model that a spec describes.

    Returns:
        A module from `(batch, *input_shape)` to `(batch, num_outputs)`; timm's and the user's have been tried on two
        samples. What an exchange did is in `reuse.nn.exchanging.exchange_notes(model)`.

    Raises:
        UsageError: a spec, shape or setting that cannot be taken; `UnknownNameError` names the nearest.
        RunError: pretrained weights that cannot be had.

    Example:
        >>> build("mlp:100,50", (64,), 10)(torch.zeros(1, 64)).shape
        torch.Size([1, 10])
    """
    arguments = replace(arguments, spec=whole_spec(arguments.spec))
    check_form(arguments.spec)
    spec, shape, num_outputs = arguments.spec, tuple(arguments.input_shape), arguments.num_outputs
    pretrained = arguments.pretrained
    options = carried(arguments, settings_of(LayerOptions), LayerOptions)
    tokens = carried(arguments, settings_of(TokenOptions), TokenOptions)
    check_shapes(shape, num_outputs)
    _check_dropouts(options)
    family, _, name = spec.partition(":")
    if arguments.tensors and family in (*LAYER_NAMES, "timm"):
        listed = ", ".join(map(str, arguments.tensors))
        raise UsageError(f"{spec} takes one input a row, and there are {listed}: name a model of your own")
    if family in LAYER_NAMES:
        if pretrained:
            raise UsageError(f"{spec} has no pretrained weights: give a run or a file of weights to restore from")
        check_size(arguments)
        return build_layered(spec, shape, num_outputs, options, find_tokens(spec, options, tokens))
    if family == "timm" and name:
        return _build_timm(name, shape, num_outputs, options, tokens, pretrained)
    if family == FAMILY:
        return _build_hf(arguments, options, tokens)
    return _build_users(arguments, options, tokens)


def _build_timm(
    name: str, shape: tuple[int, ...], num_outputs: int, options: LayerOptions, tokens: TokenOptions, pretrained: bool
) -> nn.Module:
    from reuse.nn.timm_models import build_timm, takes  # timm takes seconds to import

    spec = f"timm:{name}"
    _refuse_unused(spec, options, tokens, {"dropout", "drop_path", "norm", "activation"})
    model = build_timm(
        name,
        shape,
        num_outputs,
        pretrained=pretrained,
        dropout=options.dropout or 0.0,
        drop_path=options.drop_path,
    )
    _exchange(model, spec, options)
    check_outputs(model, one_tensor(shape), num_outputs, spec, takes(name))
    return model


def _build_hf(arguments: BuildArguments, options: LayerOptions, tokens: TokenOptions) -> nn.Module:
    spec, num_outputs = arguments.spec, arguments.num_outputs
    check_extra(spec)
    from reuse.nn.hf_models import build_hf  # transformers takes seconds to import

    _refuse_unused(spec, options, tokens, {"norm", "activation", "dropout"})
    kind = torch.float32 if tokens.num_tokens is None else torch.int64
    layout = tuple(arguments.tensors) or one_tensor(tuple(arguments.input_shape), kind)
    model = build_hf(
        spec, arguments.config, layout, num_outputs, pretrained=arguments.pretrained, dropout=options.dropout
    )
    _exchange(model, spec, options)
    if not getattr(model.config, "is_encoder_decoder", False):  # whose heads read the end of a text; zeros have none
        check_outputs(model, layout, num_outputs, spec, "give data that it takes")
    return model


def _build_users(arguments: BuildArguments, options: LayerOptions, tokens: TokenOptions) -> nn.Module:
    spec, shape, num_outputs = arguments.spec, tuple(arguments.input_shape), arguments.num_outputs
    given = offers(shape, num_outputs, tuple(arguments.tensors)) | {"pretrained": arguments.pretrained}
    model, taken = build_from_callable(spec, given, options.filled(LAYERED), tokens)
    _refuse_unused(spec, options, tokens, taken | {"norm", "activation"})
    if "norm" in taken:
        options = replace(options, norm=None)
    if "activation" in taken:
        options = replace(options, activation=None)
    _exchange(model, spec, options)
    layout = tuple(arguments.tensors) or one_tensor(shape)
    check_outputs(model, layout, num_outputs, spec, "make it take input_shape (or in_features) and num_outputs")
    return model


def _exchange(model: nn.Module, spec: str, options: LayerOptions) -> None:
    exchange(model, options.norm, options.activation)
    warn_of_network(spec, options)


def _unknown_form(spec: str, family: str) -> UsageError:
    families = [*LAYER_NAMES, "timm", FAMILY]
    if family in families:
        return UsageError(f"model {spec!r} is a family without anything after it: write one of {FORMS}")
    return UnknownNameError(
        f"unknown model {spec!r}: {family!r} is no family and no module that can be imported; "
        f"{suggest(family, families)} Forms: {FORMS}"
    )


def _refuse_unused(spec: str, options: LayerOptions, tokens: TokenOptions, used: set[str]) -> None:
    given = options.given if tokens.embeddings is None else (*options.given, "embeddings")
    unused = [name for name in given if name not in used]
    if unused:
        raise UsageError(f"{spec} builds its own layers and takes no {', '.join(unused)}: leave it out")


def _check_dropouts(options: LayerOptions) -> None:
    shares = {
        "dropout": options.dropout,
        "input_dropout": options.input_dropout,
        "recurrent_dropout": options.recurrent_dropout,
        "drop_path": options.drop_path,
    }
    for name, share in shares.items():
        check_probability(name, share or 0.0)


def check_form(spec: str) -> None:
    """Raise where no model can be meant, which takes neither data nor weights to see.

    Raises:
        UnknownNameError: the spec names no family, and no module that can be imported; the message lists the nearest.
        UsageError: nothing stands behind the name of a family that needs it.
    """
    family, _, name = spec.partition(":")
    is_known = family in (*LAYER_NAMES, FAMILY) or (family == "timm" and name != "")
    if not is_known and not (names_code(spec, ()) and can_be_imported(family)):
        raise _unknown_form(spec, family)


def check_size(arguments: BuildArguments) -> None:
    """Raise where a layered model would not fit in memory: found on a device that holds shapes and no numbers.

    Raises:
        UsageError: the message says how much it would take.
    """
    spec, shape, num_outputs = arguments.spec, tuple(arguments.input_shape), arguments.num_outputs
    numbers = (*shape, num_outputs, arguments.embedding_size or 0, arguments.num_tokens or 0)
    if max(*numbers, *map(whole_number, re.findall(r"\d+", spec))) <= LARGE:
        return
    options = carried(arguments, settings_of(LayerOptions), LayerOptions)
    tokens = TokenOptions(num_tokens=arguments.num_tokens)
    try:
        with untouched_random_state(), torch.device("meta"):
            model = build_layered(spec, shape, num_outputs, options, find_tokens(spec, options, tokens))
        needed = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
    except (RuntimeError, TypeError) as error:
        if "overflow" in str(error).lower():  # of bytes, or of a number, that torch counts in 64 bits
            raise UsageError(f"{spec} is larger than any memory: give smaller numbers") from error
        return  # weight and spectral norm need numbers
    free = free_memory(torch.device("cpu"))
    if needed > free // MEMORY_SHARE:
        raise UsageError(
            f"the weights of {spec} would take {format_bytes(needed)}, and {format_bytes(free)} of memory are free, "
            f"{MEMORY_SHARE} times as much being needed to train: give smaller numbers"
        )


def check_shapes(input_shape: tuple[int, ...], num_outputs: int) -> None:
    """Raise where no model has inputs of a shape, or so many outputs.

    Raises:
        UsageError: the message says which.
    """
    if not input_shape or any(not isinstance(size, int) or size < 1 for size in input_shape):
        raise UsageError(f"an input shape is one or more positive whole numbers, without the batch; not {input_shape}")
    if num_outputs < 1:
        raise UsageError(f"a model needs at least one output; {num_outputs} was given")
