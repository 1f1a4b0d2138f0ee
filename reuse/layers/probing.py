"""What a call of a model moves beside its result: parameters, buffers and attributes, found by calling it.

A cut must bind such state by name when it is called, keep it out of the prefix, and leave it alone while it is made.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from reuse.errors import CutError
from reuse.fingerprinting.keeping import ModelCode, Place
from reuse.layers.example import Example
from reuse.layers.parameter_writes import written_parameters
from reuse.layers.preserving import contents
from reuse.layers.randomness import RandomSources
from reuse.layers.trainability import is_trainable


@dataclass(frozen=True)
class Moving:
    """What each call of a model moves.

    Attributes:
        parameters: those that it writes into.
        attributes: where it puts something else.
        mutated: lists, dictionaries and sets that it puts something into, or takes something out of.
        counted: where the same call, made again, leaves something else behind: running means, counts, schedules.
        kept: where a layer without anything that trains keeps what no code reads into a result: these are not counted.
        noted: where any layer keeps what no code reads into a result.
        hidden: where something that is read moves in a layer that trains, and no graph would see it: deep in an object,
            or, under the name `class`, in what the code of its class refers to.
    """

    parameters: tuple[nn.Parameter, ...] = ()
    attributes: frozenset[Place] = frozenset()
    mutated: frozenset[Place] = frozenset()
    counted: frozenset[Place] = frozenset()
    kept: frozenset[Place] = frozenset()
    noted: frozenset[Place] = frozenset()
    hidden: frozenset[Place] = frozenset()

    def counted_in(self, name: str) -> Iterator[Place]:
        """Yield where the module of this name, or one below it, counts its calls in some form."""
        return (place for place in sorted(self.counted) if _is_below(place[0], name))

    def counted_values(self, model: nn.Module) -> Iterator[Place]:
        """Yield where a model counts its calls in what is no tensor, a number or a list, and may read it again."""
        counted = sorted(self.counted - self.noted)
        return (place for place in counted if not isinstance(_value(model, place), Tensor))

    def writes_into(self, module: nn.Module) -> bool:
        """Return whether a call of the model writes into a parameter of this module."""
        own = {id(parameter) for parameter in self.parameters}
        return bool(own) and any(id(parameter) in own for parameter in module.parameters())

    def counting_tensors(self, name: str, module: nn.Module) -> Iterator[Tensor]:
        """Yield the buffers of a module of this name that are not only kept."""
        for path, one in module.named_modules(prefix=name):
            for key, buffer in one.named_buffers(recurse=False):
                if (path, key) not in self.kept:
                    yield buffer

    def with_attributes(self, more: Iterable[Place]) -> "Moving":
        """Return this with more attributes that move."""
        return replace(self, attributes=self.attributes.union(more))

    def in_module(self, name: str) -> Iterator[Place]:
        """Yield the attributes that move in the module of this name, and below it."""
        return (place for place in sorted(self.attributes) if _is_below(place[0], name))


NOTHING = Moving()


def probe(model: nn.Module, small: Example, like: Example, large: Example) -> Moving:
    """Return what calls of `model` move, in both modes; parameters are put back, the rest is the caller's to put back.

    Args:
        model: called three to five times in each mode.
        small: a small batch.
        like: other rows, as many as those.
        large: more rows.

    Raises:
        CutError: its parameters are not the same ones afterwards, more of them, or others train.
    """
    found, code, begun = _Places(), None, _trained(model)
    with written_parameters(model) as parameters:
        for mode in (True, False):
            model.train(mode)
            other = _left_behind(model, large)  # what is prepared on the first call does not move
            called = _trained(model)
            first = _left_behind(model, small)
            _refuse_other_parameters(begun, called, _trained(model))
            code = code or ModelCode(model)
            read = code.read_state()
            again, read_again = _left_behind(model, small), code.read_state()
            found.compare(first, again, other)
            if code.is_own:
                found.depend(_left_behind(model, like), again)
                _left_behind(model, small)  # what is remembered by size is of these
            found.read |= {place for place in read_again if read.get(place) != read_again[place]}
    assert code is not None
    return found.moving(model, code, parameters)


@dataclass(frozen=True)
class Held:
    """What stands at a place.

    Attributes:
        value: the object itself.
        content: what it held then: the values of a buffer, the parts of a container.
    """

    value: Any
    content: Any


State = dict[Place, Held]


class _Places:
    """Where calls of a model leave something else behind."""

    def __init__(self) -> None:
        self.attributes: set[Place] = set()
        self.mutated: set[Place] = set()
        self.counted: set[Place] = set()
        self.told: set[Place] = set()  # where one call may tell the next one something
        self.read: set[Place] = set()  # by what the code of the model reads, wherever it lies

    def compare(self, first: State, again: State, other: State) -> None:
        """Compare what a call left behind with what the same call left when it was made again, and what another did."""
        for place, held in again.items():
            before, after = first.get(place, held), other.get(place, held)
            if _is_new(before, held) or (isinstance(held.value, _PLAIN) and _differs(held.value, after.value)):
                self.attributes.add(place)
            elif _moved_in_place(before, held):
                self.mutated.add(place)
            if _differs(before.content, held.content):
                self.counted.add(place)
            elif isinstance(held.value, Iterator):
                self.told.add(place)

    def depend(self, one: State, other: State) -> None:
        """Compare what a call left behind with what one on other rows did: the next call may read it."""
        self.told |= {p for p, held in other.items() if p in one and _differs(one[p].content, held.content)}

    def moving(self, model: nn.Module, code: ModelCode, parameters: list[nn.Parameter]) -> Moving:
        """Return what moves, less what layers without anything that trains only keep."""
        frozen = {name for name, module in model.named_modules() if not is_trainable(module)}
        kept = code.only_kept(place for place in self.counted if place[0] in frozen)
        read = self.read | code.reads(self.told)
        counted = self.counted.union(place for place in read if place[0] in frozen) - kept
        iterators = {place for place in code.reads(self.told) if isinstance(_value(model, place), Iterator)}
        hidden = (self.read - self.attributes - self.mutated - self.counted) | iterators
        return Moving(
            parameters=tuple(parameters),
            attributes=frozenset(self.attributes),
            mutated=frozenset(self.mutated),
            counted=frozenset(counted),
            kept=kept,
            noted=code.only_kept(self.counted),
            hidden=frozenset(place for place in hidden if place[0] not in frozen),
        )


def state_of(model: nn.Module, with_values: bool = False) -> State:
    """Return the buffers and the attributes of all modules.

    Args:
        model: the model.
        with_values: keep the values of buffers, too.
    """
    found = {
        (name, key): Held(value, contents(value))
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if key not in _TABLES
    }
    for name, module in model.named_modules():
        for key, buffer in module.named_buffers(recurse=False, remove_duplicate=False):
            if (name, key) not in found:
                found[name, key] = Held(buffer, buffer.detach().clone() if with_values else None)
    return found


def changed(before: State, after: State) -> list[Place]:
    """Return where something else stands than before, or a container holds something else."""
    nothing = Held(None, None)
    pairs = ((place, before.get(place, nothing), held) for place, held in after.items())
    return [place for place, old, new in pairs if _is_new(old, new) or _moved_in_place(old, new)]


_Trained = dict[str, tuple[nn.Parameter, bool]]


def _trained(model: nn.Module) -> _Trained:
    """Return which parameters there are, by name, and whether they train; held, so that no other one takes an id."""
    return {name: (parameter, parameter.requires_grad) for name, parameter in model.named_parameters()}


def _refuse_other_parameters(begun: _Trained, called: _Trained, again: _Trained) -> None:
    """Raise where a model has other parameters after its first call, or after its second."""
    made = [name for name in called if name not in begun]
    if made and _same_parameters(begun, {n: held for n, held in called.items() if n in begun}):
        if _same_parameters(called, again):
            raise CutError(f"its first call makes the parameter {made[0]!r}: call the model on a batch first")
        raise CutError(f"its calls make parameters, {made[0]!r} among them")
    if not _same_parameters(begun, called) or not _same_parameters(begun, again):
        raise CutError("its forward puts other parameters in place, or changes which of them train")


def _same_parameters(before: _Trained, after: _Trained) -> bool:
    if before.keys() != after.keys():
        return False
    return all(after[n][0] is parameter and after[n][1] is trains for n, (parameter, trains) in before.items())


_TABLES = frozenset(vars(nn.Module())) | {"train"}
_PLAIN = (int, float, complex, str, bytes, bool, type(None), torch.Size, torch.dtype, torch.device)
_HOLDING = (list, tuple, dict, set)


def _value(model: nn.Module, place: Place) -> Any:
    return getattr(model.get_submodule(place[0]), place[1], None)


def _left_behind(model: nn.Module, batch: Example) -> State:
    """Return the state that a call leaves behind, always drawing the same random numbers."""
    with RandomSources(model).untouched(), torch.no_grad():
        torch.manual_seed(0)
        batch.copy().call(model)
    return state_of(model, with_values=True)


def _is_new(before: Held, after: Held) -> bool:
    """Return whether something was assigned: another object, or another plain value."""
    if isinstance(before.value, _PLAIN) and type(before.value) is type(after.value):
        return bool(before.value != after.value)
    return before.value is not after.value


def _moved_in_place(before: Held, after: Held) -> bool:
    """Return whether the same container holds something else."""
    if not isinstance(after.value, _HOLDING) or type(before.content) is not type(after.content):
        return False
    return _parts_differ(before.content, after.content, lambda a, b: _is_new(Held(a, a), Held(b, b)))


def _differs(before: Any, after: Any) -> bool:
    """Return whether two values are known not to be the same: numbers and tensors are."""
    if isinstance(before, Tensor) and isinstance(after, Tensor):
        return before is not after and not _equal(before, after)
    if isinstance(before, _PLAIN) and isinstance(after, _PLAIN):
        return bool(before != after)
    if type(before) is type(after) and isinstance(after, _HOLDING):
        return _parts_differ(before, after, _differs)
    return False


def _parts_differ(before: Any, after: Any, differ: Callable[[Any, Any], bool]) -> bool:
    if isinstance(after, set):
        return bool(before != after)
    if len(before) != len(after):
        return True
    if isinstance(after, dict):
        return before.keys() != after.keys() or any(differ(before[key], after[key]) for key in after)
    return any(differ(a, b) for a, b in zip(before, after, strict=True))


def _equal(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype or a.device != b.device:
        return False
    return torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)) if a.is_floating_point() else torch.equal(a, b)


def _is_below(name: str, other: str) -> bool:
    return not other or name == other or name.startswith(f"{other}.")
