"""One attempt at a cut: a graph of the model by one engine, divided, built into two parts, and these checked."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import fx, nn

from reuse.errors import CutError
from reuse.layers.checking import check_cut
from reuse.layers.constancy import ObservedGraph, counts, holds_frozen, shared_constants
from reuse.layers.divided_graph import DividedGraph, batch_dimension, stored
from reuse.layers.earlier import Sides, earlier_cuts, without
from reuse.layers.example import Example
from reuse.layers.following import followed
from reuse.layers.frontier import find_crossing
from reuse.layers.observing import Before, observe_sizes, targets
from reuse.layers.own_forward import OwnForward
from reuse.layers.parts import Cut, NothingToCacheError
from reuse.layers.preserving import Modes
from reuse.layers.reasons import why_not
from reuse.layers.splicing import build_prefix, build_suffix
from reuse.layers.suffix import Suffix
from reuse.layers.tracing import TracedModel
from reuse.layers.trainability import is_frozen, module_called, parameter_read

Tracer = Callable[..., TracedModel]


@dataclass(frozen=True)
class Task:
    """What is to be cut, and on what.

    Attributes:
        model: the model.
        batches: three inputs of growing numbers of rows, each beginning with the same: the graph is traced on the
            second, observed and its cut checked on the first and last.
        before: what is known of it: what its calls move, values of its frozen layers.
        keep: signatures of what is to stay in the suffix.
    """

    model: nn.Module
    batches: tuple[Example, ...]
    before: Before
    keep: frozenset[str]


@dataclass(frozen=True)
class Attempt:
    """A cut that nobody may use before it is checked, without its earlier ones.

    Attributes:
        cut: the cut.
        sides: the graphs that it divides.
        frontier: the nodes that cross.
    """

    cut: Cut
    sides: Sides
    frontier: list[fx.Node]


def attempted(engine: str, tracer: Tracer, task: Task) -> Attempt:
    """Trace a model by an engine, and divide and build what it gives.

    Raises:
        NothingToCacheError: nothing of the graph can be stored.
        Exception: the engine cannot follow the forward, or what would cross cannot.
    """
    model = task.model
    sides = without(_divide(tracer, task), task.keep)
    for side in sides:
        find_crossing(side, model)
    training, evaluation = sides
    if not task.keep <= set(training.signatures.values()):
        raise CutError("what is to be kept in the suffix is not computed by this model")
    names = list(dict.fromkeys(side.signatures[node] for side in sides for node in side.frontier()))
    by_signature = {training.signatures[node]: node for node in training.order}
    frontier = [by_signature[name] for name in names]
    if not any(holds_frozen(node, model) for node in training.needed_prefix(frontier)):
        if training.observed.traced.opaque:
            raise CutError(why_not(training, model))
        raise NothingToCacheError(why_not(training, model), _whole(training, model))
    for node in frontier:  # crosses in evaluation mode alone, or beside another one in training mode
        training.crossing[node] = batch_dimension(node, training.observed)
    specs = tuple(stored(node, training.observed) for node in frontier)
    prefix = build_prefix(training, model, frontier)
    suffix = Suffix(model, build_suffix(training, model, names), build_suffix(evaluation, model, names), specs)
    return Attempt(Cut(prefix, suffix, specs, engine, _uncached(training, model)), sides, frontier)


def checked(attempt: Attempt, task: Task) -> Cut:
    """Return a cut with its earlier ones, once it has computed what the model computes.

    Raises:
        CutError: it does not.
    """
    parts, model = attempt.cut, task.model
    if any(parameter.requires_grad for parameter in parts.prefix.parameters()):
        raise CutError("a parameter that trains is read in front of the cut")
    check_cut(model, parts.prefix, parts.suffix, task.batches, task.before.moving)
    model.eval()  # as when the deepest prefix was made: modes are in a cache's key
    return replace(parts, earlier=earlier_cuts(attempt.sides, attempt.frontier, model))


def _divide(tracer: Tracer, task: Task) -> Sides:
    """Trace and observe the model in both modes and divide each graph into constant nodes and the rest."""
    model, batches, moving = task.model, task.batches, task.before.moving
    seen = []
    for mode in (True, False):
        model.train(mode)
        _call_once(model, batches)
        with followed():
            traced = tracer(model, batches[1], moving=moving)
        seen.append((traced, *observe_sizes(traced, model, batches, task.before)))
    rows = (len(batches[0].tensors[0]), len(batches[-1].tensors[0]))
    observed = [ObservedGraph(*one, rows, targets(one[0], model), moving) for one in seen]
    constants = shared_constants(observed[0], observed[1], model)
    return DividedGraph(observed[0], constants[0]), DividedGraph(observed[1], constants[1])


def _call_once(model: nn.Module, batches: tuple[Example, ...]) -> None:
    """Call the model: what a module prepares on its first call is no state that moves; the modes stay."""
    modes = Modes(model)
    with torch.no_grad():
        batches[0].copy().call(model)
    modes.put_back()


def _whole(side: DividedGraph, model: nn.Module) -> frozenset[str]:
    """Return the names of frozen modules with children that are called and not constant, and do not count calls."""
    steady = (node for node in side.order if node.op == "call_module" and not counts(node, side.observed))
    modules = ((str(node.target), module_called(node, model)) for node in steady if node not in side.prefix)
    return frozenset(name for name, module in modules if is_frozen(module) and any(module.children()))


def _uncached(side: DividedGraph, model: nn.Module) -> tuple[str, ...]:
    """Return the names of frozen layers among the nodes that the suffix runs."""
    names: dict[str, None] = {}
    for node in side.needed_suffix():
        if isinstance(called := side.observed.targets.get(str(node.target)), OwnForward):
            names |= dict.fromkeys(called.frozen_parameters())
        elif node.op == "call_module":
            module = module_called(node, model)
            names |= {f"{node.target}.{n}": None for n, p in module.named_parameters() if not p.requires_grad}
        for argument in node.all_input_nodes:
            parameter = parameter_read(argument, model)
            if parameter is not None and not parameter.requires_grad:
                names[str(argument.target)] = None
    return tuple(names)
