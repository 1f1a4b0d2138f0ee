"""Changes to the columns of tables and the steps of sequences: foreign values, windows, gaps."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from reuse.augmenting.pixels import uniform, whole_numbers
from reuse.errors import UsageError


def swap(rows: Tensor, share: float, owners: Tensor, columns: int) -> Tensor:
    """Put values of other rows of the batch in place of a row's own, column by column.

    Each is drawn by itself, so that a column's values stay spread as they are and know nothing of the other columns.

    Args:
        rows: `(batch, inputs)`.
        share: probability of each column.
        owners: number of the column of each input, int64 `(inputs,)`: those of one column come from one row.
        columns: how many there are.
    """
    size = (len(rows), columns)
    swapped, others = uniform(size, rows) < share, whole_numbers(0, len(rows) - 1, size, rows)
    return torch.where(swapped[:, owners], rows.gather(0, others[:, owners]), rows)


def window(rows: Tensor, share: float) -> Tensor:
    """Keep a stretch of the steps of each sequence, of this share of them or more, at a random place; others are 0.

    Args:
        rows: `(batch, time, features)`.
        share: least share of the steps, in whole steps.
    """
    steps = rows.shape[1]
    kept = whole_numbers(max(1, round(share * steps)), steps, (len(rows), 1), rows)
    first = (uniform((len(rows), 1), rows) * (steps - kept + 1)).long()
    places = torch.arange(steps, device=rows.device)
    return rows * ((places >= first) & (places < first + kept)).unsqueeze(2)


def hide(rows: Tensor, share: float) -> Tensor:
    """Set each step of a sequence to 0 with probability `share`; arguments as `window`."""
    return rows * (uniform(rows.shape[:2], rows) >= share).unsqueeze(2)


def swapping(share: float, widths: Sequence[int]) -> Callable[[Tensor], Tensor]:
    """Return what swaps a share of the columns, each of as many inputs as `widths` says, in order."""
    _check("swap", share)
    owners = torch.arange(len(widths)).repeat_interleave(torch.tensor(widths))
    return lambda rows: swap(rows, share, owners.to(rows.device), len(widths))


def _windows(share: float) -> Callable[[Tensor], Tensor]:
    if not 0 < share <= 1:
        raise UsageError(f"crop:{share:g}: give the least share of the steps, above 0 up to 1")
    return partial(window, share=share)


def _gaps(share: float) -> Callable[[Tensor], Tensor]:
    _check("steps", share)
    return partial(hide, share=share)


def _check(name: str, share: float) -> None:
    if not share < 1:
        raise UsageError(f"{name}:{share:g} leaves nothing: give a share below 1")


SEQUENCE_STEPS: dict[str, Callable[[float], Callable[[Tensor], Tensor]]] = {"crop": _windows, "steps": _gaps}
