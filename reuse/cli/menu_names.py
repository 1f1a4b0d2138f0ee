"""Names in the menus of the project, read from their source: importing a menu imports torch, which takes seconds."""

import ast
from functools import cache
from pathlib import Path

import reuse


@cache
def names_in(file: str, menu: str) -> tuple[str, ...]:
    """Return the names in a menu; of one that is parted by tasks those of all.

    Args:
        file: below the package's folder, such as `nn/activations.py`.
        menu: name of a dictionary that is written out there.

    Example:
        >>> names_in("data/catalogue.py", "NAMED")[0]
        'digits'
    """
    assert reuse.__file__ is not None
    tree = ast.parse((Path(reuse.__file__).parent / file).read_text(encoding="utf-8"))
    menus = [
        node.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign | ast.Assign)
        and isinstance(node.value, ast.Dict)
        and any(isinstance(target, ast.Name) and target.id == menu for target in _targets(node))
    ]
    parts = [part for whole in menus for part in whole.values if isinstance(part, ast.Dict)]
    keys = [key for whole in parts or menus for key in whole.keys]
    return tuple(dict.fromkeys(k.value for k in keys if isinstance(k, ast.Constant) and isinstance(k.value, str)))


def _targets(node: ast.AnnAssign | ast.Assign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]
