"""Parts of models without anything of the user's own, described once for several fingerprints of one moment.

What such a part computes is told by its weights, its attributes and the versions of packages, wherever it stands and
whatever is around it. So layers of one network, each of which has a key of its own, share its description.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch.nn import Module


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


class Blocks:
    """Descriptions of parts that several fingerprints share: true as long as nothing runs and nothing is changed.

    Args:
        parts: modules that are worth a description of their own.

    Attributes:
        unpatched: classes that reach nothing which was put in the place of a package's own.
    """

    def __init__(self, parts: Iterable[Module]) -> None:
        self._parts = {id(part): part for part in parts}
        self.unpatched = set[type]()
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
