import sys
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from reuse.data.rows import Resident
from reuse.training.threads import fitting_threads


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("width", "threads"), [(64, 1), (1024, 2)])
def test_small_work_gets_one_thread(width: int, threads: int) -> None:
    model = nn.Sequential(nn.Linear(8, width), nn.Dropout(), nn.Linear(width, width)).train()
    with fitting_threads(model, model, Resident(torch.zeros(100, 8)), 32):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 2
    assert model[1].training


def test_a_suffix_of_cached_bfloat16_rows_is_counted_as_it_computes() -> None:
    suffix = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    rows = Resident(torch.zeros(100, 8, dtype=torch.bfloat16))
    with fitting_threads(suffix, suffix, rows, 32, "bfloat16"):
        assert torch.get_num_threads() == 1


def test_threads_come_back_after_an_error() -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(KeyboardInterrupt), fitting_threads(model, model, Resident(torch.zeros(4, 2)), 32):
        raise KeyboardInterrupt
    assert torch.get_num_threads() == 2


def test_a_small_perceptron_needs_no_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting operations imports torch's compiler, which takes longer than such a training."""
    monkeypatch.setitem(sys.modules, "torch.utils.flop_counter", None)  # its import would fail
    model, rows = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 3)), torch.zeros(100, 8)
    with fitting_threads(model, model, Resident(rows), 32):
        assert torch.get_num_threads() == 1
    maps = nn.Sequential(nn.Linear(8, 3), nn.Flatten())
    with pytest.raises(ImportError), fitting_threads(maps, maps, Resident(rows.view(100, 1, 8)), 32):
        pass  # a layer that reads each row several times


def test_a_layer_that_is_called_again_and_again_is_counted_as_often() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.read, self.hidden = nn.Linear(1, 64), nn.Linear(64, 64)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            state = self.read(x[:, :1])
            for step in x.unbind(1):
                state = torch.tanh(self.read(step.unsqueeze(1)) + self.hidden(state))
            return state

    steps = nn.Sequential(nn.Unflatten(1, (100, 1)), nn.Linear(1, 256), nn.Linear(256, 16))
    for model in (Recurrent(), steps):
        with fitting_threads(model, model, Resident(torch.zeros(64, 100)), 64):
            assert torch.get_num_threads() == 2
