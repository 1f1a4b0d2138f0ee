"""From settings to the options of a command."""

import re
from collections.abc import Callable
from typing import Any

import click

from reuse.cli.signatures import Setting
from reuse.errors import UsageError
from reuse.units import parse_bytes

Command = Callable[..., Any]


class Parsed(click.ParamType[Any]):
    """A value that a function makes of the text; what the function refuses is wrong usage."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self.parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value that the text means."""
        if not isinstance(value, str):
            return value
        try:
            return self.parse(value)
        except (ValueError, UsageError) as error:
            self.fail(str(error), param, ctx)


def _count(text: str) -> int | str:
    return int(text) if re.fullmatch(r"[+-]?\d+", text.strip()) else text


def _shape(text: str) -> list[int]:
    parts = re.split(r"[x,]", text)
    if not all(re.fullmatch(r"\s*[+-]?\d+\s*", part) for part in parts):
        raise UsageError(f"{text!r} holds no whole numbers: write for example 3,64,64, or 64x48 for a size")
    return [int(part) for part in parts]


def _size(text: str) -> int | list[int]:
    sizes = _shape(text)
    return sizes[0] if len(sizes) == 1 else sizes


def _amount(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


# Settings whose text means something else than their type alone would say.
TYPES: dict[str, Parsed] = {
    "labels": Parsed("N or N/class", _count),
    "image_size": Parsed("PIXELS or HxW", _size),
    "cache_budget": Parsed("BYTES", parse_bytes),
    "input_shape": Parsed("C,H,W", _shape),
}
# Settings that may be repeated.
REPEATED = ("freeze", "restore")


def with_settings(settings: list[Setting]) -> Callable[[Command], Command]:
    """Return a decorator that gives a command an argument or option for each setting."""

    def decorate(command: Command) -> Command:
        for setting in reversed(settings):
            command = _parameter(setting)(command)
        return command

    return decorate


def given(context: click.Context) -> dict[str, Any]:
    """Return the settings that the user gave, by their names in Python; the others have their defaults."""
    from click.core import ParameterSource

    chosen = {}
    for name, value in context.params.items():
        if context.get_parameter_source(name) not in (ParameterSource.DEFAULT, None):
            chosen[name] = list(value) if isinstance(value, tuple) else value
    return chosen


def _parameter(setting: Setting) -> Callable[[Command], Command]:
    flag = setting.name.replace("_", "-")
    if setting.positional:
        optional: dict[str, Any] = {} if setting.required else {"default": setting.default}
        return click.argument(setting.name, required=setting.required, metavar=setting.name.upper(), **optional)
    if setting.annotation == "bool":
        return _switch(setting, flag)
    if setting.annotation in ("bool | str", "bool | float"):
        return _switch_with_value(setting, flag)
    if setting.annotation == "bool | None":
        return click.option(f"--{flag}/--no-{flag}", setting.name, default=None, help=_help(setting))
    # A default of None, given as such, would count as an answer to what is required.
    default: dict[str, Any] = {"required": True} if setting.required else {"default": setting.default}
    return click.option(
        f"--{flag}",
        setting.name,
        type=_type(setting),
        **default,
        multiple=setting.name in REPEATED,
        show_default=setting.default not in (None, ()),
        help=_help(setting),
    )


def _switch(setting: Setting, flag: str) -> Callable[[Command], Command]:
    """A switch is named after what it changes: `--no-cache`, `--skip-bad`."""
    if setting.default:
        settings: dict[str, Any] = {"is_flag": True, "flag_value": False, "default": True}
        return click.option(f"--no-{flag}", setting.name, help=_help(setting), **settings)
    return click.option(f"--{flag}", setting.name, is_flag=True, default=False, help=_help(setting))


def _switch_with_value(setting: Setting, flag: str) -> Callable[[Command], Command]:
    """A switch that may be given a word or a number: `--compile`, `--compile auto`, `--auto-freeze 30`."""
    settings: dict[str, Any] = {"is_flag": False, "flag_value": True, "default": setting.default}
    kind: Any = Parsed("[NUMBER]", float) if setting.annotation == "bool | float" else click.UNPROCESSED
    metavar = None if isinstance(kind, Parsed) else "[auto]"
    return click.option(f"--{flag}", setting.name, help=_help(setting), type=kind, metavar=metavar, **settings)


def _type(setting: Setting) -> Any:
    if setting.name in TYPES:
        return TYPES[setting.name]
    names = {name.strip() for name in setting.annotation.split("|")}
    if names >= {"float", "str"}:
        return Parsed("NUMBER or LAYER=NUMBER,…", _amount)
    if "float" in names:
        return float
    return int if "int" in names and "str" not in names else str


def _help(setting: Setting) -> str:
    return setting.help.replace("`", "")
