"""The names of timm's models, read from its files: to import timm takes seconds, and torch before it."""

import importlib.util
import re
from functools import cache
from pathlib import Path

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

    Example:
        >>> whole_spec("resnet18"), whole_spec("mlp:100")
        ('timm:resnet18', 'mlp:100')
    """
    bare = re.fullmatch(r"\w+(\.\w+)?", spec)
    return f"timm:{spec}" if bare and spec.partition(".")[0] in timm_names() else spec
