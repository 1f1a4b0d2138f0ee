"""Menus of names, and the one way to write a name with arguments: `rrelu:0.1,0.3`, `rmsprop:alpha=0.9,centered=true`.

Behind the colon stand values, and keys with values, separated by commas. A value that reads as a number is one; `true`,
`false` and `none` are Python's; `0.9/0.99` is a tuple; anything else is a word. Several names in one setting, as in
`shift:2,mirror`, take one value each at most.
"""

import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher, get_close_matches
from numbers import Integral
from typing import Any, TypeGuard, TypeVar

from reuse.errors import UnknownNameError, UsageError

T = TypeVar("T")

WORDS: dict[str, Any] = {"true": True, "false": False, "none": None}
"""Words that are values; every other word stays one."""

NUMBERS = (int, float, "int", "float")
"""Annotations of parameters that take a number."""


@dataclass(frozen=True)
class Named:
    """A name and its arguments.

    Attributes:
        name: what stands before the colon.
        positions: the arguments without a key, in order.
        keywords: the arguments with a key.
        text: all of it as it was given, for messages.
    """

    name: str
    positions: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    text: str = field(default="", compare=False, repr=False)

    def __str__(self) -> str:
        """Return the text that `parse_named` reads."""
        keywords = [f"{key}={written(value)}" for key, value in self.keywords.items()]
        arguments = ",".join([*map(written, self.positions), *keywords])
        return f"{self.name}:{arguments}" if arguments else self.name


def parse_named(text: str, kind: str, texts: Collection[str | int] = ()) -> Named:
    """Return the name and the arguments in `text`.

    Args:
        text: `name`, or `name:value,key=value,…`.
        kind: what is named, in the singular ("optimizer"), for the message.
        texts: keys, and places of arguments without one, from 0, whose values are text as it stands, such as paths.

    Raises:
        UsageError: a place between two separators is empty, or a key is given twice.

    Example:
        >>> parse_named("adam:betas=0.9/0.99,amsgrad=true", "optimizer")
        Named(name='adam', positions=(), keywords={'betas': (0.9, 0.99), 'amsgrad': True})
    """
    name, colon, tail = text.partition(":")
    positions: list[Any] = []
    keywords: dict[str, Any] = {}
    for argument in split_list(tail, kind, text) if colon else ():
        key, equals, value = _parted(argument, texts)
        found = _value(value, kind, text, is_text=(key if equals else len(positions)) in texts)
        if not equals:
            positions.append(found)
        elif key in keywords:
            raise _unreadable(kind, text, f"it gives {key} twice: give it once")
        else:
            keywords[_filled(key, kind, text)] = found
    return Named(_filled(name.strip(), kind, text), tuple(positions), keywords, text)


def parse_several(text: str, kind: str) -> list[Named]:
    """Return the names in `text`, `name,name:value,…`, each with its argument.

    Raises:
        UsageError: a place between two separators is empty, or a name or key is given twice.

    Example:
        >>> [str(named) for named in parse_several("shift:2, mirror", "augmentation")]
        ['shift:2', 'mirror']
    """
    several = [parse_named(part, kind) for part in split_list(text, kind)]
    names = [named.name for named in several]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise _unreadable(kind, text, f"it names {twice[0]} twice: name it once")
    return several


def split_list(text: str, kind: str, whole: str | None = None) -> list[str]:
    """Return what stands between the commas of `text`, which is a part of `whole`.

    Raises:
        UsageError: a place is empty.
    """
    return [_filled(part.strip(), kind, whole or text) for part in text.split(",")]


def name_of(text: str) -> str:
    """Return the name in `text` without its arguments."""
    return text.partition(":")[0].strip()


def read_value(text: str) -> Any:
    """Return the number, the truth value, None or the word that `text` is."""
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return WORDS.get(text.lower(), text)


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a number that a float can hold, and no truth value, which Python counts among them."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) <= sys.float_info.max


def is_whole(value: object) -> TypeGuard[int]:
    """Return whether a value is a whole number, Python's or NumPy's, and no truth value."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def choose(
    menu: Mapping[str, Callable[..., T]], text: str, kind: str, hidden: Collection[str] = ()
) -> Callable[..., T]:
    """Return what `text` names in `menu`, with the arguments behind its colon filled in.

    Args:
        menu: names and functions.
        text: a name, with arguments if wanted.
        kind: what the menu holds, in the singular, for messages.
        hidden: parameters that are not for users to give, but for the caller of what is returned.

    Raises:
        UnknownNameError: the menu does not hold the name.
        UsageError: the text cannot be read, or the function does not take such arguments.

    Example:
        >>> choose({"round": round}, "round:ndigits=1", "function", hidden=("number",))(1.26)
        1.3
    """
    named = parse_named(text, kind)
    function = lookup(menu, named.name, kind)
    positions, keywords = arguments_for(function, named, kind, hidden)
    return lambda *first: function(*first, *positions, **keywords)


def arguments_for(
    function: Callable[..., object], named: Named, kind: str, hidden: Collection[str] = ()
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of `named` as `function` takes them: by position where it takes any number, else by key.

    A whole number becomes a float where the parameter's default is one: `elu:1` is `elu:1.0`.

    Raises:
        UsageError: the function does not take such arguments; the message lists those that it takes.
    """
    parameters = {n: p for n, p in inspect.signature(function).parameters.items() if n not in hidden}
    takes = f"{named.name} takes {', '.join(parameters) or 'no arguments'}"
    for key in named.keywords:
        if key not in parameters:
            near = f" ({suggest(key, parameters)})" if parameters else ""
            raise UsageError(f"{kind} {named.text!r}: {named.name} takes no {key!r}{near}; {takes}")
    try:
        given = inspect.Signature([*parameters.values()]).bind(*named.positions, **named.keywords).arguments
    except TypeError as error:
        raise UsageError(f"{kind} {named.text!r}: {error}; {takes}") from error
    rest = next((given.pop(n) for n, p in parameters.items() if p.kind is p.VAR_POSITIONAL and n in given), ())
    return rest, {key: _suited(value, parameters[key], named, kind) for key, value in given.items()}


def lookup(menu: Mapping[str, T], name: str, kind: str) -> T:
    """Return `menu[name]`.

    Args:
        menu: names and what they stand for.
        name: the name that the user gave.
        kind: what the menu holds, in the singular ("optimizer"), for the message.

    Raises:
        UnknownNameError: `name` is not in the menu; the message gives the nearest names, or all of a short menu.

    Example:
        >>> lookup({"sgd": 1, "adam": 2}, "adam", "optimizer")
        2
    """
    if name in menu:
        return menu[name]
    raise UnknownNameError(f"unknown {kind} {name!r}: {suggest(name, menu)}")


def suggest(name: str, names: Iterable[str], longest_list: int = 12) -> str:
    """Return "did you mean …?" with the nearest of `names`, or all of them where none is near and they are few."""
    names = list(names)
    near = nearest(name, names)
    if near:
        return f"did you mean {' or '.join(repr(n) for n in near)}?"
    if not names:
        return "there is none to choose"
    if len(names) <= longest_list:
        return f"choose one of {', '.join(sorted(names))}"
    return f"none of the {len(names)} known names is near it"


def nearest(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` of `names` that resemble `name`, best first, equals as they come; `-` is `_`, `A` is `a`."""
    folded: dict[str, str] = {}
    for candidate in names:
        folded.setdefault(_fold(candidate), candidate)
    word = _fold(name)
    near = set(get_close_matches(word, folded, n=len(folded) or 1, cutoff=0.5))
    likeness = {match: SequenceMatcher(None, match, word).ratio() for match in folded if match in near}
    return [folded[match] for match in sorted(likeness, key=likeness.__getitem__, reverse=True)[:count]]


def _fold(name: str) -> str:
    return name.lower().replace("-", "_")


def _unreadable(kind: str, text: str, why: str) -> UsageError:
    """Return the error for a text that says nothing, or too much; `why` says what is wrong and what to do."""
    return UsageError(f"{kind} {text!r} cannot be read: {why}")


def _filled(part: str, kind: str, text: str) -> str:
    if not part:
        raise _unreadable(kind, text, "it has an empty place: fill it, or take the separator away")
    return part


def _parted(argument: str, texts: Collection[str | int]) -> tuple[str, str, str]:
    """Return the key, the sign behind it and the value, of which a text may hold the sign too."""
    is_text = argument.partition("=")[0].strip() in texts
    key, equals, value = argument.partition("=") if is_text else argument.rpartition("=")
    return key.strip(), equals, value.strip()


def _value(text: str, kind: str, whole: str, *, is_text: bool = False) -> Any:
    if is_text:
        return None if text.lower() == "none" else _filled(text, kind, whole)
    if "/" not in text:
        return read_value(_filled(text, kind, whole))
    return tuple([read_value(_filled(part.strip(), kind, whole)) for part in text.split("/")])


def written(value: Any) -> str:
    """Return the text that is read as a value."""
    if isinstance(value, tuple):
        return "/".join(map(written, value))
    return next((word for word, known in WORDS.items() if known is value), str(value))


def _suited(value: Any, parameter: inspect.Parameter, named: Named, kind: str) -> Any:
    """Return a value in the type of the parameter, where its default or its annotation tells."""
    if isinstance(parameter.default, bool) and not isinstance(value, bool):  # torch finds out in a kernel
        raise UsageError(f"{kind} {named.text!r}: {parameter.name} is {written(value)}; give true or false")
    if parameter.annotation in NUMBERS and not is_number(value):  # and some functions only where they divide by it
        raise UsageError(f"{kind} {named.text!r}: {parameter.name} is {value!r}; give a number")
    return float(value) if is_number(value) and isinstance(parameter.default, float) else value
