"""Raw rows for a trained model: prepared as its run did, and told from rows that are prepared."""

from typing import Any

import torch
from torch import Tensor

from reuse.data.inputs import Inputs
from reuse.data.preprocessing import Preprocessing
from reuse.data.raw import Options
from reuse.data.reading import read
from reuse.data.scales import with_white
from reuse.errors import UsageError
from reuse.runs.plain_rows import plain_rows

PREPARE = "give raw rows to `predict` as an array, which it prepares, or prepare them with its `preprocessing`"
FAR_OUT = 10.0  # times the distance from black to white
FAR = 16.0  # mean square of standardised numbers, which is 1 on the training rows, from which on they are looked at


def prepare(data: Any, preprocessing: Preprocessing) -> Inputs:
    """Return raw rows, of which targets are not looked at, as a run prepared its own.

    Args:
        data: whatever `reuse.load` reads, or rows alone: an array, a data frame, images' files.
        preprocessing: of the run.

    Raises:
        DataError: rows that cannot be read, or that the run was not made for.
    """
    preprocessing = with_white(preprocessing)
    source = read(plain_rows(data, preprocessing), Options(preprocessing=preprocessing, without_targets=True))
    inputs, _ = source.samples.inputs(source.rows, preprocessing)
    return inputs


def refuse_unprepared(rows: Tensor, preprocessing: Preprocessing, shape: tuple[int, ...]) -> None:
    """Raise where rows for a model are plainly not prepared.

    Args:
        rows: `(batch, *shape)`.
        preprocessing: that they should have had.
        shape: of one row; empty: not known.

    Raises:
        UsageError: another shape, whole numbers where none are taken, pixels beyond what is white, or numbers that are
            far from standardised and would be near it if they were.
    """
    of_tokens = preprocessing.num_tokens is not None  # as many a row as they come
    if rows.ndim == 0 or (shape and (rows.ndim != len(shape) + 1 if of_tokens else tuple(rows.shape[1:]) != shape)):
        raise UsageError(f"rows of shape {tuple(rows.shape[1:])}, and the model takes {shape}: {PREPARE}")
    if preprocessing.num_tokens is not None or len(rows) == 0:
        return
    if not rows.is_floating_point():
        raise UsageError(f"rows of {str(rows.dtype).removeprefix('torch.')}, which are not prepared: {PREPARE}")
    beyond = _beyond_white(rows, preprocessing) if preprocessing.kind == "images" else _far(rows, preprocessing)
    if beyond:
        raise UsageError(f"rows with values up to {float(rows.abs().max()):g}, which are not prepared: {PREPARE}")


def _beyond_white(rows: Tensor, preprocessing: Preprocessing) -> bool:
    """Return whether pixels lie ten times as far from black or white as these from each other: noise does not."""
    if preprocessing.signed:
        return False
    mean, std = torch.tensor(preprocessing.mean or (0.0,)), torch.tensor(preprocessing.std or (1.0,))
    black, white = float(((0 - mean) / std).min()), float(((1 - mean) / std).max())
    room = FAR_OUT * (white - black)
    return float(rows.max()) > white + room or float(rows.min()) < black - room


def _far(rows: Tensor, preprocessing: Preprocessing) -> bool:
    if len(preprocessing.mean) != rows.shape[-1]:
        return False
    given = rows.detach().double().cpu()
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in (preprocessing.mean, preprocessing.std))
    as_they_are, if_prepared = given.square().mean(), ((given - mean) / std).square().mean()
    return bool(if_prepared < FAR < as_they_are and if_prepared < as_they_are / 4)
