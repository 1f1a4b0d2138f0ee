"""Bytes, seconds and counts as people write them, and the words that go with a count."""

import math
import re

from reuse.errors import UsageError

PLAIN = (1e-4, 1e15)
"""Numbers between these are written out; others have an exponent."""
UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def parse_bytes(text: str) -> int:
    """Return the bytes that a text such as `500MB` or `2 GiB` means.

    Raises:
        UsageError: it means none.

    Example:
        >>> parse_bytes("2GB")
        2000000000
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)", text.strip())
    unit = match.group(2).upper() if match else ""
    if match is None or unit not in UNITS:
        raise UsageError(f"{text!r} is no number of bytes: write for example 500MB, 2GB or 1.5GiB")
    return int(float(match.group(1)) * UNITS[unit])


def format_bytes(count: float) -> str:
    """Return bytes in the unit that makes them readable.

    Example:
        >>> format_bytes(2048)
        '2.0 KB'
    """
    if count < 1000:
        return f"{count:.0f} bytes"
    for unit in ("KB", "MB", "GB"):
        count /= 1000
        if count < 1000:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"


def in_digits(value: float, digits: int = 5) -> str:
    """Return a number with some digits that count, written out as tables have it, whole numbers wholly.

    Example:
        >>> in_digits(475000.0), in_digits(-122.2512), in_digits(169723.4), in_digits(1.5e-9)
        ('475000', '-122.25', '169723', '1.5e-09')
    """
    if not PLAIN[0] <= abs(value) < PLAIN[1]:
        return f"{value:.{digits}g}"
    written = f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"
    return written.rstrip("0").rstrip(".") if "." in written else written


def format_epochs(count: int) -> str:
    """Return a number of epochs with its noun.

    Example:
        >>> format_epochs(1)
        '1 epoch'
    """
    return format_count(count, "epoch")


def format_count(count: int, noun: str) -> str:
    """Return a number of things with their noun.

    Example:
        >>> format_count(1, "prefix"), format_count(2, "prefix"), format_count(2, "category")
        ('1 prefix', '2 prefixes', '2 categories')
    """
    return f"{count} {noun if count == 1 else _plural(noun)}"


def verb_of(count: int, one: str, several: str) -> str:
    """Return the form of a verb that belongs to a number of things.

    Example:
        >>> verb_of(1, "is", "are")
        'is'
    """
    return one if count == 1 else several


def _plural(noun: str) -> str:
    if noun.endswith(("x", "s")):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeiou" else f"{noun}s"


def format_seconds(seconds: float) -> str:
    """Return a duration in the unit that makes it readable.

    Example:
        >>> format_seconds(0.25)
        '250 ms'
    """
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds == 0 or seconds >= 0.0005 else "<1 ms"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
