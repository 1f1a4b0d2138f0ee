"""Rows drawn for another split: the very rows of scikit-learn's `train_test_split`, whose import takes a second."""

import numpy as np

Draw = tuple[np.ndarray, np.ndarray]
"""The rest of some rows, and those that were drawn."""


def draw_rows(rows: np.ndarray, count: int, strata: np.ndarray | None, seed: int) -> Draw:
    """Return the rest of `rows` and `count` drawn ones, both in random order.

    Args:
        rows: any rows.
        count: how many to draw, at least one of each stratum.
        strata: a number for each row, whose shares the drawn rows keep; None: all rows are alike.
        seed: of NumPy's older generator, as scikit-learn's `random_state`.
    """
    generator = np.random.RandomState(seed)
    if strata is None:
        order = generator.permutation(len(rows))
        return rows[order[count:]], rows[order[:count]]
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    sizes = np.array([len(some) for some in members])
    num_rest = _shares(sizes, len(rows) - count, generator)
    num_drawn = _shares(sizes - num_rest, count, generator)
    rest, drawn = list[np.ndarray](), list[np.ndarray]()
    for some, kept, taken in zip(members, num_rest, num_drawn, strict=True):
        shuffled = some[generator.permutation(len(some))]
        rest.append(shuffled[:kept])
        drawn.append(shuffled[kept : kept + taken])
    return rows[generator.permutation(np.concatenate(rest))], rows[generator.permutation(np.concatenate(drawn))]


def _shares(sizes: np.ndarray, total: int, generator: np.random.RandomState) -> np.ndarray:
    """Return how many of each stratum make `total`: the nearest to equal shares, ties decided by lot."""
    exact = sizes / sizes.sum() * total
    shares = np.floor(exact)
    lacking = int(total - shares.sum())
    for remainder in np.unique(exact - shares)[::-1]:
        if lacking <= 0:
            break
        (tied,) = np.nonzero(exact - np.floor(exact) == remainder)
        chosen = generator.choice(tied, size=min(len(tied), lacking), replace=False)
        shares[chosen] += 1
        lacking -= len(chosen)
    whole: np.ndarray = shares.astype(np.int64)
    return whole
