"""Rows on which a model is compared with its cut: no two alike, and such that what mixes them shows.

The first rows, on which a model is observed, hold no extreme of the batch: a maximum over it moves with the others. Of
floating-point inputs one row is loud; whole numbers and masks cannot be made so, since they count or choose something,
and where all rows are the same (sequences of one length, nothing padded) some are made smaller, or larger than 1.
"""

import torch
from torch import Tensor, nn

from reuse.layers.example import Example
from reuse.layers.parameter_writes import written_parameters
from reuse.layers.preserving import unchanged_state

LOUD_ROW = 2  # the first row that only the larger batches of a check hold: what mixes rows must move with it


def varied_rows(model: nn.Module, example: Example, rows: int) -> Example:
    """Return `rows` rows, made of those given where they are too few; with other numbers where the model takes them.

    With equal rows, or rows of one size, a mean or a maximum over the batch would not show.
    """
    whole, given = _varied(example, rows, others=True), _varied(example, rows, others=False)
    unchanged = all(map(torch.equal, whole.tensors, given.tensors))  # as floating-point numbers are
    return whole if unchanged or _takes(model, whole) else given


def lone_rows(example: Example) -> list[int]:
    """Return rows that are to be compared alone: the first, and extremes of whole numbers and masks."""
    found = {0}
    for key in _keys(example):
        found |= {int(key.argmin()), int(key.argmax())}
    return sorted(found)


def _varied(example: Example, rows: int, others: bool) -> Example:
    whole = example.map(lambda tensor: _distinct(tensor, rows, others))
    return whole.rows(_extremes_late(whole, rows)).map(_with_loud_row)


def _takes(model: nn.Module, example: Example) -> bool:
    with unchanged_state(model), written_parameters(model), torch.no_grad():
        try:
            example.copy().call(model)
        except Exception:  # noqa: BLE001 - a user's forward raises anything
            return False
    return True


def _distinct(tensor: Tensor, rows: int, others: bool) -> Tensor:
    repeats = (rows + len(tensor) - 1) // len(tensor)
    copies = tensor.repeat(repeats, *[1] * (tensor.dim() - 1))[:rows].clone()
    for row in range(1, rows):
        if any(torch.equal(copies[row], copies[other]) for other in range(row)):
            copies[row] = _altered(copies[row], row, others)
    return copies


def _with_loud_row(tensor: Tensor) -> Tensor:
    if tensor.is_floating_point():
        tensor[LOUD_ROW] *= 3
    return tensor


def _altered(row: Tensor, number: int, others: bool) -> Tensor:
    if row.is_floating_point():
        steps = torch.arange(row.numel(), device=row.device, dtype=row.dtype).reshape(row.shape)
        return row + (row.abs().mean() + 0.1) * torch.sin((steps + 1) * number)
    if not others or row.is_complex() or not row.numel() or (row != row.flatten()[0]).any():
        return torch.roll(row, number, dims=-1) if row.dim() else row
    if not row.dim():
        return row if row.dtype is torch.bool else _other_number(row, number)
    return _ended(row, number)


def _other_number(value: Tensor, number: int) -> Tensor:
    """Return a smaller number, of 1 or more; in place of what has none a little larger one, or the same."""
    return value - 1 - number % (int(value) - 1) if value > 1 else value + number % 3


def _ended(row: Tensor, number: int) -> Tensor:
    """Return a row of one value whose end is another one: masked, or nothing."""
    ended = row.clone()
    steps = row.shape[-1]
    end = ended[..., max(1, steps - number) :]
    end.copy_(~end if row.dtype is torch.bool else torch.zeros_like(end))
    return ended


def _extremes_late(example: Example, rows: int) -> Tensor:
    """Return an order of the rows in which the first two are no extremes of whole numbers and masks."""
    ends = [(key == key.amin()) | (key == key.amax()) for key in _keys(example)]
    extremes = {row for row in range(rows) if any(end[row] for end in ends)}
    early = [row for row in range(rows) if row not in extremes][:LOUD_ROW]
    return torch.tensor([*early, *(row for row in range(rows) if row not in early)], device=example.tensors[0].device)


def _keys(example: Example) -> list[Tensor]:
    """Return the sum of each row of inputs that are whole numbers or masks and differ in it, `(rows,)` each."""
    whole = (t for t in example.tensors if not t.is_floating_point() and not t.is_complex())
    keys = [tensor.reshape(len(tensor), -1).sum(1) for tensor in whole if tensor.numel()]
    return [key for key in keys if (key != key[0]).any()]
