"""Names in a line of text."""

from collections.abc import Iterable, Sequence


def some_of(names: Sequence[str], most: int, separator: str = ", ") -> str:
    """Return names in words: the first `most`, and how many more there are."""
    more = len(names) - most
    return separator.join(names[:most]) + (f" and {more} more" if more > 0 else "")


def differ_in_case(names: Iterable[str]) -> str:
    """Return a note where some names are the same but for their letters' case, else nothing: they are kept apart."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(name.lower(), []).append(name)
    alike = next((some for some in found.values() if len(some) > 1), None)
    return "" if alike is None else f"{' and '.join(map(repr, alike))} differ in letter case alone, and are kept apart"
