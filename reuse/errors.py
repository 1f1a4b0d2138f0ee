"""The error family: every message says what was given, what was expected and what to do.

The command line prints the message of a `ReuseError` and leaves with its `exit_code`; nothing else is caught there.
"""

from reuse.escaping import escaped, shortened

MOST_CHARACTERS = 4000  # of a message, which may quote a cell of a table, or list the arrays of a file


class ReuseError(Exception):
    """Anything that `reuse` refuses or cannot do."""

    exit_code = 1

    def __str__(self) -> str:
        """Return the message; names in it that hold escape sequences move no cursor, and long ones are cut short."""
        return escaped(shortened(super().__str__(), MOST_CHARACTERS), keep="\n\t")


class UsageError(ReuseError):
    """A setting, name, pattern or spec that cannot be taken as given."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that a menu does not hold; the message lists the nearest names."""


class DataError(ReuseError):
    """Data that cannot be read or cannot be trained on; the message names the file, row or column."""

    exit_code = 2


class UnusableImagesError(DataError):
    """Images that are broken, too large, or of another shape than the others; the message names them."""


class RunError(ReuseError):
    """A run folder or weights file that is missing, damaged or of another version."""

    exit_code = 2


class CutError(ReuseError):
    """A model that cannot be cut into prefix and suffix; the message says why, and training goes on uncached."""


class CacheError(ReuseError):
    """An activation cache that is damaged, or a place where none can be written."""
