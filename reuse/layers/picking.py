"""Steps that pick as much as what stands in the rows says: it may be as much for each row of an example by chance."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

Values = Mapping[fx.Node, Any]

PICKING = {"nonzero", "argwhere", "masked_select", "unique", "unique_consecutive", "unique_dim", "_unique2"}
INDEXING = {"getitem", "index"}


def picks_by_value(node: fx.Node, small: Values, large: Values) -> bool:
    """Return whether how much a node returns depends on values: by a mask of rows, or a step like `nonzero`.

    Args:
        node: of a graph.
        small: what its nodes returned on a smaller batch.
        large: what they returned on a larger one.
    """
    if node.op not in ("call_function", "call_method"):
        return False
    name = str(getattr(node.target, "__name__", node.target)).partition(".")[0]
    if name == "where":  # of a mask alone; with two more it chooses number by number
        return len(node.args) + len(node.kwargs) == 1
    if name == "repeat_interleave":
        repeats = node.kwargs.get("repeats", node.args[1] if len(node.args) > 1 else node.args[0])
        return isinstance(repeats, fx.Node)
    indices = node.all_input_nodes if name in INDEXING else []
    return name in PICKING or any(_is_mask(index, small, large) for index in indices if index is not node.args[0])


def _is_mask(node: fx.Node, small: Values, large: Values) -> bool:
    few, many = small.get(node), large.get(node)
    if not (isinstance(few, Tensor) and isinstance(many, Tensor)):
        return False
    return few.dtype in (torch.bool, torch.uint8) and few.shape != many.shape
