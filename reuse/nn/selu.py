"""Warnings about SELU where it does not do what it is chosen for: keep activations at mean 0 and variance 1 by itself.

Klambauer et al. 2017, https://arxiv.org/abs/1706.02515, prove it for plain stacks of layers with LeCun's initial
weights on standardised inputs. Its alpha dropout needs no warning: it is what `dropout` means under SELU here.
"""

import inspect
import warnings

from reuse.menus import name_of
from reuse.nn.conv_blocks import DENSE, RESIDUAL
from reuse.nn.initializers import default_initializer
from reuse.nn.norm_specs import parse_norm
from reuse.nn.options import LayerOptions
from reuse.nn.specs import CONVNET, LAYER_NAMES, is_recurrent, parse_layered, with_defaults

BUILDERS = ("reuse.nn.", "reuse.settings.")  # whose lines are not the caller's


def input_concerns(spec: str, options: LayerOptions, standardised: bool) -> list[str]:
    """Return in one sentence why SELU will not normalise these inputs; nothing where it will, or is not chosen.

    Args:
        spec: as `reuse.build` takes it.
        options: of its layers.
        standardised: whether each input feature has mean 0 and variance 1.

    Example:
        >>> input_concerns("mlp:10", LayerOptions(activation="selu"), standardised=True)
        []
    """
    norm = parse_norm(options.norm)
    if standardised or not _is_selu(spec, options) or (norm is not None and norm.input):
        return []
    return ["activation 'selu' on inputs that are not standardised: it needs inputs of mean 0 and variance 1"]


def network_concerns(spec: str, options: LayerOptions) -> list[str]:
    """Return in one sentence each why SELU will not normalise in this network; arguments as of `input_concerns`."""
    if not _is_selu(spec, options):
        return []
    found = [
        (_weights(spec, options), "only from LeCun initial weights; leave init out, or give init='lecun_normal'"),
        (_norm(spec, options), "by itself, and a norm is in its way; leave one of the two out"),
        (_shape(spec), "only in a plain sequential stack; choose elu, or another model"),
    ]
    kept = "it keeps activations at mean 0 and variance 1"
    return [f"activation 'selu' {what}: {kept} {only}" for what, only in found if what is not None]


def warn_of_network(spec: str, options: LayerOptions) -> None:
    """Warn of each of the `network_concerns`."""
    for concern in network_concerns(spec, options):
        warn_caller(concern)


def warn_caller(message: str) -> None:
    """Warn at the line of code that called a builder, however deep inside the builders the reason was found."""
    frame, level = inspect.currentframe(), 1
    while frame and frame.f_back and frame.f_globals["__name__"].startswith(BUILDERS):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


def _is_selu(spec: str, options: LayerOptions) -> bool:
    return with_defaults(spec, options).activation == "selu"


def _weights(spec: str, options: LayerOptions) -> str | None:
    if name_of(spec) not in LAYER_NAMES:
        return None
    init = options.init or default_initializer("selu")
    return None if init.startswith("lecun") else f"with initial weights {init!r}"


def _norm(spec: str, options: LayerOptions) -> str | None:
    norm = parse_norm(with_defaults(spec, options).norm)
    return None if norm is None or is_recurrent(spec) else f"with norm {str(norm)!r}"


def _shape(spec: str) -> str | None:
    family = name_of(spec)
    if is_recurrent(spec):
        return f"in a recurrent net ({family})"
    if family == "highway":
        return "in highway layers"
    if family not in LAYER_NAMES:
        return f"in {spec}"
    kinds = {layer.kind for layer in parse_layered(spec).convolutions} if family == CONVNET else set()
    skipping = [kind for kind in (RESIDUAL, DENSE) if kind in kinds]
    return f"in {' and '.join(skipping)} layers" if skipping else None
