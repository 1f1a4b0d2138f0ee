"""Exchange of the norms or activations of any model, timm's and users' too, for those of one kind."""

from dataclasses import dataclass

from torch import nn

from reuse.errors import UsageError
from reuse.nn.activations import build_activation
from reuse.nn.norm_replacing import find_norms, own_tensors, replacement
from reuse.nn.norm_specs import parse_norm

# Found by the names of their classes, so that those of timm and of users count too.
RECTIFIERS = frozenset({
    "ReLU", "ReLU6", "LeakyReLU", "RReLU", "PReLU", "ELU", "CELU", "SELU", "GELU", "GELUTanh", "QuickGELU", "SiLU",
    "Swish", "SwishMe", "Mish", "MishMe", "Hardswish", "HardSwish", "HardSwishMe", "HardMish", "HardMishMe", "Softplus",
})  # fmt: skip
SQUASHERS = frozenset({
    "Sigmoid", "Tanh", "Softsign", "LogSigmoid", "Hardsigmoid", "HardSigmoid", "HardSigmoidMe", "Hardtanh",
})  # fmt: skip
NOTES = "exchanges_made"  # the attribute of a model that keeps what was exchanged in it


@dataclass(frozen=True)
class Exchange:
    """Layers of a model that were exchanged for others.

    Attributes:
        kind: "norm" or "activation".
        name: what the layers are now.
        replaced: names of the layers.
        kept: names, in the model as it was, of tensors whose values went into the new layers.
        discarded: names, in the model as it was, of tensors whose values are gone: weights and running statistics.
    """

    kind: str
    name: str
    replaced: tuple[str, ...]
    kept: tuple[str, ...] = ()
    discarded: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """The same in one sentence."""
        shown = ", ".join(self.replaced[:3]) + (", …" if len(self.replaced) > 3 else "")
        said = f"{len(self.replaced)} {self.kind} layers exchanged for {self.name} ({shown})"
        kept = f"; kept: their {_last_parts(self.kept)}" if self.kept else ""
        return said + kept + (f"; discarded: their {_last_parts(self.discarded)}" if self.discarded else "")


def exchange_norms(model: nn.Module, norm: str) -> Exchange:
    """Put norms of one kind in place of all norms of `model`, in place.

    A norm sees the same inputs as the one before: maps, vectors, or features in the last place (the norms of
    transformers; there group norm is of each token by itself). Weight and bias of each feature are kept, running
    statistics only from batch norm to batch norm. An activation inside a norm (timm's `BatchNormAct2d`) stays.

    Args:
        model: any; its norms are found where they are modules.
        norm: such as `group`, `batch:eps=0.001` (see `norm_specs.parse_norm`), without places.

    Raises:
        UsageError: no norm is found, or one of them cannot be exchanged for this kind.

    Example:
        >>> exchange_norms(nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8)), "group").discarded
        ('1.running_mean', '1.running_var', '1.num_batches_tracked')
    """
    wanted = parse_norm(norm)
    if wanted is None or not wanted.is_layer or wanted != wanted.within or wanted.after:
        raise UsageError(
            f"norm {norm!r} cannot take the place of another: give a layer's name, without places, such as group"
        )
    found = find_norms(model)
    _check_found(model, [one.name for one in found], "norm")
    kept: list[str] = []
    discarded: list[str] = []
    replacements: dict[int, nn.Module] = {}
    for one in found:  # all are made before any is replaced: a refusal leaves the model as it was
        if id(one.module) not in replacements:
            replacements[id(one.module)], carried = replacement(one, wanted)
            own = own_tensors(one.module)
            kept += [f"{one.name}.{name}" for name in own if name in carried]
            discarded += [f"{one.name}.{name}" for name in own if name not in carried]
    for one in found:
        model.set_submodule(one.name, replacements[id(one.module)])
    return Exchange("norm", norm, tuple(one.name for one in found), tuple(kept), tuple(discarded))


def exchange_activations(model: nn.Module, activation: str) -> Exchange:
    """Put `activation` in place of the activations of `model`, in place.

    Sigmoids and their like stay where the model has others: there they are gates, or its outputs.

    Args:
        model: any; its activations are found where they are modules.
        activation: a name of `activations.ACTIVATIONS`, with arguments if wanted.

    Raises:
        UsageError: no activation is found.

    Example:
        >>> exchange_activations(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), "silu").replaced
        ('1',)
    """
    build_activation(activation)
    modules = [(name, m) for name, m in model.named_modules(remove_duplicate=False) if name]
    chosen = [(name, m) for name, m in modules if type(m).__name__ in RECTIFIERS]
    chosen = chosen or [(name, m) for name, m in modules if type(m).__name__ in SQUASHERS]
    _check_found(model, [name for name, _ in chosen], "activation")
    fresh = {id(old): build_activation(activation).train(old.training) for _, old in chosen}
    like = next(model.parameters(), None)
    for name, old in chosen:
        new = fresh[id(old)]
        model.set_submodule(name, new if like is None else new.to(like.device, like.dtype))
    discarded = dict.fromkeys(f"{name}.{own}" for name, old in chosen for own, _ in old.named_parameters())
    return Exchange("activation", activation, tuple(name for name, _ in chosen), (), tuple(discarded))


def exchange(model: nn.Module, norm: str | None, activation: str | None) -> None:
    """Exchange what is not None, and keep on the model what was done (see `exchange_notes`)."""
    made = [exchange_norms(model, norm)] if norm is not None else []
    made += [exchange_activations(model, activation)] if activation is not None else []
    if made:
        setattr(model, NOTES, tuple(made))


def exchange_notes(model: nn.Module) -> list[str]:
    """Return in one sentence each what `reuse.build` exchanged in `model`, and what weights that discarded."""
    return [made.note for made in getattr(model, NOTES, ())]


def _check_found(model: nn.Module, names: list[str], kind: str) -> None:
    if not names:
        raise UsageError(
            f"no {kind} layer to exchange is in {type(model).__name__}: what its forward calls as a function cannot be "
            f"found; leave {kind} out, or make its {kind}s modules"
        )
    for name in names:
        parent = model.get_submodule(name.rpartition(".")[0])
        if isinstance(parent, nn.TransformerEncoderLayer):
            raise UsageError(
                f"{name} is inside torch's TransformerEncoderLayer, which computes its {kind} by itself when it "
                f"evaluates: leave {kind} out, or give that layer another"
            )


def _last_parts(names: tuple[str, ...]) -> str:
    return ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in names))
