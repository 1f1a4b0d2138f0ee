"""Any value as text that is the same in every process: what a module's attributes, closures and settings are, in full.

Values are described by content and objects by their class and attributes, never by address. Functions and classes are
described by what they compute; those of the user's own code are followed into all that they refer to.
"""

import enum
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType

import numpy as np
import torch

from reuse.errors import CacheError
from reuse.fingerprinting import digests as code
from reuse.fingerprinting.blocks import Block, Blocks, ReferredDigest
from reuse.fingerprinting.digests import digest, module_name, qualified_name, short
from reuse.fingerprinting.environment import pinned_version
from reuse.fingerprinting.kernels import kernels_of, script_description
from reuse.fingerprinting.kinds import (
    CYTHON,
    DESCRIPTORS,
    FOUNDATIONS,
    PLAIN_CONTAINERS,
    REPR_TYPES,
    TORCH_NAMES,
    package_of,
)
from reuse.fingerprinting.own_code import OwnCode
from reuse.fingerprinting.own_parts import Made, Names
from reuse.fingerprinting.parts import parts_text
from reuse.fingerprinting.patches import patches_below, patches_everywhere
from reuse.fingerprinting.tensors import array_description, tensor_description, values_text

CYCLE = "<itself>"
SEVERAL = "+"  # between digests of things of one name


class Description:
    """Descriptions of values, with the functions and classes that they led to.

    One serves one fingerprint: what it knows about an object is only true while nobody changes it.

    Args:
        describe_module: describes an `nn.Module` that is found as a plain value.
        own: describes the user's own code by what it does; None: by names, for people.
        tensors: texts of tensors that another description has made already, by id.
        blocks: parts of the model that other descriptions share; None: there are none.

    Attributes:
        packages: versions of the installed packages that were met.
        met_own: whether any code of the user's own was met.
        tensors: texts of the tensors that were met, by id.
    """

    def __init__(
        self,
        describe_module: Callable[["Description", torch.nn.Module], str],
        own: Callable[["Description"], OwnCode] | None = None,
        tensors: dict[int, tuple[torch.Tensor, str]] | None = None,
        blocks: Blocks | None = None,
    ) -> None:
        self.packages: dict[str, str] = {}
        self.met_own = False
        self.tensors = {} if tensors is None else tensors
        self.blocks = Blocks(()) if blocks is None else blocks
        self.own = None if own is None else own(self)
        self._blocks: list[Block] = []  # that were met
        self._describe_module = describe_module
        self._known: dict[int, tuple[object, str]] = {}  # holding the object keeps its id from being used again
        self._pending: list[FunctionType | type] = []
        self._referred: set[int] = set()
        self._classes: list[type] = []
        self._met_cycle = False  # then a text depends on what was described before it

    def text(self, value: object) -> str:
        """Return the description of any value; long ones end in a digest."""
        if self.own is not None:
            self.own.note(value)
        if isinstance(value, (enum.Enum, *REPR_TYPES)) and self._is_users(type(value)):
            return self._once(value)
        if isinstance(value, enum.Enum):
            return f"{qualified_name(type(value))}.{value.name}"
        if isinstance(value, REPR_TYPES):
            return short(repr(value))
        if isinstance(value, TORCH_NAMES):
            return self._operator(value)
        if isinstance(value, torch.device):
            return f"device {value.type}"
        return self._once(value)

    def patches(self) -> dict[str, str]:
        """Return what lies in the place of functions of packages that the described classes reach, by class."""
        found = {}
        for kind in [thing for thing in self._classes if not self._is_users(thing)]:
            if kind in self.blocks.unpatched:
                continue
            lines = sorted({f"{place}: {self.text(value)}" for place, value in patches_below(kind, self._is_patch)})
            if lines:
                found[qualified_name(kind)] = short("\n".join(lines))
            else:
                self.blocks.unpatched.add(kind)
        for block in self._blocks:
            found |= block.patches
        return found | {place: self.text(value) for place, value in patches_everywhere(self._is_patch)}

    def code(self) -> dict[str, str]:
        """Return a digest for each function and class that the described values led to, by qualified name."""
        digests: dict[str, set[str]] = {}
        while self._pending:
            thing = self._pending.pop()
            digests.setdefault(qualified_name(thing), set()).add(self._referred_digest(thing))
        for name, text in (pair for block in self._blocks for pair in block.code.items()):
            digests.setdefault(name, set()).update(text.split(SEVERAL))
        # Two different things of one name: both digests count.
        return {name: SEVERAL.join(sorted(found)) for name, found in digests.items()}

    def _referred_digest(self, thing: FunctionType | type) -> str:
        """Return the digest of a function or class; of one of a package as another description has found it."""
        if pinned_version(package_of(thing)) is None:
            return self._digest_of(thing)
        if id(thing) not in self.blocks.digests:
            alone = Description(_refuse_module)
            self.blocks.digests[id(thing)] = thing, alone._digest_alone(thing)
        found = None if self._met_cycle else self.blocks.digests[id(thing)][1]
        if found is None:
            return self._digest_of(thing)
        self.packages |= found.packages
        for other in found.referred:
            self.refer(other)
        return found.text

    def _digest_of(self, thing: FunctionType | type) -> str:
        return self.function(thing) if isinstance(thing, FunctionType) else self._class_digest(thing)

    def _digest_alone(self, thing: FunctionType | type) -> ReferredDigest | None:
        """Return the digest of a thing that leads to nothing of the user's: every description finds the same."""
        try:
            text = self._digest_of(thing)
        except CacheError:
            return None
        if self.met_own or self._met_cycle or self.tensors:
            return None
        return ReferredDigest(text, tuple(self._pending), self.packages)

    def function(self, function: FunctionType) -> str:
        """Return a digest of what a function computes: code, defaults, closure, and the globals it refers to."""
        parts = [
            code.code_digest(function.__code__),
            self.text(function.__defaults__),
            self.text(function.__kwdefaults__),
            *(f"{name}: {self.text(value)}" for name, value in code.closure_of(function)),
        ]
        if self._is_followed(function):
            seen: set[int] = set()
            parts += self._globals(function.__code__, code.globals_of(function), seen)
            parts += self._imports(function, seen)
        return digest("\n".join(parts))

    def kind(self, kind: type) -> str:
        """Return the description of the class of an object that is there, so that how it was made does not count."""
        if self.own is not None and self._is_followed(kind):
            return f"class {self.own.describe(kind)}"
        return self.text(kind)

    def _is_patch(self, value: object) -> bool:
        if not isinstance(value, FunctionType | type) or pinned_version(package_of(value)) is not None:
            return False
        self.met_own = True
        return True

    def take(self, block: Block) -> Mapping[str, str]:
        """Return the components of a part that another description made, and count what it met."""
        self.packages |= block.packages
        self._blocks.append(block)
        return block.components

    def refer(self, thing: FunctionType | type) -> None:
        """Have `code` return a digest of a function or class too."""
        if id(thing) not in self._referred:
            self._referred.add(id(thing))
            if isinstance(thing, type):
                self._classes.append(thing)
            self._known.setdefault(id(thing), (thing, ""))
            self._pending.append(thing)

    def _once(self, value: object) -> str:
        known = self._known.get(id(value))
        if known is not None and known[1]:
            self._met_cycle = self._met_cycle or known[1] is CYCLE
            return known[1]
        self._known[id(value)] = (value, CYCLE)
        text = short(self._compound(value))
        self._known[id(value)] = (value, text)
        return text

    def _compound(self, value: object) -> str:  # noqa: C901, PLR0911, RUF100 - a table of types
        match value:
            case torch.Tensor():
                return self._tensor(value)
            case np.ndarray():
                return array_description(value, self.text)
            case torch.nn.Module():
                return f"module {self._describe_module(self, value)}"
            case FunctionType():
                return self._function_text(value)
            case MethodType():
                return f"{self.text(value.__func__)} of {self.text(value.__self__)}"
            case torch.jit.ScriptFunction():
                return script_description(value, self.text)
            case BuiltinFunctionType():
                return self._builtin(value)
            case _ if type(value).__name__ == CYTHON:
                return self._compiled(value)
            case partial():
                return f"partial {self.text(value.func)} {self.text(value.args)} {self.text(value.keywords)}"
            case type():
                return self._class_text(value)
            case _ if isinstance(value, DESCRIPTORS):
                return f"function {value.__objclass__.__module__}.{value.__qualname__}"
            case np.ufunc():  # before numpy 2.2 nothing else of it tells it from others
                return f"{self._container_or_object(value)} {value.__name__}"
            case ModuleType():
                return self._package(value)
            case CodeType():
                return f"code {code.code_digest(value)}"
            case re.Pattern():
                return f"pattern {value.pattern!r} {value.flags}"
            case logging.Logger():
                return f"logger {value.name}"
            case _:
                return self._container_or_object(value)

    def _tensor(self, tensor: torch.Tensor) -> str:
        if id(tensor) not in self.tensors:
            self.tensors[id(tensor)] = tensor, values_text(tensor)
        names: Names = frozenset() if self.own is None else self.own.names
        return tensor_description(tensor, self.tensors[id(tensor)][1], names, self.text)

    def _operator(self, operator: object) -> str:
        if not isinstance(operator, torch._ops.OpOverload):
            return str(operator)
        found = kernels_of(operator.name())  # type: ignore[no-untyped-call]
        kernels = "".join(f" {self.text(kernel)}" for kernel in found)
        return f"{operator}{short(kernels)}"

    def _package(self, module: ModuleType) -> str:
        if self.own is None:
            return f"package {module.__name__}"
        name = "" if self.is_own(module.__name__) else f"{module.__name__} "
        return f"package {name}{self.own.describe_module(module)}"

    def _container_or_object(self, value: object) -> str:
        kind = "" if type(value) in PLAIN_CONTAINERS else self.kind(type(value)) + " "
        return kind + parts_text(value, self.text)

    def _function_text(self, function: FunctionType) -> str:
        if self.own is not None and self._is_followed(function):
            return f"function {self.own.describe(function)}"
        name = qualified_name(function)
        if not code.is_importable(function):  # a lambda or a closure: its name says nothing
            return f"function {name} {self.function(function)}"
        if self._is_followed(function):
            self.refer(function)
        return f"function {name}"

    def _builtin(self, function: BuiltinFunctionType) -> str:
        owner = getattr(function, "__self__", None)
        bound = "" if owner is None or isinstance(owner, ModuleType | type) else f" of {self.text(owner)}"
        return f"function {qualified_name(function)}{bound}"

    def _compiled(self, function: object) -> str:
        module = module_name(function)
        is_own = self.is_own(module or "__main__")  # which notes the version of its package
        return f"function {qualified_name(function)}" + (f" {code.file_digest(module)}" if module and is_own else "")

    def _class_text(self, kind: type) -> str:
        if self.own is not None and self._is_followed(kind):
            return f"class {self.own.describe(Made(kind))}"
        for base in kind.__mro__:
            if base not in FOUNDATIONS and (self._is_users(base) or pinned_version(package_of(base)) != "python"):
                self.refer(base)
        return f"class {qualified_name(kind)}" + ("" if code.is_importable(kind) else f" {self._class_digest(kind)}")

    def _class_digest(self, kind: type) -> str:
        parts = [qualified_name(base) for base in kind.__mro__]
        for name, value in code.class_members(kind):
            described = self.function(value) if isinstance(value, FunctionType) else self.text(value)
            parts.append(f"{name}: {described}")
        return digest("\n".join(parts))

    def _globals(self, names: CodeType, found: Iterator[tuple[str, object]], seen: set[int]) -> Iterator[str]:
        for name, value in found:
            if not isinstance(value, ModuleType):
                yield f"{name} = {self.text(value)}"
            elif self.is_own(value.__name__) and id(value) not in seen:
                seen.add(id(value))
                inside = code.members_of(value, code.attribute_names(names))
                yield from (f"{name}.{line}" for line in self._globals(names, inside, seen))

    def _imports(self, function: FunctionType, seen: set[int]) -> Iterator[str]:
        for wanted in code.imports(function.__code__):
            if not self.is_own(wanted.name if wanted.level == 0 else function.__module__ or "__main__"):
                continue
            module = code.load_import(wanted, function.__globals__)
            if module is None:
                yield f"import {wanted.name}: fails"
            else:
                yield from self._globals(function.__code__, iter([(f"import {wanted.name}", module)]), seen)

    def _is_followed(self, thing: FunctionType | type) -> bool:
        return self.is_own(module_name(thing) or "__main__")

    def _is_users(self, kind: type) -> bool:
        """Whether a class is the user's own, without noting the version of its package otherwise."""
        found = pinned_version(package_of(kind)) is None
        self.met_own = self.met_own or found
        return found

    def is_own(self, module: str) -> bool:
        """Whether code is the user's own; that of an installed package is noted by version and not followed."""
        package = module.split(".")[0]
        pinned = pinned_version(package)
        if pinned is not None and pinned != "python":
            self.packages[package] = pinned
        self.met_own = self.met_own or pinned is None
        return pinned is None


def _refuse_module(_: Description, module: torch.nn.Module) -> str:
    raise CacheError(f"{type(module).__name__} is a module, which every description describes for itself")
