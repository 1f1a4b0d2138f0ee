"""Parts of models without anything of the user's own, described once for several fingerprints of one moment.

What such a part computes is told by its weights, its attributes and the versions of packages, wherever it stands and
whatever is around it. So layers of one network, each of which has a key of its own, share its description.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import FunctionType

from torch.nn import Module

from reuse.fingerprinting.own_parts import KnownParts


@dataclass(frozen=True)
class Block:
    """The description of a part.

    Attributes:
        components: of the part and all below it, by name.
        code: digests of the functions and classes that it led to, by qualified name.
        patches: of the packages' functions that it reaches, by class.
        packages: their versions.
    """

    components: dict[str, str]
    code: dict[str, str]
    patches: dict[str, str]
    packages: dict[str, str]


@dataclass(frozen=True)
class ReferredDigest:
    """What a function or class of a package adds to a description that refers to it.

    Attributes:
        text: its digest.
        referred: functions and classes that it leads to, in order.
        packages: versions of packages that were met.
    """

    text: str
    referred: tuple[FunctionType | type, ...]
    packages: dict[str, str]


class Blocks:
    """Descriptions of parts that several fingerprints share: true as long as nothing runs and nothing is changed.

    Args:
        parts: modules that are worth a description of their own.

    Attributes:
        unpatched: classes that reach nothing which was put in the place of a package's own.
        parts: of the user's own functions and classes.
        digests: of functions and classes, by id, with the thing itself, so that its id stays its own; None: every
            description must make that of its own.
    """

    def __init__(self, parts: Iterable[Module]) -> None:
        self._parts = {id(part): part for part in parts}
        self.unpatched = set[type]()
        self.parts: KnownParts = {}
        self.digests: dict[int, tuple[object, ReferredDigest | None]] = {}
        self._found: dict[tuple[int, str], Block | None] = {}

    def of(self, path: str, module: Module, describe: Callable[[str, Module], Block | None]) -> Block | None:
        """Return the description of a module at a path, None where it is no such part or has some of the user's own.

        Args:
            path: its name in the graph.
            module: the module.
            describe: describes a part by itself.
        """
        if id(module) not in self._parts:
            return None
        place = id(module), path
        if place not in self._found:
            self._found[place] = describe(path, module)
        return self._found[place]
