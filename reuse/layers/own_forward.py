"""The third engine: behind the cut a model's own forward runs, and frozen layers in it give what is stored of them.

It is for forwards that are no graph: loops over rows, branches on values, steps of other libraries. Stored is what
frozen layers make of the model's inputs, and further ones of that, where they are called on nothing else; layers
without parameters may stand between. Tensors that the forward itself does not read are stood in for, and not stored.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn

from reuse.errors import CutError
from reuse.layers.attributes import dotted, outside
from reuse.layers.example import Example
from reuse.layers.preserving import unchanged_state
from reuse.layers.probing import NOTHING, Moving
from reuse.layers.randomness import RandomSources, States, same_states
from reuse.layers.recording import Untraceable
from reuse.layers.stand_ins import Number, NumberedTensors, StandIn, fetched, with_tensors
from reuse.layers.structure import graph_argument, leaves, map_tensors
from reuse.layers.tracer import argument_names
from reuse.layers.tracing import TracedModel
from reuse.layers.trainability import has_hooks, is_trainable
from reuse.layers.unpacking import leaf

TRIES = 6  # of a forward that draws random numbers, on the smaller batch
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


@dataclass
class Record:
    """What a forward did on one batch.

    Attributes:
        given: its arguments and keywords, numbers in place of tensors.
        calls: calls that can be answered, by what they were asked.
        values: the tensors by number: those of the inputs, then what the calls returned.
        read: the numbers of those that the forward reads itself.
        ended: the random states that it left.
    """

    given: Any = None
    calls: dict[str, Call] = field(default_factory=dict)
    values: list[Tensor] = field(default_factory=list)
    read: set[int] = field(default_factory=set)
    ended: States = ()


class OwnForward(nn.Module):
    """A model's forward behind its frozen layers: takes the tensors that it reads itself, returns what it returns.

    The model is not held as a part: a cut holds what trains under the names that it has in the model.

    Attributes:
        answered: names of the layers that are not called.
    """

    model: nn.Module

    def __init__(self, model: nn.Module, record: Record, slots: Sequence[Slot], read: Sequence[int]):
        super().__init__()
        object.__setattr__(self, "model", model)
        self._given, self._calls, self._slots, self._read = record.given, record.calls, slots, read
        self.answered = frozenset(call.name for call in record.calls.values())

    def forward(self, *tensors: Tensor) -> Any:
        """Run the forward of the model on the rows that the tensors hold."""
        known, device = dict(zip(self._read, tensors, strict=True)), tensors[0].device
        rows = next(n for at, tensor in known.items() if (n := self._slots[at].rows_of(tensor)) is not None)
        numbered = NumberedTensors(
            known[at] if at in known else slot.hollow(rows, device) for at, slot in enumerate(self._slots)
        )
        arguments, keywords = with_tensors(numbered.tensors.__getitem__, self._given)
        with _answered(self.model, self.answered, partial(self._answer, numbered)):
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
        call = self._calls.get(_key(name, asked))
        return forward(*args, **kwargs) if call is None else with_tensors(numbered.tensors.__getitem__, call.value)


def trace_own_forward(model: nn.Module, example: Example, moving: Moving = NOTHING) -> TracedModel:
    """Return a graph of calls of layers that do not train, and of one call for all that the forward does beside them.

    Args:
        model: any module, in its present mode.
        example: what it is called with, of at least three rows.
        moving: what its calls move. Attributes may move, as it is the forward itself that assigns them.

    Raises:
        Untraceable: another number of rows goes other ways, or nothing that holds rows is read; the forward counts its
            calls, after which it may go other ways, or changes what is no part of the model.
        Exception: whatever the forward raises.
    """
    for place in moving.hidden:
        raise Untraceable(f"its forward changes {outside(place)}")
    for place in moving.counted_values(model):
        raise Untraceable(f"its forward changes {dotted(place)!r} with each call")
    rows = len(example.tensors[0])
    fewer, begun = example.rows(slice(rows - 1)), RandomSources(model).states()
    many, records = _recorded(model, example, begun), [_recorded(model, fewer, begun)]
    if not same_states(begun, records[0].ended):  # what it draws may decide what it reads
        for _ in range(TRIES):
            records.append(_recorded(model, fewer, records[-1].ended))
    if any(list(record.calls) != list(many.calls) for record in records):
        raise Untraceable("its forward calls its layers otherwise for another number of rows, or by chance")
    slots = [_slot((a, rows - 1), (b, rows)) for a, b in zip(records[0].values, many.values, strict=True)]
    read = sorted(many.read.union(*(record.read for record in records)))
    if not any(grows for at in read for _, grows in slots[at].sizes):
        raise Untraceable("its forward reads no rows of what can be stored")
    return TracedModel(_graph(model, example, many, read), {MODEL: OwnForward(model, many, slots, read)})


def _recorded(model: nn.Module, example: Example, begun: States) -> Record:
    """Call a model and note which calls of its layers could be answered, and what the forward reads beside them."""
    record, numbered, random = Record(), NumberedTensors(), RandomSources(model)

    def seen(values: Tensor) -> Number:
        number = Number(len(record.values))

        def fetch() -> Tensor:
            record.read.add(number.at)
            return values

        record.values.append(values)
        return numbered.add(StandIn(values.shape, values.dtype, values.device, fetch), values)

    def answer(name: str, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        asked = numbered.places([args, kwargs])
        if asked is None:
            return forward(*args, **kwargs)
        if _key(name, asked) not in record.calls:
            arguments, keywords = with_tensors(record.values.__getitem__, asked)
            record.calls[_key(name, asked)] = Call(name, asked, map_tensors(seen, forward(*arguments, **keywords)))
        return with_tensors(numbered.tensors.__getitem__, record.calls[_key(name, asked)].value)

    with unchanged_state(model), torch.no_grad():
        random.restore(begun)
        copy = example.copy()
        record.given = map_tensors(seen, [copy.arguments, copy.keywords])
        arguments, keywords = with_tensors(numbered.tensors.__getitem__, record.given)
        steady = [name for name, module in model.named_modules() if name and _may_be_answered(module)]
        with _answered(model, steady, answer):
            fetched(leaves(model(*arguments, **keywords)))  # what it returns as it is, it reads
        record.ended = random.states()
    return record


def _is_within(name: str, layer: str) -> bool:
    return not layer or name == layer or name.startswith(f"{layer}.")


def _may_be_answered(module: nn.Module) -> bool:
    """Return whether calls of a layer may be answered: of one with hooks, these would not be called as they are."""
    watched = any(map(has_hooks, module.modules()))
    return not is_trainable(module) and not watched and not isinstance(module, torch.jit.ScriptModule)


@contextmanager
def _answered(model: nn.Module, names: Collection[str], answer: Answer) -> Iterator[None]:
    """Let calls of these layers be answered inside the block."""
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


def _key(name: str, asked: Any) -> str:
    return f"{name} {asked}"


def _slot(few: tuple[Tensor, int], many: tuple[Tensor, int]) -> Slot:
    """Return the form of a tensor that was seen in two batches, each given with its number of rows."""
    sizes = []
    if few[0].dim() != many[0].dim():
        raise Untraceable("its layers return tensors of other dimensions for another number of rows")
    for a, b in zip(few[0].shape, many[0].shape, strict=True):
        each, rest = divmod(a, few[1])
        if a != b and (rest or b != each * many[1]):
            raise Untraceable("its layers return tensors whose sizes do not go with the number of rows")
        sizes.append((a, False) if a == b else (each, True))
    return Slot(tuple(sizes), many[0].dtype)


def _graph(model: nn.Module, example: Example, record: Record, read: Sequence[int]) -> fx.Graph:
    graph, nodes = fx.Graph(), dict[int, fx.Node]()

    def take_apart(value: Any, node: fx.Node) -> None:
        for number, part in enumerate(leaves(value)):
            if isinstance(part, Number):
                nodes[part.at] = node if part is value else graph.call_function(leaf, (node, number))

    arguments, keywords = record.given
    names = [*argument_names(model, len(example.arguments)), *keywords]
    places = [graph.placeholder(name) for name in names]  # before what is taken out of them
    for value, place in zip([*arguments, *keywords.values()], places, strict=True):
        take_apart(value, place)
    for call in record.calls.values():
        given = graph_argument(graph, with_tensors(nodes.__getitem__, call.given))
        take_apart(call.value, graph.create_node("call_module", call.name, tuple(given[0]), dict(given[1])))
    graph.output(graph.create_node("call_module", MODEL, tuple(nodes[at] for at in read), {}, "own_forward"))
    return graph


def _refuse_reading() -> Tensor:
    what = "the model's forward reads a tensor that it did not read when it was cut, so that it is not stored"
    raise CutError(f"{what}: train without the cache, or cut it on rows on which it goes the same way")
