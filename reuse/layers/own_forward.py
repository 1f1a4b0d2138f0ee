"""The third engine: behind the cut a model's own forward runs, and frozen layers in it give what is stored of them.

It is for forwards that are no graph: loops over rows, branches on values, steps of other libraries. Stored is what
frozen layers make of the model's inputs, and further ones of that, where they are called on nothing else; layers
without parameters may stand between. Tensors that the forward itself does not read are stood in for, and not stored.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from reuse.errors import CutError
from reuse.layers.stand_ins import NumberedTensors, StandIn, with_tensors

MODEL = ""  # the target of the call that stands for a whole forward: torch's name for the model itself

Answer = Callable[[str, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""Function that answers a call of a layer in its place: its name, its forward, arguments and keywords."""


@dataclass(frozen=True)
class Call:
    """A call of a layer that does not train, on inputs of the model and what other such calls returned.

    Attributes:
        name: of the layer.
        given: its arguments and keywords, numbers in place of tensors.
        value: what it returned, the same.
    """

    name: str
    given: Any
    value: Any


@dataclass(frozen=True)
class Slot:
    """The form of a numbered tensor.

    Attributes:
        sizes: its sizes, and whether each is to be multiplied by the number of rows.
        dtype: its type.
    """

    sizes: tuple[tuple[int, bool], ...]
    dtype: torch.dtype

    def hollow(self, rows: int, device: torch.device) -> Tensor:
        """Return a tensor of that form for so many rows, which cannot be read."""
        return StandIn([n * rows if grows else n for n, grows in self.sizes], self.dtype, device, _refuse_reading)

    def rows_of(self, tensor: Tensor) -> int | None:
        """Return of how many rows a tensor is; None where its form does not say."""
        sizes = zip(tensor.shape, self.sizes, strict=True)
        return next((given // size for given, (size, grows) in sizes if grows), None)


class OwnForward(nn.Module):
    """A model's forward behind its frozen layers: takes the tensors that it reads itself, returns what it returns.

    The model is not held as a part: a cut holds what trains under the names that it has in the model.

    Attributes:
        given: the model's arguments and keywords, numbers in place of tensors.
        calls: calls of layers that are answered.
        slots: the forms of the tensors by number: those of the inputs, then what the calls return.
        read: the numbers of those that this is given.
        answered: names of the layers that are not called.
    """

    model: nn.Module

    def __init__(self, model: nn.Module, given: Any, calls: Sequence[Call], slots: Sequence[Slot], read: Sequence[int]):
        super().__init__()
        object.__setattr__(self, "model", model)
        self.given, self.calls, self.slots, self.read = given, tuple(calls), tuple(slots), tuple(read)
        self.answered = frozenset(call.name for call in calls)
        self._answers = {call_key(call.name, call.given): call.value for call in calls}

    def forward(self, *tensors: Tensor) -> Any:
        """Run the forward of the model on the rows that the tensors hold."""
        known, device = dict(zip(self.read, tensors, strict=True)), tensors[0].device
        rows = next(n for at, tensor in known.items() if (n := self.slots[at].rows_of(tensor)) is not None)
        numbered = NumberedTensors(
            known[at] if at in known else slot.hollow(rows, device) for at, slot in enumerate(self.slots)
        )
        arguments, keywords = with_tensors(numbered.tensors.__getitem__, self.given)
        with answered_by(self.model, self.answered, partial(self._answer, numbered)):
            return self.model(*arguments, **keywords)

    def parts(self) -> dict[str, nn.Module | Tensor]:
        """Return what of the model the forward may call and read: modules without answered layers, and tensors."""
        found: dict[str, nn.Module | Tensor] = {}
        for name, module in self.model.named_modules():
            whole = not any(_is_within(answered, name) for answered in self.answered)
            if any(_is_within(name, other) for other in (*self.answered, *found)):
                continue
            if whole:
                found[name] = module
            else:
                own = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
                found |= {f"{name}.{key}".lstrip("."): tensor for key, tensor in own}
        return found

    def frozen_parameters(self) -> list[str]:
        """Return the names of the frozen parameters that the forward computes with itself."""
        answered = self.answered
        named = self.model.named_parameters()
        return [n for n, p in named if not p.requires_grad and not any(_is_within(n, layer) for layer in answered)]

    def _answer(self, numbered: NumberedTensors, name: str, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Return what is stored of a call; compute it where it is asked something else than what was recorded."""
        asked = numbered.places([args, kwargs])
        key = call_key(name, asked)
        if key not in self._answers:
            return forward(*args, **kwargs)
        return with_tensors(numbered.tensors.__getitem__, self._answers[key])


def _is_within(name: str, layer: str) -> bool:
    return not layer or name == layer or name.startswith(f"{layer}.")


@contextmanager
def answered_by(model: nn.Module, names: Collection[str], answer: Answer) -> Iterator[None]:
    """Let calls of these layers be answered inside the block, in place of running their forward."""
    kept = []
    for name in names:
        attributes = vars(model.get_submodule(name))
        kept.append((attributes, attributes.get("forward")))
        attributes["forward"] = _answering(name, model.get_submodule(name).forward, answer)
    try:
        yield
    finally:
        for attributes, forward in kept:
            attributes.pop("forward")
            if forward is not None:
                attributes["forward"] = forward


def _answering(name: str, forward: Callable[..., Any], answer: Answer) -> Callable[..., Any]:
    return lambda *args, **kwargs: answer(name, forward, args, kwargs)


def call_key(name: str, asked: Any) -> str:
    """Return what tells a call of a layer from others: its name, and what it is given, numbers in place of tensors."""
    return f"{name} {asked}"


def _refuse_reading() -> Tensor:
    what = "the model's forward reads a tensor that it did not read when it was cut, so that it is not stored"
    raise CutError(f"{what}: train without the cache, or cut it on rows on which it goes the same way")
