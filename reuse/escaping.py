"""Text from files as it may be shown: nothing in it moves a cursor, forges a line or computes in a spreadsheet."""

import re

JOINERS = "\u200c\u200d"  # letters of Persian and parts of emoji are joined and parted by these
SIGNS = ("=", "+", "-", "@")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def escaped(text: str, keep: str = "") -> str:
    r"""Return a text in which what is not printable stands as Python would write it.

    Args:
        text: any, such as the name of a file, a column or a class.
        keep: characters that stay.

    Example:
        >>> escaped("cat\nerror: \x1b[2J")
        'cat\\nerror: \\x1b[2J'
    """
    if text.isprintable():
        return text
    kept = JOINERS + keep
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str, most: int) -> str:
    """Return a text of at most about `most` characters: of a longer one the beginning, and the end, with its advice.

    Example:
        >>> shortened("0123456789" * 3, 12)
        '01234567 … (18 characters) … 6789'
    """
    if len(text) <= most:
        return text
    end = most // 3
    return f"{text[: most - end]} … ({len(text) - most} characters) … {text[-end:]}"


def beginning(name: object) -> str:
    """Return the beginning of a name that no file system takes, as it is too long."""
    return f"{str(name)[:60]}…"


def spreadsheet_cell(text: str) -> str:
    """Return a text that a spreadsheet shows and does not compute: in front of what begins like a formula stands a `'`.

    Numbers stay as they are. https://owasp.org/www-community/attacks/CSV_Injection

    Example:
        >>> spreadsheet_cell("=1+1"), spreadsheet_cell("-1.5"), spreadsheet_cell("cat")
        ("'=1+1", '-1.5', 'cat')
    """
    shown = escaped(text)
    is_formula = shown.lstrip().startswith(SIGNS) and not NUMBER.fullmatch(shown)
    return f"'{shown}" if is_formula else shown
