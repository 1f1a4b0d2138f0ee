"""Orders of an epoch that a disk reads fast mix the rows as a full shuffle does, whatever the data are sorted by."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from reuse.data.windows import Windows, windows_for
from reuse.seeding import generator


@given(st.integers(1, 400), st.integers(1, 30), st.integers(1, 100), st.integers(0, 99))
def test_an_order_holds_every_row_once_and_repeats(rows, chunk_rows, window_rows, seed):
    windows = Windows(chunk_rows, window_rows)
    order = windows.order(rows, generator(seed, 1))
    assert torch.equal(order.sort().values, torch.arange(rows))
    assert torch.equal(order, windows.order(rows, generator(seed, 1)))


@given(st.integers(1, 400), st.integers(1, 30), st.integers(1, 10), st.integers(0, 99))
def test_no_chunk_is_read_for_two_portions_and_each_portion_fits(rows, chunk_rows, chunks, seed):
    windows = Windows(chunk_rows, chunk_rows * chunks)
    for order in (windows.order(rows, generator(seed, 1)).numpy(), np.arange(rows)):
        portions = windows.portions(order)
        assert [start for start, _ in portions] == [0, *(end for _, end in portions[:-1])]
        assert portions[-1][1] == rows
        read = [set((order[start:end] // chunk_rows).tolist()) for start, end in portions]
        assert sum(map(len, read)) == len(set().union(*read))
        assert all(end - start <= windows.window_rows for start, end in portions)


@given(st.lists(st.integers(0, 50), max_size=200), st.integers(1, 20), st.integers(1, 40))
def test_any_order_is_read_in_portions_that_fit(numbers, chunk_rows, window_rows):
    order = np.array(numbers, np.int64)
    portions = Windows(chunk_rows, window_rows).portions(order)
    assert [position for start, end in portions for position in range(start, end)] == list(range(len(order)))
    assert all(0 < end - start <= max(1, 3 * window_rows // 2) for start, end in portions)


def test_shares_of_a_process_are_read_with_its_windows():
    windows = Windows(8, 64)
    whole = windows.order(1024, generator(0, 1)).numpy()
    portions = windows.portions(whole[::2])
    assert portions == [(start, start + 64) for start in range(0, 512, 64)]  # two windows each
    chunks = [set((whole[::2][start:end] // 8).tolist()) for start, end in portions]
    assert sum(map(len, chunks)) == len(set().union(*chunks)) >= 125


def test_windows_follow_from_the_bytes_of_a_row_alone():
    assert windows_for(2048) == Windows(512, 2**15)
    assert windows_for(2**20) == Windows(1, 64)
    assert windows_for(2**30) == Windows(1, 1)
    assert windows_for(0).chunk_rows > 0


# --- how well it shuffles: 10 classes, sorted ------------------------------------------------------------------------

ROWS, CLASSES, BATCH = 6400, 10, 64
LABELS = torch.arange(ROWS) * CLASSES // ROWS


def _dispersion(order):
    """The mean over batches of Pearson's statistic against the mix of all rows: 9 for a full shuffle."""
    counts = torch.nn.functional.one_hot(LABELS[order]).reshape(-1, BATCH, CLASSES).sum(1).double()
    return float(((counts - BATCH / CLASSES).square() / (BATCH / CLASSES)).sum(1).mean())


@pytest.mark.parametrize("windows", [Windows(32, 640), Windows(4, 640), Windows(16, 320)])
def test_batches_of_sorted_rows_have_the_mix_of_a_full_shuffle(windows):
    random = [_dispersion(torch.randperm(ROWS, generator=generator(s, 0))) for s in range(40)]
    found = [_dispersion(windows.order(ROWS, generator(s, 0))) for s in range(40)]
    error = np.hypot(np.std(random), np.std(found)) / np.sqrt(40)
    # Windows of equal mix: drawing without replacement from 640 rows, not from 6400, varies less, never more.
    assert (
        np.mean(random) * (1 - BATCH / windows.window_rows) - 4 * error < np.mean(found) < np.mean(random) + 4 * error
    )


def test_the_usual_buffer_of_random_chunks_mixes_worse():
    """What stretches are for: the same windows of chunks drawn at random."""
    random = generator(0, 0)
    chunks = torch.randperm(ROWS // 32, generator=random).reshape(-1, 20)
    windows = [(some[:, None] * 32 + torch.arange(32)).flatten() for some in chunks]
    order = torch.cat([rows[torch.randperm(640, generator=random)] for rows in windows])
    assert _dispersion(order) > 2 * _dispersion(Windows(32, 640).order(ROWS, generator(0, 0)))


def test_every_pair_of_far_rows_meets_in_a_batch_as_often_as_in_a_full_shuffle():
    windows, together = Windows(4, 40), 0
    for seed in range(3000):
        place = windows.order(160, generator(seed, 0)).argsort()
        together += int(place[3] // 20 == place[155] // 20)
    assert together / 3000 == pytest.approx(20 / 160, abs=4 * np.sqrt(0.125 * 0.875 / 3000))


def _accuracy(orders):
    """Of a linear classifier trained by plain steps over the rows in these orders, sorted rows of ten noisy classes."""
    random = torch.Generator().manual_seed(7)
    centres = torch.randn(CLASSES, 20, generator=random)
    train, test = ((centres[LABELS] + 1.8 * torch.randn(ROWS, 20, generator=random)) for _ in range(2))
    weights = torch.zeros(20, CLASSES, requires_grad=True)
    for order in orders:
        for batch in order.split(BATCH):
            (gradient,) = torch.autograd.grad(cross_entropy(train[batch] @ weights, LABELS[batch]), weights)
            with torch.no_grad():
                weights -= 0.2 * gradient
    return float(((test @ weights).argmax(1) == LABELS).double().mean())


def test_training_on_sorted_rows_reaches_the_accuracy_of_a_full_shuffle():
    def every(order):
        return np.array([_accuracy([order(generator(seed, epoch)) for epoch in range(2)]) for seed in range(8)])

    full = every(lambda random: torch.randperm(ROWS, generator=random))
    windowed = every(lambda random: Windows(32, 640).order(ROWS, random))
    error = np.sqrt((full.var(ddof=1) + windowed.var(ddof=1)) / 8)
    assert abs(full.mean() - windowed.mean()) <= max(error, 1e-3)
    assert full.mean() > 0.6
    assert _accuracy([torch.arange(ROWS)] * 2) < full.mean() - 10 * error  # unshuffled: it does matter here
