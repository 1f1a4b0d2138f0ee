"""Commands as functions of their settings: signature, help, what is given, and what is refused."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import reuse
from reuse.errors import UnknownNameError, UsageError
from reuse.settings.calling import Given, carried, overridden, takes_given
from reuse.settings.commands import FinetuneSettings, LrFindArguments, PretrainSettings, SweepArguments
from reuse.settings.training import EpochSettings


@takes_given(EpochSettings)
def told(settings: EpochSettings, given: Given) -> tuple[EpochSettings, Given]:
    """Return what it is told.

    Returns:
        Settings, and names.
    """
    return settings, given


def test_a_default_that_is_given_is_told_from_one_that_is_not() -> None:
    assert told()[1] == set()
    assert told(epochs=100)[1] == {"epochs"}
    assert told(epochs=100)[0] == told()[0]


def test_help_shows_each_setting_with_its_default_and_what_it_is_for() -> None:
    assert str(inspect.signature(told)).startswith("(*, epochs: ")
    assert inspect.signature(told).parameters["patience"].default == 20
    assert told.__doc__ is not None
    assert "patience: epochs without a better validation loss before stopping; " in told.__doc__
    assert told.__doc__.index("Args:") < told.__doc__.index("Returns:")


@pytest.mark.parametrize("name", ["finetune", "pretrain", "plan", "sweep", "lr_find"])
def test_the_public_functions_show_their_settings(name: str) -> None:
    parameters = inspect.signature(getattr(reuse, name)).parameters
    assert {"data", "model", "optimizer", "epochs", "reporter"} <= parameters.keys()
    first = next(iter(parameters.values()))
    assert first.kind is first.POSITIONAL_OR_KEYWORD
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in list(parameters.values())[1:])


def test_a_name_that_no_command_has_is_unknown_and_the_nearest_is_named() -> None:
    with pytest.raises(UnknownNameError, match="unknown setting 'epoch': it is called epochs here"):
        told(epoch=3)  # type: ignore[call-arg]


def test_a_name_that_another_command_has_says_why_this_one_has_not() -> None:
    with pytest.raises(UsageError, match="a range test has no use for learning_rate"):
        reuse.lr_find("mlp:4", learning_rate=0.1)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="takes no mixup"):
        reuse.sweep("mlp:4", mixup=0.1)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="writes and resumes nothing, and takes no out"):
        reuse.plan("mlp:4", out="run")  # type: ignore[call-arg]


def test_what_is_given_is_carried_to_another_command_and_the_rest_has_its_own_defaults() -> None:
    asked = LrFindArguments(epochs=7, objective="autoencoder", steps=30)
    assert carried(asked, {"epochs", "steps"}, PretrainSettings) == PretrainSettings(epochs=7)
    assert carried(asked, {"steps"}, FinetuneSettings).epochs == 200
    assert carried(SweepArguments(freeze="a"), {"freeze"}, FinetuneSettings).freeze == ("a",)


def test_what_is_given_takes_the_place_of_what_was_whatever_its_value() -> None:
    was = FinetuneSettings(epochs=5, freeze="hidden1", clip_norm=1.0, data="digits")
    now = overridden(was, FinetuneSettings(), {"epochs", "freeze", "clip_norm", "out"})
    assert (now.epochs, now.freeze, now.clip_norm, now.data) == (200, (), None, "digits")


def test_a_type_checker_sees_the_settings(tmp_path: Path) -> None:
    """mypy knows names, types and defaults of the decorated functions from the one definition."""
    pytest.importorskip("mypy")
    (tmp_path / "caller.py").write_text(
        "from reuse.finetuning.finetune import finetune\n"
        "finetune('a', epochs=3, freeze=['b'])\n"
        "finetune(epochs='three')\n"
        "finetune(epoch=3)\n"
    )
    root = Path(reuse.__file__).resolve().parents[1]
    command = [sys.executable, "-m", "mypy", "--follow-imports=silent", str(tmp_path / "caller.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    errors = [line for line in done.stdout.splitlines() if "caller.py" in line and "error" in line]
    assert len(errors) == 2, done.stdout + done.stderr
    assert 'Argument "epochs"' in errors[0]
    assert 'Unexpected keyword argument "epoch"' in errors[1]
