"""The user's own functions and classes as digests of all that they reach, in which names and places do not count.

Functions and classes that one refers to are numbered in the order in which they are met, so a renamed class or
variable, or code that has moved to another file, makes the same digest. Of a class only what may be used is described:
`forward`, methods with double underscores, and members whose names some code reads.
"""

import builtins
import enum
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FunctionType, ModuleType

import torch

from reuse.fingerprinting import digests as code
from reuse.fingerprinting.digests import digest, module_name
from reuse.fingerprinting.foreign import (
    MEANT,
    TEXTS_MEANT,
    bases_read,
    globals_spelt,
    is_lookup,
    is_patchable,
    modules_named,
    settings_among,
)
from reuse.fingerprinting.kernels import kernels_among
from reuse.fingerprinting.keywords import makes_up_keywords
from reuse.fingerprinting.kinds import NOT_COMPUTING
from reuse.fingerprinting.nameless import arguments, code_text, global_names
from reuse.fingerprinting.own_parts import KnownParts, Made, Names, Parts, Said, identity, plain
from reuse.fingerprinting.printing import TEXTS, makes_texts
from reuse.fingerprinting.reading import MATCHED, closed, is_read, reads_of
from reuse.fingerprinting.surroundings import surroundings_of

# What torch calls of a module by these names, whoever defines them.
ENTRIES = frozenset({"forward", "_call_impl", "_slow_forward", "_wrapped_call_impl"})
MAKERS = frozenset({"__init__", "__new__", "__post_init__"})
CATCH_ALL = frozenset({"__setattr__", "__getattr__", "__getattribute__", "__delattr__"})
# To change one of these changes nothing else.
COUNTERS = (int, float, complex, str, bytes, list, dict, set, deque, Counter, defaultdict)


class OwnCode:
    """The user's own code that the values of one description reach.

    Args:
        text: describes any value.
        is_own: whether the code of a module, by its dotted name, is the user's own.
        names: that are read, as far as it is known; None: everything counts.
        known: parts that other descriptions of the same moment have found, which grow; None: there are none.
    """

    def __init__(
        self,
        text: Callable[[object], str],
        is_own: Callable[[str], bool],
        names: Names,
        known: KnownParts | None = None,
    ) -> None:
        self.names, self._known = names, {} if known is None else known
        self._text, self._is_own = text, is_own
        self._parts: dict[tuple[int, bool], tuple[object, list[tuple[str, object]]]] = {}
        self._receivers: dict[int, str] = {}
        self._also_read = set[str]()  # properties that can be set, and what is changed in place and is no counter
        self._keys = set[str]()  # texts, which arguments may be given by
        self._looks_up = False  # whether a value was met that looks up any names
        self._prints = False  # whether one was met that makes texts of values
        self.keywords_made_up = False  # whether arguments may be given by any names

    def owns(self, thing: object) -> bool:
        """Return whether a value is a function or class of the user's own."""
        return isinstance(thing, FunctionType | type) and self._is_own(module_name(thing) or "__main__")

    def note(self, value: object) -> None:
        """Take notice of a value that is described: keys may name arguments, and some functions look up any name."""
        if isinstance(value, str):
            self._keys.add(value)
        elif isinstance(value, Mapping):
            self._keys.update(key for key in value if isinstance(key, str))
        elif is_lookup(value):
            self._looks_up = True
        elif any(value is made for made in TEXTS):
            self._prints = True

    def describe(self, root: object) -> str:
        """Return the digest of a function or class, or `Made` of one, with all of the user's own that it reaches."""
        places, queue, lines = {identity(root): 0}, [root], list[str]()
        for thing in queue:  # it grows
            for label, value in self._parts_of(thing):
                if isinstance(value, Made) or self.owns(value):
                    if identity(value) not in places:
                        places[identity(value)] = len(queue)
                        queue.append(value)
                    lines.append(f"{label} #{places[identity(value)]}")
                else:
                    lines.append(f"{label} {value if isinstance(value, Said) else self._text(value)}")
            lines.append("")
        return digest("\n".join(lines))

    def describe_module(self, module: ModuleType) -> str:
        """Return the digest of what the code that was met reads of a module that a value is; "" where it is nothing.

        Of an installed one that is what may have been exchanged, and whose names the code spells out.
        """
        everything = frozenset(vars(module)) if self._is_own(module.__name__) else frozenset[str]()
        found = self._members("", module, everything if self.names is None else self.names, {id(module)})
        lines = [f"{label} {self._text(plain(value))}" for label, value in found]
        return digest("\n".join(lines)) if lines else ""

    def counts(self, kind: type, name: str, value: object) -> bool:
        """Return whether an attribute of a module of a class may have to do with what it computes."""
        if (
            self.names is None
            or is_read(name, self.names)
            or name in ENTRIES
            or not self.owns(kind)
            or _has_foreign_base(kind, self.owns)
        ):
            return True
        reads = [reads_of(function.__code__, receiver) for function, receiver in self._functions()]
        is_counter = type(value) in COUNTERS or (
            isinstance(value, torch.Tensor) and not any(name in read.assigned for read in reads)
        )
        if not is_counter and any(name in read.changed for read in reads):
            self._also_read.add(name)
            return True
        return False

    def read(self) -> Names:
        """Return the names that the code met so far may read; None where that may be any."""
        names, kept = set(self._also_read), set[tuple[str, str]]()
        if self._looks_up or any(not CATCH_ALL.isdisjoint(vars(plain(thing))) for thing, _ in self._parts.values()):
            return None
        any_keyword = self.keywords_made_up or any(map(makes_up_keywords, self._codes()))
        for function, receiver in self._functions():
            reads = reads_of(function.__code__, receiver)
            if reads.dynamic:
                return None
            given = arguments(function.__code__)
            names |= reads.names.union(given) if any_keyword else reads.names | self._keys.intersection(given)
            kept |= reads.kept
        for kind in [plain(thing) for thing, _ in self._parts.values() if isinstance(plain(thing), type)]:
            names |= bases_read(kind, self.owns)
        names = names.union(*(meant for name, meant in MEANT.items() if name in names))
        if self._makes_texts():
            names |= TEXTS_MEANT
        if MATCHED in names:
            names |= self._keys
        return closed(frozenset(names), frozenset(kept))

    def surroundings(self) -> dict[str, str]:
        """Return descriptions of what the code met so far may read of the program around it, by name."""
        found = surroundings_of((function for function, _ in self._functions()), self._makes_texts())
        return {name: self._text(value) for name, value in found}

    def _makes_texts(self) -> bool:
        """Return whether the code met so far makes texts of values."""
        return self._prints or makes_texts(self._codes(), self._keys)

    def _codes(self) -> list[CodeType]:
        return [function.__code__ for function, _ in self._functions()]

    def _functions(self) -> list[tuple[FunctionType, str | None]]:
        """Return the functions that were met, each with the variable that holds the object whose method it is."""
        met = [thing for thing, _ in self._parts.values() if isinstance(thing, FunctionType)]
        return [(function, self._receivers.get(id(function))) for function in met]

    def _parts_of(self, thing: object) -> list[tuple[str, object]]:
        key = identity(thing)
        if key not in self._parts:
            known = self._known.get((self.names, *key))
            if known is None:
                known = self._known[self.names, *key] = self._found(thing)
            self._receivers |= known.receivers
            self._also_read |= known.also_read
            for module in known.asked:  # which notes the versions of packages
                self._is_own(module)
            self._parts[key] = thing, known.parts
        return self._parts[key][1]

    def _found(self, thing: object) -> Parts:
        asked = set[str]()

        def is_own(module: str) -> bool:
            asked.add(module)
            return self._is_own(module)

        alone, itself = OwnCode(self._text, is_own, self.names), plain(thing)
        made = thing is not itself
        parts = alone._function(itself) if isinstance(itself, FunctionType) else alone._class(itself, made)
        return Parts(thing, list(parts), alone._receivers, alone._also_read, asked)

    def _function(self, function: FunctionType) -> Iterator[tuple[str, object]]:
        yield "code", Said(code_text(function.__code__, self.names, function.__globals__))
        for number, value in enumerate(function.__defaults__ or ()):
            yield f"default {number}", self._referred(value)
        for name, value in sorted((function.__kwdefaults__ or {}).items()):
            yield f"default {name}", self._referred(value)
        for number, (name, value) in enumerate(code.closure_of(function)):
            yield f"cell {number}", value if name == "__class__" else self._referred(value)
        for name, value in sorted(vars(function).items()):  # that somebody wrote on it
            if name != "__wrapped__" and (self.names is None or is_read(name, self.names)):
                yield f"attribute {name}", self._referred(value)
        names = code.attribute_names(function.__code__).union(reads_of(function.__code__).names)
        yield from self._globals(function, names)
        yield from self._imports(function, names)
        for name in sorted(names & vars(torch.Tensor).keys()):
            if self.owns(patched := vars(torch.Tensor)[name]):
                yield f"Tensor.{name}", patched
        for number, kernel in enumerate(kernels_among(names)):
            yield f"kernel {number}", Said(kernel) if isinstance(kernel, str) else kernel

    def _class(self, kind: type, made: bool) -> Iterator[tuple[str, object]]:
        for base in kind.__mro__[1:]:
            yield "base", Made(base) if made and self.owns(base) else base
        if self.owns(type(kind)):
            yield "metaclass", type(kind)
        for label, value in code.class_members(kind, self.names or frozenset()):
            name = label.partition(".")[0]
            is_property = isinstance(vars(kind).get(name), property) and vars(kind)[name].fset is not None
            if is_property:
                self._also_read.add(name)
            is_member = made and issubclass(kind, enum.Enum)  # who goes through a class of these finds all
            if is_property or is_member or self._is_used(name, made):
                if isinstance(value, FunctionType) and not isinstance(vars(kind)[name], staticmethod):
                    self._receivers[id(value)] = next(iter(value.__code__.co_varnames), "")
                yield label, value if isinstance(value, FunctionType) else self._referred(value)

    def _is_used(self, name: str, made: bool) -> bool:
        if self.names is None or is_read(name, self.names) or name in ENTRIES:
            return True
        if name in MAKERS:
            return made
        return name.startswith("__") and name.endswith("__") and name not in NOT_COMPUTING

    def _globals(self, function: FunctionType, names: frozenset[str]) -> Iterator[tuple[str, object]]:
        seen = set[int]()
        looked_up = global_names(function.__code__)
        for number, name in enumerate((*looked_up, *globals_spelt(function, looked_up))):
            if name not in function.__globals__:
                builtin = getattr(builtins, name, None)
                yield f"global {number}", builtin if self.owns(builtin) else Said(name)
            elif isinstance(value := function.__globals__[name], ModuleType):
                seen.add(id(value))
                yield from self._members(f"global {number}", value, names, seen)
            else:
                yield f"global {number}", self._referred(value)

    def _imports(self, function: FunctionType, names: frozenset[str]) -> Iterator[tuple[str, object]]:
        for number, wanted in enumerate(code.imports(function.__code__)):
            if not self._is_own(wanted.name if wanted.level == 0 else function.__module__ or "__main__"):
                continue
            module = code.load_import(wanted, function.__globals__)
            if module is None:
                yield f"import {number}", Said("fails")
            else:
                yield from self._members(f"import {number}", module, names, {id(module)})
        for number, module in enumerate(modules_named(function.__code__)):
            if self._is_own(module.__name__):
                yield from self._members(f"named {number}", module, names, {id(module)})

    def _members(
        self, label: str, module: ModuleType, names: frozenset[str], seen: set[int]
    ) -> Iterator[tuple[str, object]]:
        """Yield what a module holds under some names; of one that is installed the functions, which may be patched."""
        own = self._is_own(module.__name__)
        if own:
            names |= {"__getattr__", *(name for name in vars(module) if is_read(name, names))}
        for name, value in code.members_of(module, names):
            if isinstance(value, ModuleType):
                if id(value) not in seen:
                    seen.add(id(value))
                    yield from self._members(f"{label}.{name}", value, names, seen)
            elif own or self.owns(value) or is_patchable(module, value):
                yield f"{label}.{name}", self._referred(value)
        yield from ((f"{label}.{name}", value) for name, value in settings_among(module, names))

    def _referred(self, value: object) -> object:
        return Made(value) if isinstance(value, type) and self.owns(value) else value


def _has_foreign_base(kind: type, owns: Callable[[object], bool]) -> bool:
    """Whether code of an installed package other than torch's own layers may read the attributes of a class."""
    return any(
        not owns(base) and base is not object and not base.__module__.startswith("torch.nn.") for base in kind.__mro__
    )
