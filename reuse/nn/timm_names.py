"""The names of timm's models, read from its files: to import timm takes seconds, and torch before it."""

import importlib.util
import re
from functools import cache
from pathlib import Path

from reuse.errors import UnknownNameError
from reuse.menus import suggest

REGISTERED = re.compile(r"^@register_model\s*\ndef (\w+)\(", re.MULTILINE)


@cache
def timm_names() -> tuple[str, ...]:
    """Return the names of the models that the installed timm registers, in order of the alphabet; none without it."""
    found = importlib.util.find_spec("timm")
    if found is None or found.origin is None:
        return ()
    files = (Path(found.origin).parent / "models").glob("*.py")
    return tuple(sorted(name for file in files for name in REGISTERED.findall(file.read_text(encoding="utf-8"))))


def whole_spec(spec: str) -> str:
    """Return a model's spec with its family: `timm:resnet18` for `resnet18`; any other as it is.

    Raises:
        UnknownNameError: timm has no model of the name behind `timm:`; the message lists the nearest.

    Example:
        >>> whole_spec("resnet18"), whole_spec("mlp:100")
        ('timm:resnet18', 'mlp:100')
    """
    family, _, name = spec.partition(":")
    if family == "timm" and name:
        check_architecture(name)
    bare = re.fullmatch(r"\w+(\.\w+)?", spec)
    return f"timm:{spec}" if bare and spec.partition(".")[0] in timm_names() else spec


def check_architecture(name: str) -> None:
    """Raise where timm has no model of a name, of which a tag of weights may stand behind a dot.

    Raises:
        UnknownNameError: the message lists the nearest.
    """
    known = timm_names()
    if not known or name.partition(".")[0] in known:
        return
    import timm  # it takes older names too, and those that others have added

    if not timm.is_model(name):
        raise UnknownNameError(f"timm has no model {name!r}: {suggest(name, known)}")
