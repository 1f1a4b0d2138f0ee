"""Settings that carry arguments: `rmsprop:alpha=0.9,eps=1e-10`, `1cycle:0.3,phases=3`."""

from typing import Any

from reuse.errors import UsageError

WORDS: dict[str, Any] = {"true": True, "false": False, "none": None}
"""Words that are values; every other word stays one."""


def split_arguments(text: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Return the name, the arguments by position and the arguments by keyword of a setting.

    Args:
        text: `name`, or `name:value,key=value,...`. A value that reads as a whole number is an int, as another number
            a float; `true`, `false` and `none` are Python's; `a/b` is a tuple; any other word stays one.

    Raises:
        UsageError: a keyword is given twice, or a position follows a keyword.

    Example:
        >>> split_arguments("adam:betas=0.9/0.99,amsgrad=true")
        ('adam', [], {'betas': (0.9, 0.99), 'amsgrad': True})
    """
    name, _, tail = text.partition(":")
    positions: list[Any] = []
    keywords: dict[str, Any] = {}
    for part in (part.strip() for part in tail.split(",") if part.strip()):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals and keywords:
            raise UsageError(f"{text!r} gives {part!r} after a key=value: put what has no key first")
        if key in keywords:
            raise UsageError(f"{text!r} gives {key} twice: give it once")
        if equals:
            keywords[key] = _value(value)
        else:
            positions.append(_value(part))
    return name.strip(), positions, keywords


def _value(text: str) -> Any:
    if "/" in text:
        return tuple(_value(part.strip()) for part in text.split("/"))
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return WORDS.get(text.lower(), text)
