"""Ranges of numbers, and settings that do nothing beside others: both belong to the definitions of the settings."""

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import pytest

import reuse
import reuse.settings as declared
from reuse.errors import UsageError
from reuse.settings.calling import Given, takes_given
from reuse.settings.commands import FinetuneArguments
from reuse.settings.files import checked_settings
from reuse.settings.group import Settings
from reuse.settings.setting import Maximum, Minimum, Needs, Setting, settings_of


def arguments_of(kind: type[Settings]) -> Iterator[type[Settings]]:
    """Yield the arguments of all commands, functions and estimators."""
    for module in pkgutil.iter_modules(declared.__path__, f"{declared.__name__}."):
        importlib.import_module(module.name)
    for below in kind.__subclasses__():
        if below.__module__.startswith(declared.__name__) and below.__name__.endswith("Arguments"):
            yield below
        yield from arguments_of(below)


COMMANDS = sorted(set(arguments_of(Settings)), key=lambda kind: kind.__name__)
HUGE = 10**23


@dataclass(frozen=True, kw_only=True)
class Ranges(Settings):
    """Numbers in ranges, and a setting that needs another.

    Attributes:
        share: of the whole.
        sides: of a picture.
        count: how many.
        switch: on or off.
        depth: of what is switched on.
        rest: of what another setting turns off.
    """

    share: Annotated[float, Minimum(0), Maximum(1, "give a share")] = 0.5
    sides: Annotated[int | Sequence[int] | None, Minimum(1), Maximum(10)] = None
    count: int = 3
    switch: bool = False
    cache: bool = True
    depth: Annotated[int, Needs("switch")] = 1
    rest: Annotated[str | None, Needs("cache")] = None


@takes_given(Ranges)
def told(settings: Ranges, given: Given) -> Ranges:
    """Return what it is told."""
    return settings


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"share": -0.1}, "share is -0.1: give a number of 0 or more"),
        ({"share": 1.5}, "share is 1.5: give a share"),
        ({"share": float("nan")}, "share is nan: give a number of 0 or more"),
        ({"share": float("inf")}, "share is inf: give a finite number"),
        ({"sides": (3, 11)}, r"sides is \(3, 11\): give a whole number of 10 or less"),
        ({"sides": (0, 3)}, "give a whole number of 1 or more"),
        ({"count": HUGE}, "give a whole number of 9,223,372,036,854,775,807 or less"),
        ({"count": -HUGE}, "give a whole number of -9,223,372,036,854,775,808 or more"),
        ({"depth": 2}, "depth is 2 and does nothing without switch: give that too, or leave depth out"),
        ({"rest": "a", "cache": False}, "rest is 'a' and does nothing with cache off: leave one of the two out"),
    ],
)
def test_numbers_out_of_range_and_settings_without_effect(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        told(**values)


def test_a_default_that_is_given_is_no_contradiction() -> None:
    assert told(depth=1, rest=None, cache=False).depth == 1
    assert told(depth=2, switch=True).depth == 2


def numbers(setting: Setting) -> list[Any]:
    """Return numbers that no setting takes, of the kinds that it has."""
    found: list[Any] = [float("nan"), float("inf"), -float("inf")] if float in setting.kinds else []
    return [*found, HUGE, -HUGE] if int in setting.kinds else found


@pytest.mark.parametrize("command", [one for one in COMMANDS if any(map(numbers, settings_of(one).values()))])
def test_no_setting_of_any_command_takes_what_is_no_number_that_libraries_can_hold(command: type[Settings]) -> None:
    numeric = {name: setting for name, setting in settings_of(command).items() if numbers(setting)}
    assert numeric
    for name, setting in numeric.items():
        for number in numbers(setting):
            with pytest.raises(UsageError, match=f"^{name.replace('_', ' ')} is "):
                setting.checked(number)


@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_setting_needs_is_a_setting(command: type[Settings]) -> None:
    every = {name for kind in COMMANDS for name in settings_of(kind)}
    assert {setting.needs for setting in settings_of(command).values() if setting.needs} <= every


def test_what_older_files_say_for_nothing_is_nothing() -> None:
    assert checked_settings(FinetuneArguments, {"snapshots": 0, "epochs": 3}, "s.toml") == {"epochs": 3}
    with pytest.raises(UsageError, match="snapshots is 0: give every how many epochs"):
        reuse.finetune(snapshots=0)


def test_what_a_run_that_goes_on_switches_off_takes_with_it_what_needed_it() -> None:
    from reuse.settings.calling import overridden

    now = overridden(Ranges(switch=True, depth=4), Ranges(switch=False), {"switch"})
    assert now == Ranges()
    with pytest.raises(UsageError, match="depth is 5 and does nothing"):
        overridden(Ranges(), Ranges(depth=5), {"depth"})
