"""Python, the command line, a file and a resumed run resolve to the same settings, given or not."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reuse.cli.configuring import settings_of_call
from reuse.cli.options import CONFIG, with_settings
from reuse.errors import UsageError
from reuse.runs.folder import RunFolder
from reuse.runs.manifest import Manifest
from reuse.settings.calling import Given, overridden, takes_given
from reuse.settings.commands import FinetuneArguments, FinetuneSettings, PretrainArguments, PretrainSettings
from reuse.settings.files import plain_settings
from reuse.settings.group import Settings
from reuse.settings.run import ListenerSettings, RunSettings
from reuse.settings.setting import Setting, settings_of
from reuse.setup.resuming import saved_settings

COMMANDS = {"pretrain": (PretrainArguments, PretrainSettings), "finetune": (FinetuneArguments, FinetuneSettings)}
ELSEWHERE = {*settings_of(RunSettings), *settings_of(ListenerSettings), "trust"}
WORDS = st.text("abcdefgh123:,=*._", min_size=1, max_size=12).map("layer{}".format)  # never read as a number


NAMED = {
    "objective": st.sampled_from(["autoencoder", "supervised"]),
    "labels": st.integers(1, 500) | st.integers(1, 50).map("{}/class".format),
    "schedule": st.sampled_from(["constant", "cosine", "exponential:10"]),
    "image_size": st.integers(1, 99) | st.tuples(st.integers(1, 99), st.integers(1, 99)),
}
OF_KIND = {int: st.integers(1, 1000), float: st.floats(0.001, 1000, allow_nan=False), bool: st.booleans(), str: WORDS}


def values(setting: Setting) -> st.SearchStrategy[Any]:
    """Return values that a setting takes, other than None, which a command line cannot say."""
    if setting.name in NAMED:
        return NAMED[setting.name]
    if setting.text.repeated:
        return st.lists(WORDS, min_size=1, max_size=3).map(tuple)
    if set(setting.kinds) == {bool}:
        return st.just(not setting.default)
    return st.one_of([OF_KIND[kind] for kind in setting.kinds or (str,) if kind in OF_KIND])


def some_settings(arguments: type[Settings]) -> st.SearchStrategy[dict[str, Any]]:
    """Return random subsets of the settings of a command, with values, all of which have an effect."""
    every = {name: values(s) for name, s in settings_of(arguments).items() if name not in ELSEWHERE}
    return st.sets(st.sampled_from(sorted(every)), max_size=12).flatmap(
        lambda names: st.fixed_dictionaries({name: every[name] for name in sorted(names)}).filter(
            lambda chosen: not arguments(**chosen).without_effect(chosen)
        )
    )


def as_words(arguments: type[Settings], chosen: dict[str, Any]) -> list[str]:
    """Return what somebody would write on a command line: the arguments first, then the options."""
    settings = settings_of(arguments)
    words: list[str] = [value for name, value in chosen.items() if settings[name].positional]
    for name, value in chosen.items():
        setting, flag = settings[name], name.replace("_", "-")
        if setting.positional:
            continue
        if set(setting.kinds) == {bool}:
            words.append(f"--no-{flag}" if setting.default else f"--{flag}")
        elif isinstance(value, bool) and type(None) in setting.kinds:
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif setting.text.repeated:
            words += [f"--{flag}={one}" for one in value]
        elif value is True:
            words.append(f"--{flag}")
        elif isinstance(value, tuple):
            words.append(f"--{flag}={'x'.join(map(str, value))}")
        else:
            words.append(f"--{flag}={value}")
    return words


@cache
def program(arguments: type[Settings]) -> click.Command:
    """Return a command that gives back what it was told."""

    @click.command()
    @with_settings(arguments)
    @CONFIG
    @click.pass_context
    def command(context: click.Context, /, config: str | None, **_: Any) -> dict[str, Any]:
        return settings_of_call(context, config, arguments)

    return command


def from_command_line(arguments: type[Settings], words: list[str]) -> dict[str, Any]:
    found = program(arguments).main(words, standalone_mode=False)
    assert isinstance(found, dict)
    return found


def resolver(arguments: type[Settings]) -> Any:
    @takes_given(arguments)
    def resolve(found: Settings, names: Given) -> tuple[Settings, Given]:
        return found, names

    return resolve


def without_false(arguments: type[Settings], chosen: dict[str, Any]) -> dict[str, Any]:
    """Leave out what a command line cannot say: that a switch with a value is off, as it is by default."""
    mixed = {name for name, s in settings_of(arguments).items() if bool in s.kinds and len(s.kinds) > 1}
    tri = {name for name in mixed if type(None) in settings_of(arguments)[name].kinds}
    return {name: value for name, value in chosen.items() if not (name in mixed - tri and value is False)}


@pytest.mark.parametrize("command", COMMANDS)
@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_all_ways_to_say_settings_resolve_alike(command: str, data: st.DataObject, tmp_path: Path) -> None:
    arguments, kept = COMMANDS[command]
    resolve = resolver(arguments)
    chosen = without_false(arguments, data.draw(some_settings(arguments)))
    asked, names = resolve(**chosen)
    assert names == chosen.keys()

    said, also = resolve(**from_command_line(arguments, as_words(arguments, chosen)))
    assert (plain_settings(said), also) == (plain_settings(asked), names)

    run = RunFolder(tmp_path)
    run.write_settings(command, plain_settings(asked))
    run.write_manifest(Manifest(command))
    words = ["--config", str(tmp_path / "settings.toml"), "--trust"]  # a random text may look like code
    replayed, _ = resolve(**from_command_line(arguments, words))
    assert plain_settings(replayed) == {**plain_settings(asked), "trust": True}

    saved = saved_settings(run, kept, names)
    assert plain_settings(saved) == plain_settings(asked)
    later, now = resolve(**without_false(arguments, data.draw(some_settings(arguments))))
    both = kept(**{name: getattr(later if name in now else saved, name) for name in settings_of(kept)})
    if both.without_effect(now):
        with pytest.raises(UsageError, match="does nothing"):
            overridden(saved, later, now)
        return
    idle = {name: settings_of(kept)[name].default for name in both.without_effect(settings_of(kept))}
    assert plain_settings(overridden(saved, later, now)) == plain_settings(replace(both, **idle))


def test_the_users_word_counts_more_than_a_file(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('epochs = 5\nlearning-rate = 1\ncommand = "finetune"\n')
    found = from_command_line(FinetuneArguments, ["--config", str(tmp_path / "s.toml"), "--epochs", "7"])
    assert found == {"epochs": 7, "learning_rate": 1.0}


@pytest.mark.parametrize("command", COMMANDS)
def test_none_is_a_default_wherever_it_is_taken_as_files_cannot_say_it(command: str) -> None:
    for name, setting in settings_of(COMMANDS[command][0]).items():
        assert type(None) not in setting.kinds or setting.default is None, name
