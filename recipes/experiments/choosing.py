"""The best of several trainings, by their validation rows."""

from collections.abc import Iterable

import reuse


def best_validated(results: Iterable[reuse.Result]) -> reuse.Result:
    """Return the result with the lowest validation loss, the first of those that are equal."""
    return min(results, key=lambda result: result.metrics["valid"]["loss"])
