"""The prefix key: everything that decides what the frozen layers compute, named, and digested to one key."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from reuse.devices import dtype_name
from reuse.errors import CacheError
from reuse.fingerprinting.digests import digest
from reuse.fingerprinting.environment import base_versions, numerics
from reuse.fingerprinting.modules import describe_module, graph_components
from reuse.fingerprinting.values import Description


@dataclass(frozen=True)
class Fingerprint:
    """Components of a prefix key, by name.

    Attributes:
        components: name → text, flat: `weights/hidden1.0.weight`, `attributes/layer1.0.bn1/eps`,
            `code/<qualified name>`, `hooks/…`, `graph`, `preprocessing/…`, `dtype`, `device`,
            `numerics/…`, `versions/torch`. Large things are digests.
    """

    components: dict[str, str]

    @cached_property
    def key(self) -> str:
        """The prefix key: 32 hexadecimal digits."""
        return digest(json.dumps(self.components, sort_keys=True))

    def differences(self, other: "Fingerprint") -> list[str]:
        """Return one readable line for each component that is not the same, empty where the keys are equal.

        Example:
            >>> Fingerprint({"dtype": "float32"}).differences(Fingerprint({"dtype": "float16"}))
            ['dtype: float32 here, float16 there']
        """
        return list(_differences(self.components, other.components))


def fingerprint(
    prefix: torch.fx.GraphModule,
    *,
    preprocessing: Mapping[str, Any],
    dtype: torch.dtype,
    device: torch.device,
    cache_format: int,
) -> Fingerprint:
    """Return the fingerprint of a prefix: the same in every process for the same computation, another for any other.

    It sees the graph; values of all parameters and buffers used; class, plain attributes, mode and hooks of every
    module; code of all classes and functions, the user's own with all that it refers to; torch's
    settings of precision; and the versions of packages.
    It does not see gradients (`requires_grad`), the suffix, or which device of a kind is used.

    Args:
        prefix: the traced frozen part, whose `call_module` targets may be whole blocks.
        preprocessing: all that happens to a row before the prefix: settings, and transforms as objects.
        dtype: type of the computation.
        device: where it runs; its kind counts.
        cache_format: number of the format in which its outputs are stored.

    Raises:
        CacheError: something that cannot be described (TorchScript modules, meta tensors, endless nesting).
    """
    try:
        components = _components(prefix, preprocessing, cache_format)
    except RecursionError as error:
        raise CacheError(
            "the frozen layers hold objects nested too deeply to be described for a cache key: train without a cache "
            "(--no-cache), or keep those objects outside of the layers"
        ) from error
    kind = torch.device(device).type
    return Fingerprint(components | numerics(kind) | {"dtype": dtype_name(dtype), "device": kind})


def _components(prefix: torch.fx.GraphModule, preprocessing: Mapping[str, Any], cache_format: int) -> dict[str, str]:
    description = Description(describe_module)
    components = dict(graph_components("", prefix, description))
    components |= {f"preprocessing/{name}": description.text(value) for name, value in preprocessing.items()}
    components |= {f"code/{name}": text for name, text in description.code().items()}
    versions = description.packages | base_versions(cache_format)
    return components | {f"versions/{name}": text for name, text in versions.items()}


def _differences(here: Mapping[str, str], there: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(here.keys() | there.keys()):
        if name not in there:
            yield f"{name}: {here[name]} here, absent there"
        elif name not in here:
            yield f"{name}: absent here, {there[name]} there"
        elif here[name] != there[name]:
            yield f"{name}: {here[name]} here, {there[name]} there"
