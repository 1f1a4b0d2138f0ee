"""Cutting a model into prefix and suffix at the edge of what is frozen, in any graph.

Two engines are tried, torch.fx and torch.export; each cut is compared with the model before anyone may use it.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, fx, nn

from reuse.errors import CutError
from reuse.layers.checking import check_cut, distinct_rows, living_branches, unchanged_state
from reuse.layers.constancy import ObservedGraph, holds_frozen, shared_constants
from reuse.layers.crossing import NotStorable
from reuse.layers.earlier import EarlierCut, Sides, earlier_cuts, without
from reuse.layers.exporting import trace_by_export
from reuse.layers.frontier import DividedGraph, find_crossing, stored
from reuse.layers.frontier_tensor import FrontierTensor
from reuse.layers.observing import observe, targets
from reuse.layers.splicing import Suffix, build_prefix, build_suffix
from reuse.layers.tracing import TracedModel, has_hooks, is_frozen, is_mixed, is_trainable, parameter_read, trace

Batches = tuple[tuple[Tensor, ...], ...]

ROWS = (2, 3, 8)  # a graph is observed on the first and last of these batch sizes; a cut is checked on all


class _NothingToCacheError(CutError):
    """Nothing constant in a graph that was seen through to its end: another engine would find no more."""


@dataclass(frozen=True)
class Cut:
    """A model as two modules: `model(x)` equals `suffix(*prefix(x))`.

    Attributes:
        prefix: takes the model's inputs, returns a tuple of the frontier tensors, each `(batch, *shape)`.
        suffix: takes these tensors, returns what the model returns; training it trains the model.
        frontier: name, shape and type of each frontier tensor for one row.
        engine: `torch.fx` or `torch.export`.
        uncached: frozen layers that the suffix computes: behind a layer that trains, inside a module that could not be
            traced, or because they were kept there.
        earlier: where else it could be cut, the deepest first.
    """

    prefix: fx.GraphModule
    suffix: Suffix
    frontier: tuple[FrontierTensor, ...]
    engine: str
    uncached: tuple[str, ...]
    earlier: tuple[EarlierCut, ...] = ()

    @property
    def bytes_per_sample(self) -> int:
        """Bytes of the frontier for one row."""
        return sum(tensor.row_bytes for tensor in self.frontier)


def cut(model: nn.Module, example: Tensor | Sequence[Tensor], *, keep: Collection[str] = ()) -> Cut:
    """Cut `model` into what depends only on inputs and frozen parameters, and the rest.

    Args:
        model: a model with some parameters frozen (`reuse.freeze`).
        example: its input, or inputs, batch first: any number of rows from 1 on; real rows make a sharper check.
        keep: signatures of frozen computations that are to stay in the suffix, as `Cut.earlier` names them.

    Returns:
        A cut that computed what the model computes, in training and evaluation mode, on three batch sizes.

    Raises:
        CutError: the model cannot be cut; the message says why.

    Example:
        >>> from reuse.layers.freezing import freeze
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> freezing = freeze(model, "0")
        >>> parts = cut(model, torch.randn(2, 4))
        >>> parts.bytes_per_sample
        12
    """
    inputs = (example,) if isinstance(example, Tensor) else tuple(example)
    _refuse_the_hopeless(model)
    whole = tuple(distinct_rows(tensor, ROWS[-1]) for tensor in inputs)
    batches = tuple(tuple(tensor[:rows] for tensor in whole) for rows in ROWS)
    reasons: list[tuple[str, str]] = []
    found: list[Cut] = []
    for engine, attempt in _ENGINES.items():
        try:
            result = attempt(model, batches, frozenset(keep))
        except _NothingToCacheError:
            raise
        except Exception as error:  # noqa: BLE001 - users' forwards and torch.export raise anything; it is reported
            reasons.append((engine, _first_line(error)))
            continue
        found.append(result)
        if not _computes_in_vain(result, model):
            break
    if not found:
        raise CutError(f"the model cannot be cut: {_joined(reasons)}")
    return min(found, key=lambda parts: _frozen_in_suffix(parts, model))


def _cut_by_fx(model: nn.Module, batches: Batches, keep: frozenset[str]) -> Cut:
    """Cut, then enter wholly trainable modules at the frontier as long as that makes it smaller.

    A classifier head that pools before its linear layer is one call at first; entered, its pooling joins the prefix.
    Checking takes the longest, so only the smallest is checked, and a larger one where that fails.
    """
    entered: frozenset[str] = frozenset()
    with unchanged_state(model), living_branches(model):
        best = _try("torch.fx", _trace_by_fx, model, batches, keep)
        larger: list[frozenset[str]] = []
        while doors := _modules_at_frontier(best.cut) - entered:
            try:
                deeper = _try("torch.fx", partial(_trace_by_fx, entered=entered | doors), model, batches, keep)
            except Exception:  # noqa: BLE001 - the cut in hand is good, whatever a forward raises here
                break
            if deeper.cut.bytes_per_sample >= best.cut.bytes_per_sample:
                break
            larger.append(entered)
            best, entered = deeper, entered | doors
        while larger:
            try:
                return _checked(best, model, batches)
            except Exception:  # noqa: BLE001 - as above
                best = _try("torch.fx", partial(_trace_by_fx, entered=larger.pop()), model, batches, keep)
        return _checked(best, model, batches)


def _cut_by_export(model: nn.Module, batches: Batches, keep: frozenset[str]) -> Cut:
    with unchanged_state(model), living_branches(model):
        return _checked(_try("torch.export", trace_by_export, model, batches, keep), model, batches)


@dataclass(frozen=True)
class _Attempt:
    """A cut that nobody may use before it is checked, without its earlier ones.

    Attributes:
        cut: the cut.
        sides: the graphs that it divides.
        frontier: the nodes that cross.
    """

    cut: Cut
    sides: Sides
    frontier: list[fx.Node]


def _try(
    engine: str, tracer: Callable[..., TracedModel], model: nn.Module, batches: Batches, keep: frozenset[str]
) -> _Attempt:
    sides = without(_divide(tracer, model, batches), keep)
    for side in sides:
        find_crossing(side, model)
    training, evaluation = sides
    if not keep <= set(training.signatures.values()):
        raise CutError("what is to be kept in the suffix is not computed by this model")
    names = list(dict.fromkeys(side.signatures[node] for side in sides for node in side.frontier()))
    by_signature = {training.signatures[node]: node for node in training.order}
    frontier = [by_signature[name] for name in names]
    if not any(holds_frozen(node, model) for node in training.needed_prefix(frontier)):
        kind = CutError if training.observed.traced.opaque else _NothingToCacheError
        raise kind("no frozen layer comes before the first layer that trains, so there is nothing to cache")
    for node in frontier:  # crosses in evaluation mode alone
        training.crossing.setdefault(node, evaluation.crossing[_counterpart(node, training, evaluation)])
    specs = tuple(stored(node, training.observed) for node in frontier)
    prefix = build_prefix(training, model, frontier)
    suffix = Suffix(model, build_suffix(training, model, names), build_suffix(evaluation, model, names))
    return _Attempt(Cut(prefix, suffix, specs, engine, _uncached(training, model)), sides, frontier)


def _checked(attempt: _Attempt, model: nn.Module, batches: Batches) -> Cut:
    """Return a cut with its earlier ones, once it has computed what the model computes."""
    parts = attempt.cut
    if any(parameter.requires_grad for parameter in parts.prefix.parameters()):
        raise CutError("a parameter that trains is read in front of the cut")
    check_cut(model, parts.prefix, parts.suffix, batches)
    model.eval()  # as when the deepest prefix was made: modes are in a cache's key
    return replace(parts, earlier=earlier_cuts(attempt.sides, attempt.frontier, model))


def _divide(tracer: Callable[..., TracedModel], model: nn.Module, batches: Batches) -> Sides:
    """Trace and observe the model in both modes and divide each graph into constant nodes and the rest."""
    seen = []
    for mode in (True, False):
        model.train(mode)
        traced = tracer(model, batches[1])
        _call_once(model, batches)
        small = observe(traced, model, batches[0])
        large = observe(traced, model, batches[-1], small.written)
        seen.append((traced, small, large))
    observed = [ObservedGraph(*one, (ROWS[0], ROWS[-1]), targets(one[0], model)) for one in seen]
    constants = shared_constants(observed[0], observed[1], model)
    return DividedGraph(observed[0], constants[0]), DividedGraph(observed[1], constants[1])


def _call_once(model: nn.Module, batches: Batches) -> None:
    """Call the model: what a module prepares on its first call is no state that moves."""
    with torch.no_grad():
        model(*batches[0])


def _trace_by_fx(model: nn.Module, inputs: tuple[Tensor, ...], entered: frozenset[str] = frozenset()) -> TracedModel:
    return trace(model, len(inputs), entered)


_ENGINES: dict[str, Callable[[nn.Module, Batches, frozenset[str]], Cut]] = {
    "torch.fx": _cut_by_fx,
    "torch.export": _cut_by_export,
}


def _modules_at_frontier(parts: Cut) -> set[str]:
    """Return the trainable modules with children that the suffix calls on frontier tensors alone."""
    graph: fx.Graph = parts.suffix.graphs[0].graph
    calls = [n for n in graph.nodes if n.op == "call_module" and n.all_input_nodes]
    calls = [n for n in calls if all(a.op in ("placeholder", "get_attr") for a in n.all_input_nodes)]
    modules = {str(n.target): parts.suffix.model.get_submodule(str(n.target)) for n in calls}
    return {name for name, module in modules.items() if any(module.children()) and not is_frozen(module)}


def _refuse_the_hopeless(model: nn.Module) -> None:
    if all(p.requires_grad for p in model.parameters()):
        raise CutError("nothing is frozen, so there is nothing to cache: freeze some layers first")
    if not is_trainable(model):
        raise CutError("everything is frozen, so nothing is left to train: leave at least the output layer out")
    if has_hooks(model):
        raise CutError("the model itself has forward or backward hooks, which a cut would not call: remove them")


def _counterpart(node: fx.Node, of: DividedGraph, among: DividedGraph) -> fx.Node:
    name = of.signatures[node]
    return next(other for other in among.frontier() if among.signatures[other] == name)


def _uncached(side: DividedGraph, model: nn.Module) -> tuple[str, ...]:
    """Return the names of frozen layers among the nodes that the suffix runs."""
    names: dict[str, None] = {}
    for node in side.needed_suffix():
        if node.op == "call_module":
            module = model.get_submodule(str(node.target))
            names |= {f"{node.target}.{n}": None for n, p in module.named_parameters() if not p.requires_grad}
        for argument in node.all_input_nodes:
            parameter = parameter_read(argument, model)
            if parameter is not None and not parameter.requires_grad:
                names[str(argument.target)] = None
    return tuple(names)


def _computes_in_vain(result: Cut, model: nn.Module) -> bool:
    """Return whether another engine could move frozen layers out of the suffix."""
    return (
        result.engine == "torch.fx"
        and bool(result.uncached)
        and any(is_mixed(module) and not has_hooks(module) for module in _called(result, model))
    )


def _called(result: Cut, model: nn.Module) -> list[nn.Module]:
    graphs: tuple[fx.GraphModule, fx.GraphModule] = result.suffix.graphs
    calls = {str(n.target) for graph in graphs for n in graph.graph.nodes if n.op == "call_module"}
    return [model.get_submodule(name) for name in calls]


def _frozen_in_suffix(result: Cut, model: nn.Module) -> int:
    return sum(model.get_parameter(name).numel() for name in result.uncached)


def _joined(reasons: list[tuple[str, str]]) -> str:
    if len({reason for _, reason in reasons}) == 1:
        return reasons[0][1]
    return "; ".join(f"{engine}: {reason}" for engine, reason in reasons)


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    reason = text[0] if text else type(error).__name__
    if isinstance(error, CutError):
        return reason
    if isinstance(error, NotStorable):
        return reason if text else "a value that crosses has no batch dimension that could be followed"
    return f"{type(error).__name__}: {reason[:200]}"
