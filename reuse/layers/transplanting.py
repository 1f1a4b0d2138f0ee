"""Carrying the weights of one model into another, by name."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from reuse.errors import UsageError
from reuse.layers.selecting import match_names, split_patterns
from reuse.listing import some_of
from reuse.menus import suggest

NUMBERS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}


@dataclass(frozen=True)
class Transplant:
    """Report on a transplant: the fate of every tensor of the source and of the model.

    Layers are named by their uppermost module of which the same is true as a whole (`layer1`, `hidden2`).

    Attributes:
        restored: layers of the model that now hold the source's tensors.
        fresh: layers of the model that are as they were.
        left_behind: names of the source's tensors that were not used.
        adapted: names of the model's tensors that were fitted to another number of input channels; restored too.
        misfits: tensors of one name and two shapes, in words with both shapes; fresh and left behind too.
    """

    restored: tuple[str, ...]
    fresh: tuple[str, ...]
    left_behind: tuple[str, ...]
    adapted: tuple[str, ...] = ()
    misfits: tuple[str, ...] = ()


def transplant(
    state: Mapping[str, Tensor],
    model: nn.Module,
    *,
    restore: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    adapt_channels: bool = True,
) -> Transplant:
    """Copy tensors of `state`, parameters and buffers, into those of the same name in `model`, in place.

    A bias whose weight does not fit stays fresh too: it belongs to other inputs.

    Args:
        state: the source's tensors by qualified name.
        model: keeps its dtypes, its devices and what requires a gradient.
        restore: patterns on the source's names (see `selecting`); empty restores everything that fits.
        rename: prefixes of the source's names and what stands in their place in the model, `{"backbone": ""}`;
            whole parts between dots, the longest first.
        adapt_channels: fit the first convolution's weights to another number of input channels.

    Raises:
        UsageError: a pattern or prefix matches nothing, a pattern restores nothing, a pattern asks for a tensor of
            another shape, two tensors would go to one place, or nothing fits at all.

    Example:
        >>> old, new = build("mlp:20,10", (4,), 3), build("mlp:20,10", (4,), 5)
        >>> transplant(old.state_dict(), new).fresh
        ('output',)
    """
    homes = model.state_dict(keep_vars=True)
    places = places_of(state, rename or {})
    wanted = set(match_names(state, restore)) if restore else set(state)
    grafts = {name: home for name, home in places.items() if name in wanted and home in homes}
    _check_one_source_each(grafts)
    fitted = {name: _fit(state[name], homes[home], home, model, adapt_channels) for name, home in grafts.items()}
    misfits = tuple(_shapes(home, state[name], homes[home]) for name, home in grafts.items() if fitted[name] is None)
    if restore and misfits:
        raise UsageError(f"asked for, but of another shape: {'; '.join(misfits)}: leave them out of restore")
    weightless = {grafts[name].removesuffix("weight") + "bias" for name, tensor in fitted.items() if tensor is None}
    used = {name: tensor for name, tensor in fitted.items() if tensor is not None and grafts[name] not in weightless}
    _check_use(used, grafts, places, homes, restore)
    _refuse_codes({name: tensor for name, tensor in used.items() if homes[grafts[name]].is_floating_point()})
    _copy({grafts[name]: tensor for name, tensor in used.items()}, homes)
    restored = _with_tied({grafts[name] for name in used}, homes)
    return Transplant(
        restored=whole_layers(restored, homes),
        fresh=whole_layers(set(homes) - restored, homes),
        left_behind=tuple(name for name in state if name not in used),
        adapted=tuple(grafts[name] for name in used if used[name] is not state[name]),
        misfits=misfits,
    )


def adapt_input_channels(weight: Tensor, num_channels: int) -> Tensor:
    """Return a convolution's weight `(out, in, h, w)` for `num_channels` input channels.

    As timm's `adapt_input_conv`: for one channel the sum over the old ones, which is what a grey image in all of them
    gives; otherwise the old ones in turn, scaled so that inputs of the same size give outputs of the same size.
    """
    if num_channels == 1:
        return weight.sum(dim=1, keepdim=True)
    old = weight.shape[1]
    in_turn = torch.arange(num_channels, device=weight.device) % old
    return weight.index_select(1, in_turn) * (old / num_channels)


def whole_layers(chosen: set[str], names: Iterable[str]) -> tuple[str, ...]:
    """Return `chosen` tensors, said shortly: the uppermost modules of which every tensor in `names` is chosen.

    Example:
        >>> whole_layers({"a.weight", "a.bias", "b.weight"}, ["a.weight", "a.bias", "b.weight", "b.bias"])
        ('a', 'b.weight')
    """
    ordered = list(names)
    every = Counter(parent for name in ordered for parent in _parents(name))
    taken = Counter(parent for name in ordered if name in chosen for parent in _parents(name))
    said = {
        next((parent for parent in _parents(name) if taken[parent] == every[parent]), name): None
        for name in ordered
        if name in chosen
    }
    return tuple(said)


def places_of(state: Mapping[str, Tensor], rename: Mapping[str, str]) -> dict[str, str]:
    """Return where in the model each tensor of a source belongs, by name.

    Raises:
        UsageError: no tensor has a name that is to be changed.
    """
    for old in rename:
        if not any(_is_below(name, old) for name in state):
            layers = whole_layers(set(state), state)
            raise UsageError(f"rename: no layer of the source is called {old!r}: {suggest(old, layers)}")
    return {name: _renamed(name, rename) for name in state}


def _parents(name: str) -> list[str]:
    """Return the names of the modules around a tensor, uppermost first."""
    parts = name.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts))]


def _check_one_source_each(grafts: Mapping[str, str]) -> None:
    twice = [home for home, count in Counter(grafts.values()).items() if count > 1]
    if twice:
        sources = [name for name, home in grafts.items() if home == twice[0]]
        raise UsageError(f"rename sends {' and '.join(sources)} to one place, {twice[0]}: name one of them in restore")


def _refuse_codes(tensors: Mapping[str, Tensor]) -> None:
    """Raise where tensors are codes of numbers, which mean something else without the scales that stand beside them."""
    found = {
        name: str(tensor.dtype).removeprefix("torch.")
        for name, tensor in tensors.items()
        if tensor.dtype not in NUMBERS
    }
    if found:
        listed = some_of([f"{name} ({kind})" for name, kind in found.items()], 3)
        raise UsageError(f"weights in a type for storing alone: {listed}: convert them to float32 or bfloat16 first")


def _renamed(name: str, rename: Mapping[str, str]) -> str:
    for old in sorted(rename, key=len, reverse=True):
        if _is_below(name, old):
            rest = name[len(old) :].removeprefix(".") if old else name
            return ".".join(part for part in (rename[old], rest) if part)
    return name


def _is_below(name: str, prefix: str) -> bool:
    return not prefix or name == prefix or name.startswith(f"{prefix}.")


def _fit(source: Tensor, home: Tensor, name: str, model: nn.Module, adapt_channels: bool) -> Tensor | None:
    """Return what can be copied into `home`: the source itself, a version for its channels, or None."""
    if source.shape == home.shape:
        return source
    same_but_channels = source.dim() == home.dim() == 4 and _without_channels(source) == _without_channels(home)
    if adapt_channels and same_but_channels and name == _first_conv(model):
        return adapt_input_channels(source, home.shape[1])
    return None


def _without_channels(weight: Tensor) -> tuple[int, ...]:
    return (weight.shape[0], *weight.shape[2:])


def _first_conv(model: nn.Module) -> str | None:
    """Return the name of the first convolution's weight, None where its channels do not see all inputs."""
    convs = ((name, module) for name, module in model.named_modules() if isinstance(module, _ConvNd))
    name, conv = next(convs, (None, None))
    return None if conv is None or conv.groups > 1 else f"{name}.weight" if name else "weight"


def _shapes(home: str, source: Tensor, target: Tensor) -> str:
    return f"{home} is {tuple(source.shape)} in the source and {tuple(target.shape)} in the model"


def _check_use(
    used: Mapping[str, Tensor],
    grafts: Mapping[str, str],
    places: Mapping[str, str],
    homes: Mapping[str, Tensor],
    restore: Sequence[str],
) -> None:
    """Raise unless something is restored: by each pattern, where there are patterns."""
    layers = whole_layers(set(homes), homes)
    if not used and not restore:
        fits = "only tensors of other shapes" if grafts else "no tensor of the same name"
        theirs = whole_layers(set(places), places)
        if not theirs:
            raise UsageError("the source has no layers but its output layer, which is trained anew: nothing is reused")
        raise UsageError(
            f"nothing of the source fits: the model has {fits}. Layers of the source: {', '.join(theirs)}; "
            f"of the model: {', '.join(layers)}"
        )
    for pattern in split_patterns(restore):
        matched = [] if pattern.startswith("!") else match_names(places, [pattern])
        if matched and not any(name in used for name in matched):
            home = whole_layers({places[name] for name in matched}, places.values())[0]
            raise UsageError(f"pattern {pattern!r} restores nothing: the model has no {home}: {suggest(home, layers)}")


@torch.no_grad()
def _copy(tensors: Mapping[str, Tensor], homes: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        homes[name].copy_(tensor)


def _with_tied(restored: set[str], homes: Mapping[str, Tensor]) -> set[str]:
    """Return `restored` and the other names of the same tensors."""
    filled = {id(homes[name]) for name in restored}
    return {name for name, tensor in homes.items() if id(tensor) in filled}
