"""A run goes on with what is given, also where that equals a default, and with what it began with otherwise."""

from pathlib import Path

import pytest
import torch

import reuse
from finished_runs import history
from reuse.errors import UsageError


@pytest.fixture
def source() -> str:
    return reuse.pretrain(data="digits", model="mlp:8,4", epochs=3, out="p").run


def test_epochs_that_equal_the_default_are_trained(source: str) -> None:
    assert reuse.pretrain(resume="p", epochs=100).epochs == 100
    assert len(history("p")) == 100


def test_what_is_not_given_is_as_the_run_began(source: str) -> None:
    assert reuse.pretrain(resume="p").epochs == 3


def test_a_fine_tuning_goes_on_to_the_default_number_of_epochs(source: str) -> None:
    begin = {"freeze": "hidden1", "data": "digits", "labels": 60, "early_stopping": False}
    reuse.finetune(source, **begin, epochs=2, out="f")
    assert reuse.finetune(resume="f", epochs=200).epochs == 200


def test_freezing_nothing_unfreezes_what_was_frozen(source: str) -> None:
    begin = {"freeze": "hidden1", "data": "digits", "labels": 60}
    before = reuse.finetune(source, **begin, epochs=2, out="f")
    after = reuse.finetune(resume="f", freeze=(), epochs=3)
    assert before.frozen == ("hidden1",)
    assert after.frozen == ()
    assert [phase["frozen"] for phase in after.phases] == [["hidden1"], []]


def test_the_default_of_a_switch_that_is_given_counts(source: str) -> None:
    reuse.finetune(source, freeze="hidden1", data="digits", labels=60, epochs=2, cache=False, out="f")
    assert reuse.finetune(resume="f", cache=True, epochs=3).settings["cache"] is True


@pytest.mark.parametrize("given", [object(), 3])
def test_what_is_no_source_is_one_clear_line(given: object) -> None:
    with pytest.raises(
        UsageError, match=r"source is .*: text, or a module of torch, is expected \(a run folder, a file of weights"
    ):
        reuse.finetune(given, data="digits")
    assert not Path("runs").exists()


@pytest.mark.parametrize("given", [object(), torch.nn.MSELoss(), 3])
def test_what_is_no_objective_is_one_clear_line(given: object) -> None:
    with pytest.raises(UsageError, match="give a name of `reuse pretrain --list`"):
        reuse.pretrain(given, data="digits")
    assert not Path("runs").exists()
