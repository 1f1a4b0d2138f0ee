"""Norms as text: which one, its arguments, and where it stands: `batch`, `batch:eps=0.001,after,input,output`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from reuse.errors import UsageError
from reuse.menus import lookup
from reuse.nn.weight_norms import WEIGHT_NORMS

NONE = "none"
PLACES = ("after", "input", "output")
ALIASES = {"lrn": "local_response"}


@dataclass(frozen=True)
class Norm:
    """Which norm, and where it stands.

    Attributes:
        name: a name of the menus in `norms` or `weight_norms`.
        after: behind the activation of each hidden layer; otherwise in front of it (Ioffe and Szegedy 2015).
        input: on the inputs too, where it does what standardising them would.
        output: on the outputs (logits) too.
        arguments: of the norm, by name.
    """

    name: str
    after: bool = False
    input: bool = False
    output: bool = False
    arguments: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_layer(self) -> bool:
        """Whether it is a layer behind the linear part; weight and spectral norm are of that part's weights."""
        return self.name not in WEIGHT_NORMS

    @property
    def within(self) -> "Norm":
        """The same norm on hidden layers alone."""
        return replace(self, input=False, output=False)

    def __str__(self) -> str:
        """Return the text that `parse_norm` takes."""
        places = [place for place in PLACES if getattr(self, place)]
        tail = [*(f"{name}={value:g}" for name, value in self.arguments.items()), *places]
        return f"{self.name}:{','.join(tail)}" if tail else self.name


def parse_norm(text: str | None) -> Norm | None:
    """Return the norm in `text`, None for None and `none`.

    Args:
        text: a name; behind a colon arguments such as `eps=0.001` (see `norms.ARGUMENTS`) and places, in any order.

    Raises:
        UnknownNameError: a place that is none of the three.
        UsageError: an argument that is no number, or a place where a norm of weights cannot stand.
    """
    if text is None or text.strip() == NONE:
        return None
    name, _, tail = text.partition(":")
    parts = [part.strip() for part in tail.split(",") if part.strip()]
    arguments = dict(_argument(part, text) for part in parts if "=" in part)
    places = [part for part in parts if "=" not in part]
    for place in places:
        lookup(dict.fromkeys(PLACES), place, "place of a norm")
    norm = Norm(ALIASES.get(name.strip(), name.strip()), **dict.fromkeys(places, True), arguments=arguments)
    if not norm.is_layer and (norm.after or norm.input or arguments):
        raise UsageError(
            f"norm {text!r}: a {norm.name} norm is of a layer's weights, so it takes no arguments and stands nowhere "
            f"but on layers: write {norm.name!r}, or '{norm.name}:output' for the output layer too"
        )
    return norm


def _argument(part: str, text: str) -> tuple[str, float]:
    name, _, value = part.partition("=")
    try:
        return name.strip(), float(value)
    except ValueError:
        raise UsageError(f"{part!r} in norm {text!r} is no number: write it as in batch:eps=0.001") from None
