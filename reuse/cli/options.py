"""From settings to the options of a command, and from these to what the user gave."""

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reuse.cli.completing import completing
from reuse.cli.wording import as_typed
from reuse.errors import ReuseError, UsageError
from reuse.menus import suggest
from reuse.paths import from_home
from reuse.settings.calling import refuse_others
from reuse.settings.group import Settings
from reuse.settings.run import ListenerSettings
from reuse.settings.setting import Setting, settings_of
from reuse.settings.synonyms import meant

Function = Callable[..., Any]


class FromHome(click.Path):
    """A path in which a leading `~` is a home, as in `--out=~/x`, which shells leave as it is."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path that the text means."""
        return super().convert(os.fspath(from_home(value)), param, ctx)


CONFIG = click.option("--config", type=FromHome(exists=True, dir_okay=False), help="A TOML file of settings.")
PATTERNS = """\b
Patterns of layers, separated by commas, in the order in which they are read:
  hidden1  conv*     names and globs; * crosses dots
  re:layer[12]       a regular expression for the whole name
  :layer2            everything up to and including layer2
  '!head'            all but the output layer, whatever it is called
  'layer4,!*.bn*'    a layer without some of what is in it
"""
"""What stands below the help of commands that take patterns."""

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")

QUIET = click.option("--quiet", is_flag=True, help="Print warnings, notes on the data, errors and the last line alone.")


if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # which takes a type of values only since click 8.2


class Parsed(ParamType):
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


class Command(click.Command):
    """A command that knows its options by the names that other toolkits have for them: `--lr`, `--batchsize`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the arguments apart.

        Raises:
            UsageError: an argument is given as an option, or a run is missing; the message says how it is given.
        """
        try:
            return super().parse_args(ctx, self._in_our_words(args))
        except click.NoSuchOption as error:
            self._refuse_as_option(error.option_name, ctx)
            if error.possibilities:  # which it names
                raise
            command, option = ctx.command_path, error.option_name
            told = f"`{command}` has no option {option}: `{command} --help` lists those it has"
            raise click.NoSuchOption(option, told, ctx=ctx) from error
        except click.MissingParameter as error:
            if error.param is not None and error.param.name in ("run", "runs"):
                raise UsageError(f"no run is named: {ctx.command_path} RUN, one of `reuse runs list`") from error
            if isinstance(error.param, click.Argument):
                what = (error.param.metavar or str(error.param.name).upper()).rstrip("….")
                raise UsageError(f"no {what.lower()} is given: {ctx.command_path} {what}{self._example()}") from error
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what its errors say of settings names options."""
        try:
            return super().invoke(ctx)
        except ReuseError as error:
            error.args = tuple(as_typed(part) if isinstance(part, str) else part for part in error.args)
            raise

    def _example(self) -> str:
        """Return the example of the help, to stand behind what is missing."""
        _, found, example = (self.help or "").partition("Example: ")
        return f", as in {example.splitlines()[0].strip()}" if found else ""

    def _refuse_as_option(self, option: str, ctx: click.Context) -> None:
        name = option.removeprefix("--").replace("-", "_")
        if any(isinstance(parameter, click.Argument) and parameter.name == name for parameter in self.params):
            raise UsageError(f"{name} is given without {option}: {ctx.command_path} {name.upper()}")

    def _in_our_words(self, args: list[str]) -> list[str]:
        options = [parameter for parameter in self.params if isinstance(parameter, click.Option)]
        flags = {flag for option in options for flag in (*option.opts, *option.secondary_opts)} | {"--help"}
        known = {flag.removeprefix("--").replace("-", "_") for flag in flags if flag.startswith("--")}
        end = args.index("--") if "--" in args else len(args)
        return [*(_in_our_word(argument, flags, known) for argument in args[:end]), *args[end:]]


def _in_our_word(argument: str, flags: Collection[str], known: Collection[str]) -> str:
    """Return `--learning-rate` for `--lr`, and what is no option of another name as it is."""
    flag, equals, value = argument.partition("=")
    if not flag.startswith("--") or flag in flags:
        return argument
    ours = meant(flag.removeprefix("--"), known)
    return argument if ours is None else f"--{ours.replace('_', '-')}{equals}{value}"


class Group(click.Group):
    """A group of commands, which says what there is where it is called alone."""

    command_class = Command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the arguments apart."""
        return super().parse_args(ctx, args or ["--help"])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, or name the nearest."""
        names = self.list_commands(ctx)
        if args and args[0] not in names and not args[0].startswith("-") and not ctx.resilient_parsing:
            told = "" if ctx.parent is None else f" of {ctx.command_path}"
            raise click.UsageError(f"unknown command {args[0]!r}{told}: {suggest(args[0], names)}", ctx)
        return super().resolve_command(ctx, args)


def refusing(arguments: type[Settings]) -> type[Command]:
    """Return the class of a command that says why it has not the settings that other commands have.

    Args:
        arguments: the dataclass of its arguments.
    """

    class Refusing(Command):
        def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
            try:
                return super().parse_args(ctx, args)
            except click.NoSuchOption as error:
                name = error.option_name.removeprefix("--").replace("-", "_")
                refuse_others(arguments, {name, name.removeprefix("no_")})
                raise

    return Refusing


def with_settings(arguments: type[Settings], without: Collection[str] = ()) -> Callable[[Function], Function]:
    """Return a decorator that gives a command an argument or option for each setting.

    Args:
        arguments: the dataclass of the command's arguments.
        without: names of settings that the command takes in another way.
    """
    left_out = {*settings_of(ListenerSettings), *without}

    def decorate(command: Function) -> Function:
        for name, setting in reversed(list(settings_of(arguments).items())):
            if name not in left_out:
                command = _parameter(setting)(command)
        return command

    return decorate


def given(context: click.Context, arguments: type[Settings]) -> dict[str, Any]:
    """Return the settings that the user gave, by their names in Python; the others have their defaults.

    Args:
        context: of the command.
        arguments: the dataclass of its arguments.
    """
    from click.core import ParameterSource

    unset, known = (ParameterSource.DEFAULT, None), settings_of(arguments)
    return {
        name: value
        for name, value in context.params.items()
        if name in known and context.get_parameter_source(name) not in unset
    }


def _parameter(setting: Setting) -> Callable[[Function], Function]:
    flag = setting.name.replace("_", "-")
    if setting.positional:
        optional: dict[str, Any] = {} if setting.required else {"default": setting.default}
        optional["shell_complete"] = completing(setting.name)
        return click.argument(setting.name, required=setting.required, metavar=setting.name.upper(), **optional)
    if set(setting.kinds) == {bool}:
        return _switch(setting, flag)
    if set(setting.kinds) == {bool, type(None)}:
        return click.option(f"--{flag}/--no-{flag}", setting.name, default=None, help=_help(setting))
    if bool in setting.kinds:
        return _switch_with_value(setting, flag)
    # A default of None, given as such, would count as an answer to what is required.
    default: dict[str, Any] = {"required": True} if setting.required else {"default": setting.default}
    return click.option(
        f"--{flag}",
        setting.name,
        type=_type(setting),
        **default,
        multiple=setting.text.repeated,
        show_default=setting.default not in (None, ()),
        help=_help(setting),
        shell_complete=completing(setting.name),
    )


def _switch(setting: Setting, flag: str) -> Callable[[Function], Function]:
    """A switch is named after what it changes: `--no-cache`, `--skip-bad`."""
    if setting.default:
        settings: dict[str, Any] = {"is_flag": True, "flag_value": False, "default": True}
        return click.option(f"--no-{flag}", setting.name, help=_help(setting), **settings)
    return click.option(f"--{flag}", setting.name, is_flag=True, default=False, help=_help(setting))


def _switch_with_value(setting: Setting, flag: str) -> Callable[[Function], Function]:
    """A switch that may be given a word or a number: `--compile`, `--compile auto`, `--auto-freeze 30`."""
    settings: dict[str, Any] = {"is_flag": False, "flag_value": True, "default": setting.default}
    read, metavar = setting.text.read, setting.text.metavar
    kind: Any = click.UNPROCESSED if read is None else Parsed(metavar or "VALUE", read)
    return click.option(f"--{flag}", setting.name, help=_help(setting), type=kind, metavar=metavar, **settings)


def _type(setting: Setting) -> Any:
    text = setting.text
    if text.read is not None:
        return Parsed(text.metavar or "TEXT", text.read)
    if str in setting.kinds or Path in setting.kinds or not setting.kinds:
        return str
    return float if float in setting.kinds else int


def _help(setting: Setting) -> str:
    return setting.help.replace("`", "")
