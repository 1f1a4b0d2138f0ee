"""Functions whose arguments are a command's settings, as `help()`, notebooks and type checkers see them."""

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from reuse.errors import UnknownNameError, UsageError
from reuse.menus import lookup
from reuse.settings.group import Settings
from reuse.settings.setting import settings_of, shown
from reuse.settings.synonyms import meant

P = ParamSpec("P")
S = TypeVar("S", bound=Settings)
T = TypeVar("T", bound=Settings)
R = TypeVar("R")

Given = frozenset[str]
"""Names of the settings that a caller gave; the others have their defaults."""


def takes(arguments: Callable[P, S]) -> Callable[[Callable[[S], R]], Callable[P, R]]:
    """Return a decorator for a function of a settings object, which makes it a function of the settings.

    Args:
        arguments: the dataclass of the command's arguments.
    """

    def decorate(function: Callable[[S], R]) -> Callable[P, R]:
        @wraps(function)
        def without_names(settings: S, given: Given) -> R:  # noqa: ARG001 - the shape that takes_given wants
            return function(settings)

        return takes_given(arguments)(without_names)

    return decorate


def takes_given(arguments: Callable[P, S]) -> Callable[[Callable[[S, Given], R]], Callable[P, R]]:
    """Return a decorator as `takes` does, for a function that is also given the names of what its caller gave.

    A value that equals the default, and is given, is told from one that is not given.

    Args:
        arguments: the dataclass of the command's arguments.

    Example:
        >>> from reuse.settings.training import EpochSettings
        >>> @takes_given(EpochSettings)
        ... def train(settings: EpochSettings, given: Given) -> tuple[int, list[str]]:
        ...     return settings.epochs, sorted(given)
        >>> train(epochs=100)
        (100, ['epochs'])
    """
    kind: Any = arguments

    def decorate(function: Callable[[S, Given], R]) -> Callable[P, R]:
        signature = _signature(kind, function)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            refuse_unknown(kind, kwargs)
            given = Given(signature.bind(*args, **kwargs).arguments)
            settings = arguments(*args, **kwargs)
            if getattr(settings, "resume", None) is None:  # else the other settings are those of a run
                refuse_without_effect(settings, given)
            return function(settings, given)

        call.__doc__ = documented(kind, function.__doc__ or "")
        call.__signature__ = signature  # type: ignore[attr-defined]
        return call

    return decorate


def refuse_unknown(arguments: type[Settings], names: Iterable[str]) -> None:
    """Raise where a name is no setting of a command.

    Args:
        arguments: the dataclass of the command's arguments.
        names: what a caller gives.

    Raises:
        UsageError: another command has the setting; the message says why this one has not.
        UnknownNameError: no command has it; the message lists the nearest names.
    """
    refuse_others(arguments, names)
    known = settings_of(arguments)
    for name in names:
        if name not in known and (ours := meant(name, known)):
            raise UnknownNameError(f"unknown setting {name!r}: it is called {ours} here")
        lookup(known, name, "setting")


def refuse_others(arguments: type[Settings], names: Iterable[str]) -> None:
    """Raise where a name is a setting of other commands alone, and a command says why it has not got them.

    Args:
        arguments: the dataclass of the command's arguments.
        names: what a caller gives.

    Raises:
        UsageError: the message says why.
    """
    refusal, known = getattr(arguments, "refusal", None), settings_of(arguments)
    for name in names:
        if refusal and name not in known and name in _all_names():
            raise UsageError(refusal.format(name=name))


def refuse_without_effect(settings: Settings, given: Iterable[str]) -> None:
    """Raise where a setting that is given does nothing beside the others.

    Args:
        settings: of a command.
        given: names of what its caller gave.

    Raises:
        UsageError: the message says beside which.
    """
    for name, why in settings.without_effect(given).items():
        raise UsageError(f"{name} is {shown(getattr(settings, name))} and does nothing {why}")


def carried(settings: Settings, given: Iterable[str], to: type[T]) -> T:
    """Return the settings of another command: those given where it has them, and its own defaults.

    Args:
        settings: of the command that was called.
        given: names of what its caller gave.
        to: the settings of the other.
    """
    names = settings_of(to).keys() & set(given)
    return to(**{name: getattr(settings, name) for name in names})


def overridden(settings: T, by: Settings, given: Iterable[str]) -> T:
    """Return settings in which what is given now takes the place of what was.

    Args:
        settings: of a run that goes on, say.
        by: of the call that goes on with it.
        given: names of what its caller gave.

    Raises:
        UsageError: what is given does nothing beside what was.
    """
    known = settings_of(type(settings))
    names = known.keys() & set(given)
    changed = replace(settings, **{name: getattr(by, name) for name in names})
    refuse_without_effect(changed, names)
    idle = changed.without_effect(known.keys() - names)  # what is switched off takes with it what only it had use for
    return replace(changed, **{name: known[name].default for name in idle})


def documented(arguments: type[Settings], doc: str, indent: str = "    ") -> str:
    """Return a docstring with the settings as its `Args:`, before its other sections.

    Args:
        arguments: the dataclass of the settings.
        doc: the docstring.
        indent: of its sections.
    """
    entries = "\n".join(f"{indent}    {name}: {setting.help}" for name, setting in settings_of(arguments).items())
    found = re.search(rf"^{indent}(Attributes|Returns|Raises|Example):$", doc, re.MULTILINE)
    place = found.start() if found else len(doc)
    gap = "" if found or not doc or indent else "\n\n"
    return f"{doc[:place]}{gap}{indent}Args:\n{entries}\n\n{doc[place:]}"


def _all_names() -> set[str]:
    """Return the names of the settings of all commands."""
    found, groups = set[str](), [Settings]
    while groups:
        group = groups.pop()
        found |= {field.name for field in fields(group)}
        groups += group.__subclasses__()
    return found


def _signature(arguments: type[Settings], function: Callable[..., Any]) -> inspect.Signature:
    own = inspect.signature(arguments).parameters
    listed = [own[name] for name in settings_of(arguments)]
    listed.sort(key=lambda parameter: parameter.kind)  # positional ones first; the order is kept otherwise
    return inspect.Signature(listed, return_annotation=function.__annotations__.get("return", inspect.Signature.empty))
