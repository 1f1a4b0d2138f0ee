"""Cutting a model into prefix and suffix at the edge of what is frozen, in any graph.

Three engines are tried: torch.fx, torch.export, and the model's own forward behind the cut. Each cut is compared with
the model before anyone may use it.
"""

from collections.abc import Callable, Collection
from functools import partial

import torch
from torch import fx, nn
from torch.nn.parameter import is_lazy

from reuse.errors import CutError
from reuse.layers.attempting import Attempt, Task, attempted, checked
from reuse.layers.divided_graph import DividedGraph
from reuse.layers.example import Example, Given, as_example
from reuse.layers.exporting import trace_by_export
from reuse.layers.forward_tracing import trace_own_forward
from reuse.layers.known_values import KnownValues
from reuse.layers.observing import Before
from reuse.layers.own_forward import MODEL
from reuse.layers.parts import Cut, NothingToCacheError
from reuse.layers.preserving import living_branches, unchanged_state
from reuse.layers.probing import Moving, probe
from reuse.layers.reasons import first_line, joined
from reuse.layers.recording import unnested
from reuse.layers.suffix import model_name
from reuse.layers.tracing import trace
from reuse.layers.trainability import has_hooks, is_frozen, is_mixed, is_trainable
from reuse.layers.varying import varied_rows

ROWS = (2, 3, 8)  # a model is called on these batch sizes; it is observed and its cut checked on the first and last
# Rows that go through the frozen layers to find and check a cut: 22 to probe, 16 to observe, 35 to check. Where inputs
# are whole numbers or masks, each adds up to two that are checked alone; 8 more try numbers that had to be changed.
# Where the forward itself runs behind the cut it is followed on 15 more, 27 where it draws random numbers.
ROWS_COMPUTED = 73
LAST_ENGINE = "own forward"  # where torch.fx and torch.export fail; that it fails too says nothing more


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
            return _cut(Task(model, batches, Before(moving, KnownValues()), frozenset(keep)))


def _probed(model: nn.Module, batches: tuple[Example, ...], like: Example) -> Moving:
    try:
        return probe(model, batches[0], like, batches[1])
    except CutError as error:
        raise CutError(f"the model cannot be cut: {error}") from error
    except Exception as error:
        raise CutError(f"the model cannot be cut: calling it failed: {first_line(error)} ({batches[0]})") from error


def _cut(task: Task) -> Cut:
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
            return _cut_by_own_forward(task)
        except Exception as error:
            raise CutError(f"the model cannot be cut: {joined(reasons)}") from error
    return min(found, key=lambda parts: _frozen_in_suffix(parts, task.model))


def _cut_by_fx(task: Task) -> Cut:
    """Cut, then enter wholly trainable modules at the frontier as long as that makes it smaller.

    A classifier head that pools before its linear layer is one call at first; entered, its pooling joins the prefix.
    Checking takes the longest, so only the smallest is checked, and a larger one where that fails.
    """
    best, entered = _try_inside(task)
    larger: list[frozenset[str]] = []
    while doors := _modules_at_frontier(best.cut) - entered:
        try:
            deeper = attempted("torch.fx", partial(trace, entered=entered | doors), task)
        except Exception:  # noqa: BLE001 - the cut in hand is good, whatever a forward raises here
            break
        if deeper.cut.bytes_per_sample >= best.cut.bytes_per_sample:
            break
        larger.append(entered)
        best, entered = deeper, entered | doors
    while larger:
        try:
            return checked(best, task)
        except Exception:  # noqa: BLE001 - as above
            best = attempted("torch.fx", partial(trace, entered=larger.pop()), task)
    return checked(best, task)


def _try_inside(task: Task) -> tuple[Attempt, frozenset[str]]:
    """Return the first attempt of torch.fx, and the modules that it entered: frozen ones where else nothing is cut."""
    entered: frozenset[str] = frozenset()
    first: NothingToCacheError | None = None
    while True:
        try:
            return attempted("torch.fx", partial(trace, entered=entered), task), entered
        except NothingToCacheError as error:
            first = first or error
            if error.whole <= entered:
                raise first from None
            entered |= error.whole
        except Exception:
            if first is None:
                raise
            raise first from None


def _cut_by_export(task: Task) -> Cut:
    return checked(attempted("torch.export", trace_by_export, task), task)


def _cut_by_own_forward(task: Task) -> Cut:
    """Cut, and leave the calls of layers to the forward that are not constant: it makes them when it is their turn."""
    called: frozenset[str] = frozenset()
    while True:
        attempt = attempted(LAST_ENGINE, partial(trace_own_forward, called=called), task)
        moving = {str(node.target) for side in attempt.sides for node in side.order if _is_late(node, side)}
        if not moving:
            return checked(attempt, task)
        called |= moving


def _is_late(node: fx.Node, side: DividedGraph) -> bool:
    """Return whether a node calls a layer in front of the forward that is not constant."""
    return node.op == "call_module" and node.target != MODEL and node not in side.prefix | side.pulled


_ENGINES: dict[str, Callable[[Task], Cut]] = {"torch.fx": _cut_by_fx, "torch.export": _cut_by_export}


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
