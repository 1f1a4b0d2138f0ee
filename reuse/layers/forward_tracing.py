"""Following a model's own forward: which calls of frozen layers can be stored, and what it reads beside them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn

from reuse.layers.answering import HeldParts, answered_by
from reuse.layers.attributes import dotted, outside
from reuse.layers.code_names import READS_MEMORY, WRITES_UNSEEN, names_in_code
from reuse.layers.example import Example
from reuse.layers.kept_numbers import KeptNumbers
from reuse.layers.numbering import Number, NumberedTensors, same_numbers, with_tensors
from reuse.layers.own_forward import MODEL, Call, OwnForward, Slot, call_key
from reuse.layers.preserving import unchanged_state
from reuse.layers.probing import NOTHING, Moving
from reuse.layers.randomness import RandomSources, States, same_states
from reuse.layers.recording import Untraceable
from reuse.layers.stand_ins import StandIn, fetched
from reuse.layers.structure import graph_argument, leaves, map_tensors, tensors_in
from reuse.layers.tracer import argument_names
from reuse.layers.tracing import TracedModel
from reuse.layers.trainability import has_hooks, is_trainable
from reuse.layers.unpacking import leaf

TRIES = 6  # of a forward that draws random numbers, on the smaller batch


@dataclass
class Followed:
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


def trace_own_forward(
    model: nn.Module, example: Example, moving: Moving = NOTHING, called: frozenset[str] = frozenset()
) -> TracedModel:
    """Return a graph of calls of layers that do not train, and of one call for all that the forward does beside them.

    Args:
        model: any module, in its present mode.
        example: what it is called with, of at least three rows.
        moving: what its calls move. Attributes may move, as it is the forward itself that assigns them.
        called: names of layers that the forward is to call itself.

    Returns:
        The graph; its last call is of an `OwnForward`, under the name `MODEL`.

    Raises:
        Untraceable: another number of rows goes other ways, or nothing that holds rows is read; the forward counts its
            calls, after which it may go other ways, or changes what is no part of the model.
        Exception: whatever the forward raises.
    """
    for place in moving.hidden:
        raise Untraceable(f"its forward changes {outside(place)}")
    for place in moving.counted_values(model):
        raise Untraceable(f"its forward changes {dotted(place)!r} with each call")
    if not READS_MEMORY.isdisjoint(names := names_in_code(model)):
        raise Untraceable("its forward hands on memory by to_dlpack, unseen: call from_dlpack on the tensor itself")
    rows = len(example.tensors[0])
    fewer, begun = example.rows(slice(rows - 1)), RandomSources(model).states()
    record = partial(_recorded, model, called=called, by_value=not WRITES_UNSEEN.isdisjoint(names))
    many, records = record(example, begun), [record(fewer, begun)]
    if not same_states(begun, records[0].ended):  # what it draws may decide what it reads
        for _ in range(TRIES):
            records.append(record(fewer, records[-1].ended))
    if any(list(other.calls) != list(many.calls) for other in records):
        raise Untraceable("its forward calls its layers otherwise for another number of rows, or by chance")
    slots = [_slot((a, rows - 1), (b, rows)) for a, b in zip(records[0].values, many.values, strict=True)]
    read = sorted(many.read.union(*(other.read for other in records)))
    if not any(grows for at in read for _, grows in slots[at].sizes):
        raise Untraceable("its forward reads no rows of what can be stored")
    behind = OwnForward(model, many.given, list(many.calls.values()), slots, read)
    return TracedModel(_graph(model, example, many, read), {MODEL: behind})


def _recorded(model: nn.Module, example: Example, begun: States, called: frozenset[str], by_value: bool) -> Followed:
    """Call a model and note which calls of its layers could be answered, and what the forward reads beside them."""
    followed, numbered, random = Followed(), NumberedTensors(), RandomSources(model)
    kept = KeptNumbers() if by_value else None

    def number(values: Tensor) -> Number:
        followed.values.append(values)
        return Number(len(followed.values) - 1)

    def tensor(at: int) -> Tensor:
        own = followed.values[at].clone()

        def fetch() -> Tensor:
            followed.read.add(at)
            return own

        return numbered.hand_out(at, StandIn(own.shape, own.dtype, own.device, fetch), own, followed.values[at])

    def answer(name: str, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        asked = numbered.places([args, kwargs])
        if asked is None:
            return forward(*args, **kwargs)
        key = call_key(name, asked)
        if key not in followed.calls:
            found = _steady_value(model.get_submodule(name), forward, asked, followed.values)
            if found is None:
                return forward(*args, **kwargs)
            followed.calls[key] = Call(name, asked, map_tensors(number, found[0]))
        return with_tensors(tensor, followed.calls[key].value)

    with unchanged_state(model), torch.no_grad():
        random.restore(begun)
        followed.given = map_tensors(number, [example.arguments, example.keywords])
        arguments, keywords = with_tensors(tensor, followed.given)
        named = ((name, module) for name, module in model.named_modules() if name and name not in called)
        with answered_by(model, [name for name, module in named if _may_be_answered(module)], answer, kept):
            fetched(leaves(model(*arguments, **keywords)))  # what it returns as it is, it reads
        followed.ended = random.states()
    return followed


def _steady_value(
    module: nn.Module, forward: Callable[..., Any], asked: Any, values: Sequence[Tensor]
) -> tuple[Any] | None:
    """Return what a call returns, in a tuple, if it does nothing else and can be given again; None if not.

    It must draw nothing, move no buffer, assign nothing, leave what it is given as it is, and return tensors of their
    own.
    """
    given, random = with_tensors(lambda at: values[at].clone(), asked), RandomSources(module)
    with unchanged_state(module):
        states, held = random.states(), HeldParts(module)
        buffers = [buffer.clone() for buffer in module.buffers()]
        value = forward(*given[0], **given[1])
        moved = held.changed() or not same_states(states, random.states())
        moved = moved or not all(map(same_numbers, module.buffers(), buffers))
    before = [values[part.at] for part in leaves(asked) if isinstance(part, Number)]
    after, returned = list(tensors_in(given)), [part for part in leaves(value) if part is not None]
    if moved or len(after) != len(before) or not all(map(same_numbers, after, before)):
        return None
    if not returned or any(type(part) is not Tensor or part.layout is not torch.strided for part in returned):
        return None
    memory = {part.untyped_storage().data_ptr() for part in (*after, *returned)}
    return (value,) if len(memory) == len(after) + len(returned) else None


def _may_be_answered(module: nn.Module) -> bool:
    """Return whether calls of a layer may be answered: of one with hooks, these would not be called as they are."""
    watched = any(map(has_hooks, module.modules()))
    return not is_trainable(module) and not watched and not isinstance(module, torch.jit.ScriptModule)


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


def _graph(model: nn.Module, example: Example, record: Followed, read: Sequence[int]) -> fx.Graph:
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
