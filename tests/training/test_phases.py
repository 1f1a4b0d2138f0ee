"""Phases of a fine-tuning from the text of `unfreeze`."""

import pytest

from reuse.errors import UsageError
from reuse.training.phases import Phase, read_phases, settle


def test_phases_cover_the_run() -> None:
    assert read_phases(None, 7) == [Phase(1, 7)]
    assert read_phases("5:hidden2,hidden1.*,10:all", 20) == [
        Phase(1, 5),
        Phase(6, 10, ("hidden2", "hidden1.*")),
        Phase(11, 20, ("*",)),
    ]


def test_what_settles_parts_the_last_phase() -> None:
    phases = read_phases("5:hidden2", 20)
    settle(phases, 8, {"hidden1": 0.1})
    settle(phases, 9, {"hidden2": 0.2})
    assert phases == [
        Phase(1, 5),
        Phase(6, 8, ("hidden2",)),
        Phase(9, 9, settled={"hidden1": 0.1}),
        Phase(10, 20, settled={"hidden2": 0.2}),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hidden2", "write epochs:layers"),
        ("10:hidden2,5:all", "must rise"),
        ("5:hidden2,5:all", "must rise"),
        ("0:all", "must rise"),
        ("20:all", "ends after epoch 20"),
        ("-1:all", "write epochs:layers"),
    ],
)
def test_what_makes_no_phases_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_phases(text, 20)
