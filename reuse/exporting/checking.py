"""The check of an export: what was written is read back and predicts what the run predicts."""

import torch
from torch import Tensor

from reuse.errors import ReuseError
from reuse.exporting.exportable import Exportable, Predict
from reuse.units import format_count

TOLERANCE = 1e-4  # of a probability, or of a standard deviation of the targets
BATCHES = (1, 3, 8)


def largest_difference(source: Exportable, exported: Predict) -> float:
    """Return by how much predictions of an export and of its run differ at most, in batches of several sizes.

    Args:
        source: the run.
        exported: what was read back.

    Raises:
        ReuseError: they differ by more than the tolerance.
    """
    found = 0.0
    for count in BATCHES:
        rows = source.examples.drawn(count, seed=count)
        with torch.inference_mode():
            expected = source.served(*rows)
        difference = _difference(exported(rows), expected, source)
        if not difference <= TOLERANCE:  # NaN is none
            raise ReuseError(
                f"the export is not kept: on {format_count(count, 'row')} it predicts otherwise than the run, "
                f"by {difference:.2g} and "
                f"not {TOLERANCE:g} at most; export --to safetensors keeps the weights themselves"
            )
        found = max(found, difference)
    return found


def _difference(exported: Tensor, expected: Tensor, source: Exportable) -> float:
    if exported.shape != expected.shape:
        return float("nan")
    scale = source.model.target_scale
    units = expected.new_tensor(scale.std) if scale else expected.new_tensor(1.0)
    return float(((exported.to(expected.dtype) - expected).abs() / units).max())
