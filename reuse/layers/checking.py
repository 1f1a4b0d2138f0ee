"""Comparing a cut with its model before it is used: on which rows, how, and leaving the model as it was."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from reuse.errors import CutError
from reuse.layers.constancy import same_values
from reuse.layers.example import Example
from reuse.layers.parameter_reads import Watched
from reuse.layers.preserving import unchanged_state
from reuse.layers.probing import NOTHING, Moving
from reuse.layers.randomness import RandomSources
from reuse.layers.structure import leaves, tensors_in
from reuse.layers.trainability import is_trainable
from reuse.layers.varying import lone_rows
from reuse.seeding import untouched_random_state

GRADIENT_TOLERANCE = 1e-3  # of the largest gradient of a parameter: sums over rows round otherwise
ROUNDINGS = 16  # by how many times what last bits move a gradient it may be off, as two ways of computing it are
MOVED = 0.1  # of the size of a parameter that trains
STRIDES = (1, 2, 3, 5, 7)  # of bits that go up and down in turn: by chance one such change moves little


def check_cut(
    model: nn.Module, prefix: nn.Module, suffix: nn.Module, batches: tuple[Example, ...], moving: Moving = NOTHING
) -> None:
    """Compare `suffix(*prefix(x))` with `model(x)` in both modes, on several batches, on rows in other company.

    What they do to the model's buffers and attributes counts too, where it is read, and which parameters get which
    gradient. In evaluation mode a row is also computed alone. What is stored is used on, as in training, after the
    parameters that train have moved.

    Args:
        model: the model.
        prefix: its frozen part.
        suffix: the rest.
        batches: inputs of growing size, of which the last is taken, and as many of its first rows as the first one
            holds. Its frontier is computed once, in evaluation mode, and used in both modes, by halves, by a few rows
            and by a single one, as a cache does, whose rows were computed in one company and are used in another.
        moving: what calls of the model move.

    Raises:
        CutError: they differ.
    """
    check, large, small = _Check(model, prefix, suffix, moving), batches[-1], batches[0]
    model.eval()  # as when rows are stored
    stored = check.frontier(large)

    def rows(chosen: Sequence[int]) -> tuple[Example, list[Tensor]]:
        indices = torch.tensor(chosen, device=stored[0].device)
        return large.rows(indices), [tensor[indices] for tensor in stored]

    few, many = range(len(small.tensors[0])), range(len(stored[0]))
    model.train()
    check.compare(*rows(many), "training mode")
    model.eval()
    check.compare(*rows(many), "evaluation mode")
    with _moved_on(model):
        model.train()
        check.compare_training(*rows(few))
        model.eval()
        for first in (0, 1):  # an extreme of the whole batch lies in one half, so the other half would miss it
            check.compare(*rows(many[first::2][::-1]), "rows of the batch depend on each other, or on what trains")
        for row in lone_rows(large):
            check.compare_alone(*rows([row]))


@contextmanager
def _moved_on(model: nn.Module) -> Iterator[None]:
    """Move what trains inside the block, as a step of training does: what was stored before must not depend on it.

    It may by an attribute that a forward sets, or by weights that it copies.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    kept = [parameter.detach().clone() for parameter in trained]
    with torch.no_grad(), untouched_random_state():
        for parameter in trained:
            parameter.add_(MOVED * (parameter.abs().mean() + MOVED) * torch.randn_like(parameter))
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(trained, kept, strict=True):
                parameter.copy_(value)


class _Check:
    """A model, the two parts of its cut, and how they are run."""

    def __init__(self, model: nn.Module, prefix: nn.Module, suffix: nn.Module, moving: Moving):
        self.model, self.prefix, self.suffix, self.moving = model, prefix, suffix, moving
        self.random = RandomSources(model)
        self.states = self.random.states()
        self.places = [place for place in moving.attributes if is_trainable(model.get_submodule(place[0]))]

    def frontier(self, batch: Example) -> list[Tensor]:
        """Return what the prefix computes of a batch, if it reads nothing that trains."""
        watched = Watched(self.model, self.prefix)
        values = list(self._run(watched, batch)[0])
        for name in watched.found:
            raise CutError(f"a frozen layer reads {name!r}, which trains and is no parameter of its own")
        return values

    def compare(self, batch: Example, frontier: list[Tensor], where: str) -> None:
        """Compare the suffix on rows of a frontier with the model on the same rows."""
        self._expect(self._run(self.model, batch), self._run(self.suffix, Example(tuple(frontier), {})), where)

    def compare_alone(self, batch: Example, frontier: list[Tensor]) -> None:
        """Compare them on one row, where the model takes that: a batch norm without running statistics does not."""
        try:
            whole = self._run(self.model, batch)
        except Exception:  # noqa: BLE001 - a user's forward raises anything
            return
        self._expect(whole, self._run(self.suffix, Example(tuple(frontier), {})), "one row alone")

    def compare_training(self, batch: Example, frontier: list[Tensor]) -> None:
        """Compare one forward and backward pass: every gradient, and which parameters get one."""
        whole, expected = self._trained(self.model, batch)
        parts, got = self._trained(self.suffix, Example(tuple(frontier), {}))
        self._expect(whole, parts, "training mode")
        largest = max((g.abs().max().item() for g in expected.values() if g.numel()), default=0.0)
        for name, _ in self.model.named_parameters():
            if (name in got) != (name in expected):
                reached = "the cut" if name in got else "the model"
                raise CutError(f"only in {reached} a gradient reaches {name!r}")
            if name in got and not _close(got[name], expected[name], largest):
                if self._rounding_explains(batch, name, got[name], expected[name]):
                    continue
                raise CutError(f"its two parts give {name!r} another gradient than the whole: its backward is its own")

    def _rounding_explains(self, batch: Example, name: str, got: Tensor, expected: Tensor) -> bool:
        """Return whether inputs that differ in their last bits move a gradient of the model as far as it is off.

        So does that of a bias before a batch norm, which is 0 but for rounding, and large where few rows are alike.
        """
        if got.shape != expected.shape:
            return False
        most = 0.0
        for stride in STRIDES:
            moved = self._trained(self.model, batch.map(partial(_in_last_bits, stride=stride)))[1].get(name)
            if moved is not None:
                most = max(most, float((moved - expected).abs().max()))
        return float((got - expected).abs().max()) <= ROUNDINGS * most

    def _expect(self, whole: tuple[Any, list[Any]], parts: tuple[Any, list[Any]], where: str) -> None:
        if not _alike(whole, parts):
            raise CutError(f"its two parts do not compute what it computes ({where})")

    def _run(self, module: Callable[..., Any], inputs: Example) -> tuple[Any, list[Any]]:
        """Run a module from the same state each time; return its value, and the model's state then."""
        with unchanged_state(self.model, self.moving.parameters), torch.no_grad():
            return self._called(module.forward if isinstance(module, torch.fx.GraphModule) else module, inputs)

    def _called(self, module: Callable[..., Any], inputs: Example) -> tuple[Any, list[Any]]:
        self.random.restore(self.states)
        value = inputs.copy().call(module)
        state = [*self.moving.counting_tensors("", self.model), *self.moving.parameters]
        places = [getattr(self.model.get_submodule(owner), name) for owner, name in self.places]
        return value, [[tensor.detach().clone() for tensor in state], places]

    def _trained(self, module: nn.Module, inputs: Example) -> tuple[tuple[Any, list[Any]], dict[str, Tensor]]:
        """Run a module as `_run` does, and backwards; return the gradients too."""
        named = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        with unchanged_state(self.model, self.moving.parameters), torch.enable_grad():
            called = self._called(module, inputs)
            values = tensors_in(called[0])
            outputs = [t for t in values if t.requires_grad and (t.is_floating_point() or t.is_complex())]
            if not outputs:
                return called, {}
            weights = list(map(_weights, outputs))
            found = torch.autograd.grad(outputs, list(named.values()), weights, allow_unused=True)
        gradients = zip(named, found, strict=True)
        return called, {n: g.detach().to_dense() if g.is_sparse else g.detach() for n, g in gradients if g is not None}


def _in_last_bits(tensor: Tensor, stride: int) -> Tensor:
    """Return a tensor whose numbers are changed in their last bits, so many up and as many down; whole ones are not."""
    if not tensor.is_floating_point():
        return tensor.clone()
    signs = (torch.arange(tensor.numel(), device=tensor.device) // stride % 2 * 2 - 1).reshape(tensor.shape)
    return tensor * (1 + signs * 2 * torch.finfo(tensor.dtype).eps).to(tensor.dtype)


def _weights(output: Tensor) -> Tensor:
    """Return what each element of an output counts in a loss: no two the same."""
    return torch.linspace(0.5, 1.5, output.numel(), device=output.device).view(output.shape).to(output.dtype)


def _alike(expected: Any, got: Any) -> bool:
    theirs, ours = leaves(expected), leaves(got)
    if len(theirs) != len(ours) or type(expected[0]) is not type(got[0]):
        return False
    return all(_same(a, b) for a, b in zip(theirs, ours, strict=True))


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and same_values(a, b)
    return type(a) is type(b) and bool(a == b)


def _close(got: Tensor, expected: Tensor, largest: float) -> bool:
    if got.shape != expected.shape:
        return False
    scale = max(expected.abs().max().item() if expected.numel() else 0.0, 1e-3 * largest)
    tolerance = GRADIENT_TOLERANCE if expected.dtype in (torch.float32, torch.float64) else 5e-2
    return torch.allclose(got, expected, rtol=tolerance, atol=tolerance * max(scale, 1e-30), equal_nan=True)
