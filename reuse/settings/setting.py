"""One setting: a field of a dataclass, and which values it takes."""

import inspect
import math
import os
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from reuse.errors import UsageError
from reuse.paths import from_home

LISTS = (Sequence, tuple)  # the origins of types of several values
NUMBER_OF_CHARACTERS = 60  # of a value that a message shows


@dataclass(frozen=True)
class Text:
    """The form in which a setting is written where all values are text: on the command line, and in files.

    Attributes:
        metavar: name of the form in the help, such as `BYTES`.
        read: returns the value that a text means; None: the type alone says it.
        repeated: whether the option may be given several times.
    """

    metavar: str | None = None
    read: Callable[[str], Any] | None = None
    repeated: bool = False


@dataclass(frozen=True)
class Minimum:
    """The least value of a number.

    Attributes:
        least: itself allowed.
        otherwise: what to do instead, for the message.
    """

    least: float
    otherwise: str = ""


@dataclass(frozen=True)
class Maximum:
    """The greatest value of a number.

    Attributes:
        most: itself allowed.
        otherwise: what to do instead, for the message.
    """

    most: float
    otherwise: str = ""


WHOLE = (Minimum(-(2**63)), Maximum(2**63 - 1))
"""The range of whole numbers that libraries take: those of 64 bits."""


@dataclass(frozen=True)
class Needs:
    """Another setting without which one has no effect.

    Attributes:
        setting: its name; where a command has no such setting, it is as if it were given.
    """

    setting: str


@dataclass(frozen=True)
class Setting:
    """One setting of a command.

    Attributes:
        name: as in Python.
        kinds: the types that its value may have; empty: any.
        default: its default value.
        help: its entry in the docstring of its group.
        positional: whether it may be given without its name.
        required: whether it has no default.
        text: its form as text.
        minimum: its least value, of each number in a list too; None: any.
        maximum: its greatest value; None: any.
        needs: the setting without which it has no effect; None: it always has one.
    """

    name: str
    kinds: tuple[Any, ...]
    default: Any
    help: str
    positional: bool
    required: bool
    text: Text
    minimum: Minimum | None
    maximum: Maximum | None
    needs: str | None

    def checked(self, value: Any) -> Any:
        """Return a value in its plain form: paths as text, sequences as tuples, numbers as Python's own.

        Raises:
            UsageError: the setting takes no such value; the message says which it takes.
        """
        plain = self._plain(value)
        for one in plain if isinstance(plain, tuple) else (plain,):
            if isinstance(one, str) and "\0" in one:
                raise UsageError(f"{self.name}={one!r} holds a character of number 0, which no name has: leave it out")
        return plain

    def _plain(self, value: Any) -> Any:
        if isinstance(value, str) and self.text.read is not None and str not in self.kinds:
            value = self._read(self.text.read, value)  # "2GB"
        if self.text.repeated and (value is None or isinstance(value, str)):
            value = () if value is None else (value,)
        if not self.kinds:
            return os.fspath(value) if isinstance(value, os.PathLike) else value
        for kind in self.kinds:
            found = _as_kind(value, kind)
            if found is not _NO:
                return self._in_range(self._from_home(found))
        raise UsageError(f"{self.name} is {shown(value)}: {self.expected} is expected{self._helped}")

    @property
    def is_text(self) -> bool:
        """Whether the values that it takes as text are words or paths, and neither numbers nor lists."""
        others = (bool, int, float)
        return str in self.kinds and not any(kind in others or get_origin(kind) in LISTS for kind in self.kinds)

    @property
    def expected(self) -> str:
        """The values that the setting takes, in words."""
        return " or ".join(dict.fromkeys(_in_words(kind) for kind in self.kinds if kind is not type(None)))

    def _read(self, read: Callable[[str], Any], text: str) -> Any:
        try:
            return read(text)
        except UsageError as error:
            raise UsageError(f"{self.name}: {error}") from error

    def _from_home(self, value: Any) -> Any:
        """Return a path as a shell would have given it: the home of whom a leading `~` names in its place."""
        is_path = Path in self.kinds and isinstance(value, str) and value.startswith("~")
        return os.fspath(from_home(value)) if is_path else value

    @property
    def _helped(self) -> str:
        return f" ({self.help.rstrip('.')})" if self.help else ""

    def _in_range(self, value: Any) -> Any:
        for number in value if isinstance(value, tuple) else (value,):
            told = self._out_of_range(number) if isinstance(number, int | float) else None
            if told is not None:
                raise UsageError(f"{self.name.replace('_', ' ')} is {shown(value)}: {told}")
        return value

    def _out_of_range(self, number: float) -> str | None:
        """Return what to do instead of a number, None where it can be taken."""
        a_number = "a whole number" if isinstance(number, int) else "a number"
        least, most = WHOLE if isinstance(number, int) else (None, None)
        least, most = self.minimum or least, self.maximum or most
        if least is not None and not number >= least.least:
            return least.otherwise or f"give {a_number} of {least.least:,} or more"
        if not math.isfinite(number):
            return "give a finite number"
        if most is not None and number > most.most:
            return most.otherwise or f"give {a_number} of {most.most:,} or less"
        return None


def settings_of(group: type) -> Mapping[str, Setting]:
    """Return the settings of a group or command by name: its own first, then those of its bases in their order."""
    return _read(group)


@cache
def _read(group: type) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    own = {field.name: field for field in fields(group) if field.init}
    hints = get_type_hints(group, include_extras=True)
    helps: dict[str, str] = {}
    for part in reversed(group.__mro__):
        helps |= _entries(part.__doc__ or "")
    for part in group.__mro__:
        for name in inspect.get_annotations(part):
            if name in own and name not in found:
                found[name] = _setting(own[name], hints[name], helps.get(name, ""))
    return found


def shown(value: Any) -> str:
    """Return a value for a message: plain ones as they are written, others by their type."""
    if value is None or isinstance(value, str | int | float | list | tuple | dict):
        text = repr(value)
        return text if len(text) <= NUMBER_OF_CHARACTERS else f"{text[:NUMBER_OF_CHARACTERS]}…"
    return f"a {type(value).__module__}.{type(value).__qualname__}"


def _setting(field: Field[Any], hint: Any, help_: str) -> Setting:
    extras = [extra for annotated in _annotated(hint) for extra in get_args(annotated)[1:]]
    kinds = tuple(dict.fromkeys(_kinds(hint)))
    required = field.default is MISSING
    return Setting(
        name=field.name,
        kinds=() if Any in kinds or object in kinds else kinds,
        default=None if required else field.default,
        help=help_,
        positional=not field.kw_only,
        required=required,
        text=next((extra for extra in extras if isinstance(extra, Text)), Text()),
        minimum=next((extra for extra in extras if isinstance(extra, Minimum)), None),
        maximum=next((extra for extra in extras if isinstance(extra, Maximum)), None),
        needs=next((extra.setting for extra in extras if isinstance(extra, Needs)), None),
    )


def _annotated(hint: Any) -> Iterator[Any]:
    """Yield the annotated types in a type, the outermost first."""
    if get_origin(hint) is Annotated:
        yield hint
        yield from _annotated(get_args(hint)[0])
    elif get_origin(hint) in (Union, types.UnionType):
        for member in get_args(hint):
            yield from _annotated(member)


def _kinds(hint: Any) -> Iterator[Any]:
    """Yield the members of a union, without annotations."""
    if get_origin(hint) is Annotated:
        yield from _kinds(get_args(hint)[0])
    elif get_origin(hint) in (Union, types.UnionType):
        for member in get_args(hint):
            yield from _kinds(member)
    else:
        yield hint


_NO = object()  # that a value is not of a kind


def _as_kind(value: Any, kind: Any) -> Any:
    """Return a value as one of a kind, or `_NO`."""
    if kind is Any:
        return value
    if get_origin(kind) in LISTS:
        return _as_sequence(value, get_args(kind)[0])
    if kind is bool or isinstance(value, bool):
        return value if kind is bool and isinstance(value, bool) else _NO
    if kind is int:
        return int(value) if isinstance(value, Integral) else _NO
    if kind is float:
        return float(value) if isinstance(value, Real) else _NO
    if kind is Path:
        return os.fspath(value) if isinstance(value, os.PathLike) else _NO
    return value if isinstance(value, kind) else _NO


def _as_sequence(value: Any, member: Any) -> Any:
    if not isinstance(value, list | tuple):
        return _NO
    members = [next((v for kind in _kinds(member) if (v := _as_kind(one, kind)) is not _NO), _NO) for one in value]
    return _NO if _NO in members else tuple(members)


def _in_words(kind: Any) -> str:
    if get_origin(kind) in LISTS:
        return "a list"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "text"}
    return words.get(kind) or f"a {kind.__name__}"


def _entries(docstring: str) -> dict[str, str]:
    """Return the entries under `Attributes:` in a Google-style docstring, each as one line."""
    section = re.search(r"^ *Attributes:\n(.*?)(?=^ {0,4}\S|\Z)", docstring, re.MULTILINE | re.DOTALL)
    entries: dict[str, str] = {}
    name = ""
    for line in section.group(1).splitlines() if section else []:
        start = re.match(r" {8}(\w+): (.*)", line)
        if start:
            name, entries[start.group(1)] = start.group(1), start.group(2)
        elif name:
            entries[name] += " " + line.strip()
    return {key: text.strip() for key, text in entries.items()}
