"""Guarding a cut against inputs that it was not made for: rows of other shapes, other numbers and words."""

from collections.abc import Sequence
from typing import Any, NoReturn

from torch import Tensor, nn

from reuse.errors import CutError
from reuse.layers.structure import leaves


class RowGuard:
    """Hook in front of a prefix that lets those inputs through that have the form of the example's.

    A forward may do something else for another length of a sequence, or for another number, than what was traced.
    """

    def __init__(self, expected: dict[str, Any]):
        self.expected = {name: [_form(leaf) for leaf in leaves(value)] for name, value in expected.items()}

    def __call__(self, prefix: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:  # noqa: ARG002
        """Compare the inputs with the example's.

        Raises:
            CutError: they have another form.
        """
        for name, value in (*zip(self.expected, arguments, strict=False), *keywords.items()):
            given = [_form(leaf) for leaf in leaves(value)]
            if name in self.expected and given != self.expected[name]:
                _refuse(name, given, self.expected[name])


def refuse_shapes(given: Sequence[Tensor], expected: Sequence[tuple[int, ...]]) -> NoReturn:
    """Raise on rows of other shapes than those that a model was cut for.

    Raises:
        CutError: always.
    """
    _refuse("the frontier", [tuple(tensor.shape[1:]) for tensor in given], list(expected))


def _form(leaf: Any) -> Any:
    return tuple(leaf.shape[1:]) if isinstance(leaf, Tensor) else leaf


def _refuse(name: str, given: list[Any], expected: list[Any]) -> NoReturn:
    raise CutError(
        f"the model was cut for {name} of {_listed(expected)} a row, and was given {_listed(given)}: "
        "cut it anew on an example of that form"
    )


def _listed(forms: list[Any]) -> str:
    return ", ".join(map(str, forms))
