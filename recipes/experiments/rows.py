"""Splits as experiments describe them."""

import numpy as np

from reuse.data.loading import load
from reuse.errors import DataError


def last_held_out(spec: str, fraction: float = 0.1, *, flat: bool = False) -> dict[str, np.ndarray]:
    """Return the arrays of a data set whose last training rows are its validation rows, for `reuse.load` and others.

    Args:
        spec: a data spec; of images.
        fraction: share of the training rows that is held out, as Keras' `validation_split` takes them.
        flat: images become vectors, which `reuse.load` standardises pixel by pixel over the rows to train on; otherwise
            they stay images in [0, 1].

    Raises:
        DataError: the data set does not fit into memory, or brings no targets.
    """
    whole = load(spec, valid_fraction=0.0)
    arrays: dict[str, np.ndarray] = {}
    for part in ("train", "test"):
        split = getattr(whole, part)
        inputs = split.inputs.resident()
        if inputs is None or split.targets is None:
            raise DataError(f"{spec} does not fit into memory or has no targets: holding out its last rows needs both")
        arrays |= {f"x_{part}": inputs.flatten(1).numpy() if flat else inputs.numpy()}
        arrays |= {f"y_{part}": split.targets.numpy()}
    kept = round(len(arrays["x_train"]) * (1 - fraction))
    for role in "xy":
        arrays[f"{role}_train"], arrays[f"{role}_valid"] = np.split(arrays[f"{role}_train"], [kept])
    return arrays
