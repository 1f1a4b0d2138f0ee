"""The third engine: behind the cut a model's own forward runs, and frozen layers in it give what is stored of them.

It is for forwards that are no graph: loops over rows, branches on values, steps of other libraries. Stored is what
frozen layers make of the model's inputs, and further ones of that, where they are called on nothing else; layers
without parameters may stand between. Tensors that the forward itself does not read are stood in for, and not stored.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from reuse.errors import CutError
from reuse.layers.answering import HeldParts, answered_by
from reuse.layers.code_names import WRITES_UNSEEN, names_in_code
from reuse.layers.kept_numbers import KeptNumbers
from reuse.layers.numbering import NumberedTensors, text_of, with_tensors
from reuse.layers.stand_ins import StandIn

MODEL = ""  # the target of the call that stands for a whole forward: torch's name for the model itself


class UnreadError(CutError):
    """A forward reads what it did not read when it was cut."""

    WHAT = "the model's forward reads a tensor that it did not read when it was cut, so that it is not stored"

    def __init__(self) -> None:
        super().__init__(
            f"{self.WHAT}: go without the cache (cache=False, --no-cache), or cut it on rows, and train in batches, on "
            "which it goes the same way"
        )


class ChangedError(UnreadError):
    """A forward changes a frozen layer whose values are stored."""

    WHAT = "the model's forward changes a frozen layer, whose stored values are of what it was"


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

    def stand_in(self, rows: int, device: torch.device, fetch: Callable[[], Tensor]) -> Tensor:
        """Return a tensor of that form for so many rows."""
        return StandIn([n * rows if grows else n for n, grows in self.sizes], self.dtype, device, fetch)

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
        self._kept = None if WRITES_UNSEEN.isdisjoint(names_in_code(model)) else KeptNumbers()
        self._answers = {call_key(call.name, call.given): call.value for call in calls}

    def forward(self, *tensors: Tensor) -> Any:
        """Run the forward of the model on the rows that the tensors hold.

        Raises:
            UnreadError: it reads what it did not read when it was followed, whatever it makes of the error itself.
            ChangedError: it leaves a layer changed that is answered for.
        """
        run = _Run(self, dict(zip(self.read, tensors, strict=True)))
        try:
            with answered_by(self.model, self.answered, run.answer, self._kept) as layers:
                value = run.call(layers)
        except Exception as error:
            if run.missed:
                raise run.failure() from error
            raise
        finally:
            run.forget()
        if run.missed or run.changed:
            raise run.failure()
        return value

    def keep_numbers(self, beside: "OwnForward") -> None:
        """Keep the numbers of frozen layers as they are now, where they may be written into unseen.

        Args:
            beside: of the same cut, which keeps them too: they are kept once.
        """
        if self._kept is not None and beside._kept is not None:
            self._kept = beside._kept
            for name in self.answered:
                HeldParts(self.model.get_submodule(name), name, self._kept)

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

    def answer_to(self, name: str, asked: Any) -> Any:
        """Return what a call returned when it was followed, numbers in place of tensors; None: it is another one."""
        return None if asked is None else self._answers.get(call_key(name, asked))


class _Run:
    """One run of a forward, on the tensors of a batch."""

    def __init__(self, behind: OwnForward, stored: dict[int, Tensor]):
        self.behind, self.stored, self.numbered = behind, stored, NumberedTensors()
        self.missed = self.changed = False
        rows = (behind.slots[at].rows_of(tensor) for at, tensor in stored.items())
        self.rows = next(n for n in rows if n is not None)
        self.device = next(iter(stored.values())).device

    def call(self, layers: Sequence[HeldParts]) -> Any:
        """Return what the model makes of its inputs, and note whether a layer that is answered for was changed."""
        arguments, keywords = with_tensors(self._tensor, self.behind.given)
        try:
            return self.behind.model(*arguments, **keywords)
        finally:
            self.changed = any(layer.changed() for layer in layers)

    def failure(self) -> UnreadError:
        """Return why what is stored does not do: a layer that was changed is called, and may lack what it is given."""
        return ChangedError() if self.changed else UnreadError()

    def answer(self, name: str, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Return what is stored of a call; compute it where it is another one than was followed."""
        found = self.behind.answer_to(name, self.numbered.places([args, kwargs]))
        return forward(*args, **kwargs) if found is None else with_tensors(self._tensor, found)

    def forget(self) -> None:
        """Let go of the tensors: stand-ins and this know each other, so that Python would keep them for long."""
        self.stored.clear()
        self.numbered.forget()

    def _tensor(self, at: int) -> Tensor:
        """Return a tensor of its own each time, which the forward may write into."""
        if at in self.stored:
            own = self.stored[at].clone()
            return self.numbered.hand_out(at, own, own, self.stored[at])
        hollow = self.behind.slots[at].stand_in(self.rows, self.device, self._refuse)
        return self.numbered.hand_out(at, hollow)

    def _refuse(self) -> Tensor:
        self.missed = True
        raise UnreadError


def _is_within(name: str, layer: str) -> bool:
    return not layer or name == layer or name.startswith(f"{layer}.")


def call_key(name: str, asked: Any) -> str:
    """Return what tells a call of a layer from others: its name, and what it is given, numbers in place of tensors."""
    return f"{name} {text_of(asked)}"
