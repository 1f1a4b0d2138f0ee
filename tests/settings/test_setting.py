"""One setting: which values it takes, and in which plain form."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
import torch

import reuse
from reuse.errors import UsageError
from reuse.settings.commands import FinetuneArguments, LrFindArguments, PlanArguments, PretrainArguments, SweepArguments
from reuse.settings.group import Count, Settings
from reuse.settings.setting import Minimum, Text, settings_of
from reuse.settings.uses import EvaluateArguments

COMMANDS = (
    PretrainArguments,
    FinetuneArguments,
    PlanArguments,
    LrFindArguments,
    SweepArguments,
    EvaluateArguments,
)


@dataclass(frozen=True, kw_only=True)
class Kinds(Settings):
    """Settings of every kind.

    Attributes:
        path: a place, which may be
            said in two lines.
        count: how many.
        share: of the whole.
        names: of layers.
        size: of a picture.
        budget: in bytes.
        switch: on or off.
    """

    path: str | Path | None = field(default=None, kw_only=False)
    count: Count = 3
    share: Annotated[float, Minimum(0, "leave it out")] = 0.5
    names: Annotated[str | Sequence[str], Text(repeated=True)] = ()
    size: int | Sequence[int] | None = None
    budget: Annotated[int | None, Text("BYTES", lambda text: int(text.removesuffix("GB")) * 10**9)] = None
    switch: bool = False


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"path": Path("a/b")}, {"path": "a/b"}),
        ({"count": np.int64(4)}, {"count": 4}),
        ({"share": np.float32(0.25)}, {"share": 0.25}),
        ({"share": 1}, {"share": 1.0}),
        ({"names": "a,b"}, {"names": ("a,b",)}),
        ({"names": ["a", "b"]}, {"names": ("a", "b")}),
        ({"size": [32, np.int64(48)]}, {"size": (32, 48)}),
        ({"budget": "2GB"}, {"budget": 2 * 10**9}),
    ],
)
def test_values_are_kept_in_their_plain_form(given: dict[str, Any], expected: dict[str, Any]) -> None:
    kept = Kinds(**given)
    for name, value in expected.items():
        assert getattr(kept, name) == value
        assert type(getattr(kept, name)) is type(value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"count": "five"}, r"count is 'five': a whole number is expected \(how many\)"),
        ({"count": 0}, "count is 0: give a whole number of 1 or more"),
        ({"count": True}, "count is True: a whole number is expected"),
        ({"count": 2.0}, "count is 2.0: a whole number is expected"),
        ({"share": -0.5}, "share is -0.5: leave it out"),
        ({"share": None}, "share is None: a number is expected"),
        ({"names": 3}, "names is 3: text or a list is expected"),
        ({"names": ["a", 3]}, "text or a list is expected"),
        ({"switch": 1}, "switch is 1: true or false is expected"),
        ({"path": torch.nn.Linear(2, 1)}, r"path is a torch\.nn\.modules\.linear\.Linear: text is expected \(a place"),
        ({"path": "x" * 200 and object()}, "path is a builtins.object"),
    ],
)
def test_other_values_are_refused_with_what_is_expected(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Kinds(**given)


def test_a_help_is_the_entry_of_the_docstring_in_one_line() -> None:
    assert settings_of(Kinds)["path"].help == "a place, which may be said in two lines."
    assert settings_of(Kinds)["path"].positional
    assert not settings_of(Kinds)["count"].positional


@pytest.mark.parametrize("command", COMMANDS)
def test_every_setting_of_every_command_has_a_help(command: type[Settings]) -> None:
    assert [name for name, setting in settings_of(command).items() if not setting.help] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_default_is_a_value_that_is_taken(command: type[Settings]) -> None:
    for setting in settings_of(command).values():
        if not setting.required:
            assert setting.checked(setting.default) == setting.default


ALONE = "Linear has no linear or convolutional layer inside it.*one that stands alone goes into nn.Sequential"
TEXT = r"source is a torch\.nn\.modules\.linear\.Linear: text is expected"


@pytest.mark.parametrize(
    ("call", "words"), [(reuse.finetune, ALONE), (reuse.plan, ALONE), (reuse.sweep, TEXT), (reuse.lr_find, TEXT)]
)
def test_a_layer_as_source_is_one_clear_line(call: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        call(torch.nn.Linear(64, 10), data="digits")


@dataclass(frozen=True, kw_only=True)
class Places(Settings):
    """Settings that are names, one, several and of any kind."""

    place: str | Path | None = None
    places: Annotated[str | Path | Sequence[str | Path], Text(repeated=True)] = ()
    anything: Any = None


@pytest.mark.parametrize("value", ["a\0b", Path("a\0b")])
def test_no_name_holds_a_character_of_number_0(value: str | Path) -> None:
    for given in ({"place": value}, {"places": value}, {"places": ["c", value]}, {"anything": value}):
        with pytest.raises(UsageError, match=rf"^{next(iter(given))}='a.x00b' holds a character of number 0"):
            Places(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", ["a\0b", Path("a\0b"), ("a", "b\0")])
def test_one_setting_by_itself_takes_no_character_of_number_0(given: object) -> None:
    name = "freeze" if isinstance(given, tuple) else "cache_dir"
    with pytest.raises(UsageError, match=rf"^{name}=.*a character of number 0"):
        settings_of(FinetuneArguments)[name].checked(given)
