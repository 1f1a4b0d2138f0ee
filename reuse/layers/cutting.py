"""Cutting a model into prefix and suffix at the edge of what is frozen, in any graph.

Two engines are tried, torch.fx and torch.export; each cut is compared with the model before anyone may use it.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import fx, nn
from torch.nn.parameter import is_lazy

from reuse.errors import CutError
from reuse.layers.checking import check_cut
from reuse.layers.constancy import ObservedGraph, counts, holds_frozen, shared_constants
from reuse.layers.divided_graph import DividedGraph, batch_dimension, stored
from reuse.layers.earlier import EarlierCut, Sides, earlier_cuts, without
from reuse.layers.example import Example, Given, as_example
from reuse.layers.exporting import trace_by_export
from reuse.layers.following import followed
from reuse.layers.forward_tracing import trace_own_forward
from reuse.layers.frontier import find_crossing
from reuse.layers.frontier_tensor import FrontierTensor
from reuse.layers.known_values import KnownValues
from reuse.layers.observing import Before, observe_sizes, targets
from reuse.layers.own_forward import OwnForward
from reuse.layers.preserving import Modes, living_branches, unchanged_state
from reuse.layers.probing import Moving, probe
from reuse.layers.reasons import first_line, joined, why_not
from reuse.layers.recording import unnested
from reuse.layers.splicing import build_prefix, build_suffix
from reuse.layers.suffix import Suffix, model_name
from reuse.layers.tracing import TracedModel, trace
from reuse.layers.trainability import has_hooks, is_frozen, is_mixed, is_trainable, module_called, parameter_read
from reuse.layers.varying import varied_rows

Tracer = Callable[..., TracedModel]

ROWS = (2, 3, 8)  # a model is called on these batch sizes; it is observed and its cut checked on the first and last
# Rows that go through the frozen layers to find and check a cut: 22 to probe, 16 to observe, 35 to check. Where inputs
# are whole numbers or masks, each adds up to two that are checked alone; 8 more try numbers that had to be changed.
ROWS_COMPUTED = 73


class NothingToCacheError(CutError):
    """Nothing constant in a graph that was seen through to its end: another engine would find no more.

    Attributes:
        whole: frozen modules of several layers that mix rows or draw random numbers: a part of them may not.
    """

    def __init__(self, why: str, whole: frozenset[str]) -> None:
        super().__init__(why)
        self.whole = whole


@dataclass(frozen=True)
class Cut:
    """A model as two modules: `model(x)` equals `suffix(*prefix(x))`.

    Attributes:
        prefix: takes the model's inputs, returns a tuple of the frontier tensors, each `(batch, *shape)`.
        suffix: takes these tensors, returns what the model returns; training it trains the model.
        frontier: name, shape and type of each frontier tensor for one row.
        engine: `torch.fx` or `torch.export`, which wrote the model down as a graph, or `own forward`, where the model's
            forward runs behind the cut and its frozen layers give what is stored of them.
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


def cut(model: nn.Module, example: Given, *, keep: Collection[str] = ()) -> Cut:
    """Cut `model` into what depends only on inputs and frozen parameters, and the rest.

    Args:
        model: a model with some parameters frozen (`reuse.freeze`).
        example: its input, a sequence of its inputs, or a mapping of its keywords; the tensors in them hold rows first,
            any number from 1 on; real rows make a sharper check. Numbers and None stay what they are.
        keep: signatures of frozen computations that are to stay in the suffix, as `Cut.earlier` names them.

    Returns:
        A cut that computed what the model computes, in training and evaluation mode, on several batch sizes, and gave
        the same gradients. `prefix` is called as the model is.

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
    _refuse_the_hopeless(model)
    whole = varied_rows(model, as_example(example), ROWS[-1])
    batches = tuple(whole.rows(slice(rows)) for rows in ROWS)
    with unnested(), unchanged_state(model), living_branches(model):
        moving = _probed(model, batches, whole.rows(slice(1, 1 + ROWS[0])))
        with unchanged_state(model, moving.parameters):
            return _cut(_Task(model, batches, Before(moving, KnownValues()), frozenset(keep)))


def _probed(model: nn.Module, batches: tuple[Example, ...], like: Example) -> Moving:
    try:
        return probe(model, batches[0], like, batches[1])
    except CutError as error:
        raise CutError(f"the model cannot be cut: {error}") from error
    except Exception as error:
        raise CutError(f"the model cannot be cut: calling it failed: {first_line(error)} ({batches[0]})") from error


@dataclass(frozen=True)
class _Task:
    """What is to be cut, and on what.

    Attributes:
        model: the model.
        batches: inputs of `ROWS` rows.
        before: what is known of it: what its calls move, values of its frozen layers.
        keep: signatures of what is to stay in the suffix.
    """

    model: nn.Module
    batches: tuple[Example, ...]
    before: Before
    keep: frozenset[str]


def _cut(task: _Task) -> Cut:
    reasons: list[tuple[str, str]] = []
    found: list[Cut] = []
    for engine, attempt in _ENGINES.items():
        try:
            result = attempt(task)
        except NothingToCacheError:
            raise
        except Exception as error:  # noqa: BLE001 - users' forwards and torch.export raise anything; it is reported
            reasons.append((engine, first_line(error)))
            continue
        found.append(result)
        if not _computes_in_vain(result, task.model):
            break
    if not found:
        try:
            return _checked(_try(LAST_ENGINE, trace_own_forward, task), task)
        except Exception as error:
            raise CutError(f"the model cannot be cut: {joined(reasons)}") from error
    return min(found, key=lambda parts: _frozen_in_suffix(parts, task.model))


def _cut_by_fx(task: _Task) -> Cut:
    """Cut, then enter wholly trainable modules at the frontier as long as that makes it smaller.

    A classifier head that pools before its linear layer is one call at first; entered, its pooling joins the prefix.
    Checking takes the longest, so only the smallest is checked, and a larger one where that fails.
    """
    best, entered = _try_inside(task)
    larger: list[frozenset[str]] = []
    while doors := _modules_at_frontier(best.cut) - entered:
        try:
            deeper = _try("torch.fx", partial(trace, entered=entered | doors), task)
        except Exception:  # noqa: BLE001 - the cut in hand is good, whatever a forward raises here
            break
        if deeper.cut.bytes_per_sample >= best.cut.bytes_per_sample:
            break
        larger.append(entered)
        best, entered = deeper, entered | doors
    while larger:
        try:
            return _checked(best, task)
        except Exception:  # noqa: BLE001 - as above
            best = _try("torch.fx", partial(trace, entered=larger.pop()), task)
    return _checked(best, task)


def _try_inside(task: _Task) -> tuple["_Attempt", frozenset[str]]:
    """Return the first attempt of torch.fx, and the modules that it entered: frozen ones where else nothing is cut."""
    entered: frozenset[str] = frozenset()
    first: NothingToCacheError | None = None
    while True:
        try:
            return _try("torch.fx", partial(trace, entered=entered), task), entered
        except NothingToCacheError as error:
            first = first or error
            if error.whole <= entered:
                raise first from None
            entered |= error.whole
        except Exception:
            if first is None:
                raise
            raise first from None


def _cut_by_export(task: _Task) -> Cut:
    return _checked(_try("torch.export", trace_by_export, task), task)


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


def _try(engine: str, tracer: Tracer, task: _Task) -> _Attempt:
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
    return _Attempt(Cut(prefix, suffix, specs, engine, _uncached(training, model)), sides, frontier)


def _checked(attempt: _Attempt, task: _Task) -> Cut:
    """Return a cut with its earlier ones, once it has computed what the model computes."""
    parts, model = attempt.cut, task.model
    if any(parameter.requires_grad for parameter in parts.prefix.parameters()):
        raise CutError("a parameter that trains is read in front of the cut")
    check_cut(model, parts.prefix, parts.suffix, task.batches, task.before.moving)
    model.eval()  # as when the deepest prefix was made: modes are in a cache's key
    return replace(parts, earlier=earlier_cuts(attempt.sides, attempt.frontier, model))


def _divide(tracer: Tracer, task: _Task) -> Sides:
    """Trace and observe the model in both modes and divide each graph into constant nodes and the rest."""
    model, batches, moving = task.model, task.batches, task.before.moving
    seen = []
    for mode in (True, False):
        model.train(mode)
        _call_once(model, batches)
        with followed():
            traced = tracer(model, batches[1], moving=moving)
        seen.append((traced, *observe_sizes(traced, model, batches, task.before)))
    observed = [ObservedGraph(*one, (ROWS[0], ROWS[-1]), targets(one[0], model), moving) for one in seen]
    constants = shared_constants(observed[0], observed[1], model)
    return DividedGraph(observed[0], constants[0]), DividedGraph(observed[1], constants[1])


def _call_once(model: nn.Module, batches: tuple[Example, ...]) -> None:
    """Call the model: what a module prepares on its first call is no state that moves; the modes stay."""
    modes = Modes(model)
    with torch.no_grad():
        batches[0].copy().call(model)
    modes.put_back()


_ENGINES: dict[str, Callable[[_Task], Cut]] = {"torch.fx": _cut_by_fx, "torch.export": _cut_by_export}
LAST_ENGINE = "own forward"  # where these two fail; that it fails too says nothing more


def _whole(side: DividedGraph, model: nn.Module) -> frozenset[str]:
    """Return the names of frozen modules with children that are called and not constant, and do not count calls."""
    steady = (node for node in side.order if node.op == "call_module" and not counts(node, side.observed))
    modules = ((str(node.target), module_called(node, model)) for node in steady if node not in side.prefix)
    return frozenset(name for name, module in modules if is_frozen(module) and any(module.children()))


def _modules_at_frontier(parts: Cut) -> set[str]:
    """Return the trainable modules with children that the suffix calls on frontier tensors alone."""
    graph: fx.GraphModule = parts.suffix.graphs[0]
    calls = [n for n in graph.graph.nodes if n.op == "call_module" and n.all_input_nodes]
    calls = [n for n in calls if all(a.op in ("placeholder", "get_attr") for a in n.all_input_nodes)]
    names = {model_name(str(n.target), graph) for n in calls}.intersection(dict(parts.suffix.model.named_modules()))
    modules = {name: parts.suffix.model.get_submodule(name) for name in names}
    return {name for name, module in modules.items() if any(module.children()) and not is_frozen(module)}


def _refuse_the_hopeless(model: nn.Module) -> None:
    if isinstance(model, torch.jit.ScriptModule):
        raise CutError("the model is TorchScript, which cannot be taken apart: cut the Python module it was made from")
    lazy = next((name for name, parameter in model.named_parameters() if is_lazy(parameter)), None)
    if lazy is not None:
        raise CutError(f"{lazy!r} has no size yet, since its layer is lazy: call the model on a batch first")
    if all(p.requires_grad for p in model.parameters()):
        raise CutError("nothing is frozen, so there is nothing to cache: freeze some layers first")
    if not is_trainable(model):
        raise CutError("everything is frozen, so nothing is left to train: leave at least the output layer out")
    if has_hooks(model):
        raise CutError("the model itself has forward or backward hooks, which a cut would not call: remove them")


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


def _computes_in_vain(result: Cut, model: nn.Module) -> bool:
    """Return whether another engine could move frozen layers out of the suffix."""
    return (
        result.engine == "torch.fx"
        and bool(result.uncached)
        and any(is_mixed(module) and not has_hooks(module) for module in _called(result, model))
    )


def _called(result: Cut, model: nn.Module) -> list[nn.Module]:
    graphs: tuple[fx.GraphModule, fx.GraphModule] = result.suffix.graphs
    calls = {model_name(str(n.target), g) for g in graphs for n in g.graph.nodes if n.op == "call_module"}
    return [module for name, module in model.named_modules() if name in calls]


def _frozen_in_suffix(result: Cut, model: nn.Module) -> int:
    return sum(model.get_parameter(name).numel() for name in result.uncached)
