"""Shares of batches against the rows themselves; the same steps by one process and by several threads of rows."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import reuse
from reuse.errors import UnknownNameError, UsageError
from reuse.training.batches import batch_sizes
from reuse.training.parallel import KINDS, BatchShare, share_of, spread, synchronize_batch_norms

COUNTS = st.integers(2, 5)


@given(st.integers(1, 200), st.integers(1, 40), COUNTS)
@settings(max_examples=60, deadline=None)
def test_weighted_means_of_the_shares_average_to_the_mean_of_each_batch(rows: int, batch: int, count: int) -> None:
    values = torch.randn(rows, dtype=torch.float64)
    order, sizes = torch.randperm(rows), batch_sizes(rows, batch)
    means = []
    for rank in range(count):
        share = BatchShare(rank, count)
        chosen, own = share.rows(order, sizes)
        assert min(own) > 1 or min(sizes) == 1
        weights = [share.weights([size]) for size in sizes]
        parts = values[chosen].split(own)
        means.append([weight[0] * part.mean() for weight, part in zip(weights, parts, strict=True)])
    expected = [part.mean() for part in values[order].split(sizes)]
    torch.testing.assert_close(torch.tensor(means).mean(0), torch.stack(expected))


@given(st.integers(1, 200), st.integers(1, 40), COUNTS)
@settings(max_examples=60, deadline=None)
def test_each_row_that_is_measured_is_counted_by_one_process(rows: int, batch: int, count: int) -> None:
    order, sizes = torch.arange(rows), batch_sizes(rows, batch)
    seen = []
    for share in (BatchShare(rank, count) for rank in range(count)):
        chosen, own = share.rows(order, sizes)
        parts = zip(chosen.split(own), share.counted(sizes), strict=True)
        seen += [row for part, counts in parts if counts for row in part.tolist()]
    assert sorted(seen) == order.tolist()


def test_batches_of_one_step_count_by_the_rows_of_all_processes() -> None:
    values, sizes = torch.randn(23, dtype=torch.float64), [20, 3]
    sums = []
    for rank in range(2):
        share = BatchShare(rank, 2)
        chosen, own = share.rows(torch.arange(23), sizes)
        weights = share.weights(sizes)
        assert weights is not None
        parts = values[chosen].split(own)
        sums.append(sum(weight * part.mean() for weight, part in zip(weights, parts, strict=True)))
    torch.testing.assert_close(torch.stack(sums).mean(), values.mean())


def test_one_process_has_all_rows_and_its_network_as_it_is() -> None:
    model, order = nn.Linear(2, 2), torch.randperm(9)
    assert spread(model, model) is model
    assert share_of(model) == BatchShare(0, 1)
    assert BatchShare().rows(order, [4, 5])[0] is order
    assert BatchShare().weights([4, 5]) is None


def test_live_batch_norms_are_synchronised_in_the_model_and_behind_its_cut() -> None:
    model = reuse.build("mlp:6,5,4", (3,), 2, norm="batch")
    reuse.freeze(model, "hidden1")
    suffix = reuse.cut(model, torch.randn(8, 3)).suffix
    before = {name: tensor.data_ptr() for name, tensor in model.state_dict().items()}
    synchronize_batch_norms(model, suffix)
    assert {name: tensor.data_ptr() for name, tensor in model.state_dict().items()} == before
    norms = [name for name, module in model.named_modules() if isinstance(module, nn.SyncBatchNorm)]
    assert {name.partition(".")[0] for name in norms} == {"hidden2", "hidden3"}
    called = [m for graph in suffix.graphs for m in graph.modules() if isinstance(m, _BatchNorm)]
    assert called
    assert {id(norm) for norm in called} <= {id(model.get_submodule(name)) for name in norms}


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="ddp"):
        spread(nn.Linear(2, 2), nn.Linear(2, 2), "dpp")


class Scales(nn.Module):
    """Half frozen, with a number of its own that trains."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen, self.scale = nn.Linear(4, 4), nn.Parameter(torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.frozen(x) * self.scale


@pytest.mark.parametrize(
    "make", [lambda: nn.Sequential(Scales(), nn.Linear(4, 2)), lambda: nn.Sequential(nn.Sequential(Scales()))]
)
def test_what_a_suffix_reads_apart_from_its_layer_is_not_divided(make: Callable[[], nn.Module]) -> None:
    """Its graph would go on reading the whole parameter, which no step changes."""
    model = make()
    reuse.freeze(model, "re:.*frozen.*")
    suffix = reuse.cut(model, torch.rand(3, 4)).suffix
    with pytest.raises(UsageError, match=r"fsdp cannot divide 0\..*scale behind a cut.*without a cache"):
        KINDS["fsdp"](suffix)
