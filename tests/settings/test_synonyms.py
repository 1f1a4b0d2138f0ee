import pytest

import reuse
from reuse.errors import UnknownNameError
from reuse.settings.commands import FinetuneArguments, PretrainArguments, SweepArguments
from reuse.settings.setting import settings_of
from reuse.settings.synonyms import SYNONYMS, meant

KNOWN = {
    name for arguments in (PretrainArguments, FinetuneArguments, SweepArguments) for name in settings_of(arguments)
}


def test_every_synonym_means_a_setting_that_there_is_and_is_none_itself() -> None:
    assert set(SYNONYMS.values()) <= KNOWN
    assert not KNOWN.intersection(SYNONYMS)


@pytest.mark.parametrize(
    ("given", "ours"),
    [("lr", "learning_rate"), ("LR", "learning_rate"), ("batchsize", "batch_size"), ("batch-size", "batch_size")],
)
def test_what_is_meant(given: str, ours: str) -> None:
    assert meant(given, KNOWN) == ours


def test_nothing_else_is_meant() -> None:
    assert meant("rate", KNOWN) is None
    assert meant("lr", ["epochs"]) is None, "a setting that the command has not"


def test_python_answers_with_the_right_name() -> None:
    with pytest.raises(UnknownNameError, match="unknown setting 'lr': it is called learning_rate here"):
        reuse.pretrain(lr=0.1)  # type: ignore[call-arg]
