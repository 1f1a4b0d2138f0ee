"""A model drawn as a tree of its layers, with the cut between what is computed once and what trains."""

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import Any

from reuse.cli.printing import table

CUT = "✂"
ABOVE, BELOW = "prefix", "suffix"


def tree(layers: Sequence[Any], cut: str, model: str) -> str:
    """Return the layers as a table whose first column is a tree.

    Args:
        layers: those of an `Inspection`, in order of registration.
        cut: what crosses it, in words; empty where there is none.
        model: the name of the root.
    """
    known = {layer.name: layer for layer in layers}
    rows, names = [{"layer": model}], [""]
    for branch, name in _branches([layer.name.split(".") for layer in layers]):
        rows.append({"layer": f"{branch}{name}", **(_cells(known[name], bool(cut)) if name in known else {})})
        names.append(name)
    head, *lines = table(rows).splitlines()
    sides = [known[name].part if name in known else "" for name in names]
    return "\n".join([head, *_with_cuts(lines, names, sides, cut)])


def _branches(paths: Sequence[list[str]], depth: int = 0, before: str = "") -> Iterator[tuple[str, str]]:
    """Yield what stands before each name, and the name, that of a layer or of one around several."""
    groups = [(key, list(group)) for key, group in groupby(paths, key=lambda path: path[: depth + 1])]
    for number, (key, group) in enumerate(groups, 1):
        is_last = number == len(groups)
        yield before + ("└── " if is_last else "├── "), ".".join(key)
        below = [path for path in group if len(path) > depth + 1]
        yield from _branches(below, depth + 1, before + ("    " if is_last else "│   "))


def _with_cuts(lines: Sequence[str], names: Sequence[str], sides: Sequence[str], cut: str) -> Iterator[str]:
    """Yield the lines, and one before each layer that trains, or what begins with it, behind one computed once."""
    told = [number for number, side in enumerate(sides) if side]
    ends = [b for a, b in pairwise(told) if sides[a] == ABOVE and sides[b] == BELOW]
    for place, number in enumerate(ends):
        while names[number - 1] and names[number].startswith(f"{names[number - 1]}."):
            number -= 1
        ends[place] = number
    for number, line in enumerate(lines):
        if cut and number in ends:
            yield f"{CUT}── cut: above, computed once; below, trains; across: {cut}"
        yield line


def _cells(layer: Any, is_cut: bool) -> dict[str, Any]:
    shape = "" if layer.shape is None else "×".join(map(str, layer.shape)) or "1"
    cells = {"type": layer.type, "parameters": layer.parameters, "shape": shape, "bytes": layer.bytes}
    return cells | {"frozen": layer.frozen} | ({"part": layer.part} if is_cut else {})
