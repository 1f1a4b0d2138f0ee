"""Position embeddings of one image size for another, resampled as timm does when it loads weights."""

import math
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from reuse.nn.outputs import is_timm

# What embeddings of positions are called, at the end of a name.
POSITIONS = (
    "pos_embed", "pos_embedding", "pos_embeds", "position_embedding", "position_embeddings", "positional_embedding",
    "position_embedding.weight", "position_embeddings.weight",
)  # fmt: skip
MOST_PREFIX_TOKENS = 5  # of class, distillation and registers


def resampled(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return those of a source's tensors that belong to another grid of patches, as the model has it.

    Embeddings of absolute positions are resampled by timm's `resample_abs_pos_embed`; what else a family of timm has
    (tables of relative positions, kernels of patches) by the function with which it loads weights.

    Args:
        state: the source's tensors, by the model's names.
        model: freshly built.
    """
    homes = model.state_dict()
    misfits = {name for name, tensor in state.items() if name in homes and homes[name].shape != tensor.shape}
    found = {}
    for name in misfits:
        new = _positions(state[name], homes[name], model) if name.endswith(POSITIONS) else None
        if new is not None:
            found[name] = new
    return found | _as_timm_loads(state, model, homes, misfits - found.keys())


def _positions(old: Tensor, home: Tensor, model: nn.Module) -> Tensor | None:
    """Return embeddings `(1, tokens, features)` or `(tokens, features)` for a model's tokens; None: these are none."""
    from timm.layers import resample_abs_pos_embed  # heavy, and of use here alone

    if old.dim() != home.dim() or old.dim() not in (2, 3) or old.shape[-1] != home.shape[-1]:
        return None
    before, after = old.shape[-2], home.shape[-2]
    for tokens in (getattr(model, "num_prefix_tokens", 1), *range(MOST_PREFIX_TOKENS + 1)):
        grid = _grid(model, after - tokens)
        if grid is not None and _side(before - tokens) is not None:
            rows = old if old.dim() == 3 else old[None]
            new: Tensor = resample_abs_pos_embed(rows, list(grid), num_prefix_tokens=tokens)
            return new if old.dim() == 3 else new[0]
    return None


def _grid(model: nn.Module, patches: int) -> tuple[int, int] | None:
    """Return the rows and columns of patches: as the model says, else those of a square."""
    size = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    if size is not None and math.prod(size) == patches:
        return (int(size[0]), int(size[1]))
    side = _side(patches)
    return None if side is None else (side, side)


def _side(patches: int) -> int | None:
    side = math.isqrt(patches) if patches > 0 else 0
    return side if side and side * side == patches else None


def _as_timm_loads(
    state: Mapping[str, Tensor], model: nn.Module, homes: Mapping[str, Tensor], misfits: set[str]
) -> dict[str, Tensor]:
    """Return what timm's own loading makes of tensors that do not fit."""
    load: Callable[..., Any] | None = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if not misfits or load is None or not is_timm(model):
        return {}
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of timm's way of computing, which is nobody's business here
            filtered = load(dict(state), model)
    except Exception:  # noqa: BLE001 - written for timm's own files; what it cannot take stays as it is
        return {}
    return {
        name: filtered[name]
        for name in misfits
        if isinstance(filtered.get(name), Tensor) and filtered[name].shape == homes[name].shape
    }
