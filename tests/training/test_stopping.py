"""Early stopping counts as defined, keeps clones, and carries counters over, never settings."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from reuse.errors import UsageError
from reuse.training.state import live_tensors
from reuse.training.stopping import EarlyStopping

VALUES = st.lists(st.one_of(st.floats(allow_nan=True, allow_infinity=False, width=16)), min_size=1, max_size=30)


def fed(stopping: EarlyStopping, model: nn.Module, values: list[float], first: int = 1) -> list[bool]:
    """Give the values one epoch each; the model's weights are the epoch's number."""
    answers = []
    for epoch, value in enumerate(values, first):
        nn.init.constant_(model.weight, float(epoch))
        answers.append(stopping.update(epoch, value, lambda: live_tensors(model)))
    return answers


@given(VALUES, st.integers(1, 5))
def test_best_epoch_and_moment_to_stop_are_as_defined(values: list[float], patience: int) -> None:
    model, stopping = nn.Linear(1, 1, bias=False), EarlyStopping(patience)
    answers = fed(stopping, model, values)
    numbers = [value for value in values if not math.isnan(value)]
    best = values.index(min(numbers)) + 1 if numbers else None
    assert stopping.best_epoch == best
    assert answers[-1] == (len(values) - (best or 0) >= patience)
    assert stopping.restore(model) == best
    assert model.weight.item() == (best or len(values))


def test_without_patience_it_never_stops_and_still_restores() -> None:
    model, stopping = nn.Linear(1, 1, bias=False), EarlyStopping(None)
    assert not any(fed(stopping, model, [3.0, 1.0, *[2.0] * 50]))
    assert stopping.restore(model) == 2
    assert model.weight.item() == 2


def test_best_weights_are_a_clone_before_and_after_restoring() -> None:
    model, stopping = nn.BatchNorm1d(2), EarlyStopping(3)
    stopping.update(1, 1.0, lambda: live_tensors(model))
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for _ in range(2):
        with torch.no_grad():
            for tensor in live_tensors(model).values():
                tensor.add_(1)
        stopping.restore(model)
        torch.testing.assert_close(model.state_dict(), state, rtol=0, atol=0)


@given(VALUES, st.data())
def test_interrupted_equals_uninterrupted(values: list[float], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(values)))
    model = nn.Linear(1, 1, bias=False)
    whole, before, after = EarlyStopping(3), EarlyStopping(3), EarlyStopping(3)
    answers = fed(whole, model, values)
    found = fed(before, model, values[:cut])
    after.load_state_dict(before.state_dict())
    assert found + fed(after, model, values[cut:], cut + 1) == answers
    assert after.restore(model) == whole.best_epoch


def test_patience_stays_as_it_is_set_now() -> None:
    model, before, after = nn.Linear(1, 1, bias=False), EarlyStopping(2), EarlyStopping(4)
    fed(before, model, [1.0, 2.0, 2.0])
    after.load_state_dict(before.state_dict())
    assert fed(after, model, [2.0, 2.0], 4) == [False, True]


def test_impossible_patience_is_refused() -> None:
    with pytest.raises(UsageError, match="patience is 0"):
        EarlyStopping(0)
