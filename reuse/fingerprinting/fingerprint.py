"""The prefix key: everything that decides what the frozen layers compute, named, and digested to one key."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch

from reuse.devices import dtype_name
from reuse.errors import CacheError
from reuse.fingerprinting.blocks import Blocks
from reuse.fingerprinting.digests import digest
from reuse.fingerprinting.environment import base_versions, numerics
from reuse.fingerprinting.modes import modes
from reuse.fingerprinting.modules import describe_module, graph_components, hook_components
from reuse.fingerprinting.own_code import OwnCode
from reuse.fingerprinting.own_parts import Names
from reuse.fingerprinting.values import Description

OWN, SURROUNDINGS = "own", "surroundings"
NAMED = frozenset(
    {"attributes", "code", "graph", "hooks", "modes", "patches", "preprocessing", SURROUNDINGS, "versions"}
)
TOLD = frozenset({"code", "patches", "versions"})
Components = dict[str, str]
Describe = Callable[[Description], Components]
Tensors = dict[int, tuple[torch.Tensor, str]]


@dataclass(frozen=True)
class Fingerprint:
    """Components of a prefix key, by name.

    Attributes:
        components: name → text, flat: `weights/hidden1.0.weight`, `attributes/layer1.0.bn1/eps`,
            `code/<qualified name>`, `hooks/…`, `graph`, `preprocessing/…`, `dtype`, `device`,
            `numerics/…`, `versions/torch`. Large things are digests. `own` is that of all of it in which the
            user's own code counts by what it does and reads, and not by its names.
    """

    components: dict[str, str]

    @cached_property
    def key(self) -> str:
        """The prefix key: 32 hexadecimal digits.

        Where the user's own code is part of it, `own` stands for all that is told by names.
        """
        kinds = NAMED if OWN in self.components else ()
        keyed = {name: text for name, text in self.components.items() if name.partition("/")[0] not in kinds}
        return digest(json.dumps(keyed, sort_keys=True))

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
    blocks: Blocks | None = None,
) -> Fingerprint:
    """Return the fingerprint of a prefix: the same in every process for the same computation, another for any other.

    It sees the graph; values of all parameters and buffers used; class, plain attributes, mode and hooks of every
    module; code of all classes and functions, the user's own with all that it refers to, and functions of packages
    that were patched; torch's settings of precision and determinism; and the versions of packages.
    It does not see gradients (`requires_grad`), the suffix, or which device of a kind is used. Of the user's own
    modules it leaves out what their code only keeps and never reads into a result, such as a counter.

    It cannot see what a `forward` reads from outside of Python's objects: a file, the environment, the clock, names
    that are made up while it runs (`globals()[prefix + name]`), kernels in C++ and those that `Library.impl` has put in
    the place of torch's. The probe that is kept with a cache is there for these (`caching.probing`).

    Args:
        prefix: the traced frozen part, whose `call_module` targets may be whole blocks.
        preprocessing: all that happens to a row before the prefix: settings, and transforms as objects.
        dtype: type of the computation.
        device: where it runs; its kind counts.
        cache_format: number of the format in which its outputs are stored.
        blocks: parts of it that are described once for several fingerprints, between which nothing may run.

    Raises:
        CacheError: something that cannot be described (TorchScript modules, meta tensors, endless nesting).
    """
    try:
        components = _components(prefix, preprocessing, cache_format, blocks)
    except RecursionError as error:
        raise CacheError(
            "the frozen layers hold objects nested too deeply to be described for a cache key: train without a cache "
            "(--no-cache), or keep those objects outside of the layers"
        ) from error
    kind = torch.device(device).type
    return Fingerprint(components | numerics(kind) | _autocast(kind) | {"dtype": dtype_name(dtype), "device": kind})


def _autocast(kind: str) -> Components:
    """Return in which type products are computed where somebody's autocast is around; that of a training is no such."""
    if not torch.is_autocast_enabled(kind):
        return {}
    return {"numerics/autocast": dtype_name(torch.get_autocast_dtype(kind))}


def _components(
    prefix: torch.fx.GraphModule, preprocessing: Mapping[str, Any], cache_format: int, blocks: Blocks | None
) -> Components:
    def described(description: Description) -> Components:
        components = dict(graph_components("", prefix, description))
        components |= {f"preprocessing/{name}": description.text(value) for name, value in preprocessing.items()}
        components |= hook_components(description)
        components |= {f"modes/{number}": description.text(mode) for number, mode in enumerate(modes())}
        components |= {f"code/{name}": text for name, text in description.code().items()}
        components |= {f"patches/{name}": text for name, text in description.patches().items()}
        if description.own is not None:
            components |= {f"{SURROUNDINGS}/{name}": text for name, text in description.own.surroundings().items()}
        versions = description.packages | base_versions(cache_format)
        return components | {f"versions/{name}": text for name, text in versions.items()}

    plain = Description(describe_module, blocks=blocks)
    components = described(plain)
    if not plain.met_own:
        return components
    own, _ = described_by_reads(described, plain)
    told = {
        name: text for name, text in components.items() if name in own or name.partition("/")[0] in ("code", "versions")
    }
    told |= {name: text for name, text in own.items() if name.startswith(f"{SURROUNDINGS}/")}
    return told | {OWN: digest(json.dumps(own, sort_keys=True))}


def described_by_reads(described: Describe, plain: Description) -> tuple[Components, OwnCode]:
    """Return components in which the user's own code counts by what it does, and that code with the names it reads.

    Args:
        described: describes something, again and again, until no more is read.
        plain: what it was described with before.
    """
    names: Names = frozenset()
    while True:
        description = reading_description(names, plain.tensors, plain.blocks)
        components = described(description)
        assert description.own is not None
        read = description.own.read()
        if names is None or (read is not None and read <= names):
            return components, description.own
        names = None if read is None else names | read


def reading_description(names: Names, tensors: Tensors | None = None, blocks: Blocks | None = None) -> Description:
    """Return a description in which the user's own code counts by what it does and reads.

    Args:
        names: that are read; None: any may be.
        tensors: texts of tensors that are known.
        blocks: parts that are described already.
    """
    return Description(describe_module, partial(_own_code, names), tensors, blocks)


def _own_code(names: Names, description: Description) -> OwnCode:
    return OwnCode(description.text, description.is_own, names, description.blocks.parts)


def _differences(here: Mapping[str, str], there: Mapping[str, str]) -> Iterator[str]:
    names = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
    for name in names:
        if name == OWN and len(names) > 1:  # the others say what it is
            continue
        if name not in there:
            yield f"{name}: {here[name]} here, absent there"
        elif name not in here:
            yield f"{name}: absent here, {there[name]} there"
        else:
            yield f"{name}: {here[name]} here, {there[name]} there"
