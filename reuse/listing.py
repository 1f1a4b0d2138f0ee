"""Names in a line of text."""

from collections.abc import Sequence


def some_of(names: Sequence[str], most: int, separator: str = ", ") -> str:
    """Return names in words: the first `most`, and how many more there are."""
    more = len(names) - most
    return separator.join(names[:most]) + (f" and {more} more" if more > 0 else "")
