"""Clipping against its worked example, torch, timm and Keras's formula."""

from collections.abc import Callable

import pytest
import torch
from timm.utils import dispatch_clip_grad
from torch.nn import Parameter

from reuse.errors import UsageError
from reuse.optim.clipping import Clip, clip_adaptive, clip_by_layer_norm, clip_by_norm, clip_by_value

CLIPS: list[Callable[[float], Clip]] = [clip_by_value, clip_by_norm, clip_by_layer_norm, clip_adaptive]


def parameters(*gradients: torch.Tensor) -> list[Parameter]:
    found = [Parameter(torch.ones_like(gradient)) for gradient in gradients]
    for parameter, gradient in zip(found, gradients, strict=True):
        parameter.grad = gradient.clone()
    return [*found, Parameter(torch.ones(2))]


def draw() -> list[torch.Tensor]:
    source = torch.Generator().manual_seed(0)
    shapes = [(5, 4), (5,), (3, 5, 2, 2), (3,)]
    return [torch.randn(s, generator=source, dtype=torch.float64) * 10**n for n, s in enumerate(shapes, start=-2)]


@pytest.mark.parametrize(
    ("clip", "expected"),
    [
        (clip_by_value(1.0), [0.9, 1.0]),
        (clip_by_norm(1.0), [0.0089996, 0.9999595]),
        (clip_by_layer_norm(1.0), [0.0089996, 0.9999595]),
    ],
)
def test_the_worked_example(clip: Clip, expected: list[float]) -> None:
    given = parameters(torch.tensor([0.9, 100.0]))
    clip(given)
    assert given[0].grad.tolist() == pytest.approx(expected, abs=1e-7)


def test_by_norm_keeps_the_direction_of_all_together() -> None:
    given = parameters(*draw())
    clip_by_norm(0.5)(given)
    flat, before = torch.cat([p.grad.flatten() for p in given[:-1]]), torch.cat([g.flatten() for g in draw()])
    assert float(flat.norm()) == pytest.approx(0.5, rel=1e-6)
    assert float(torch.nn.functional.cosine_similarity(flat, before, dim=0)) == pytest.approx(1)


def test_by_layer_norm_is_keras_formula() -> None:
    given = parameters(*draw())
    clip_by_layer_norm(0.5)(given)
    for parameter, gradient in zip(given, draw(), strict=False):
        torch.testing.assert_close(parameter.grad, gradient * 0.5 / max(float(gradient.norm()), 0.5))


def test_adaptive_is_timms() -> None:
    ours, theirs = parameters(*draw()), parameters(*draw())
    clip_adaptive(0.1)(ours)
    dispatch_clip_grad(theirs, 0.1, mode="agc")
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(ours[:-1], theirs[:-1], strict=True))
    assert not torch.equal(ours[2].grad, draw()[2])


@pytest.mark.parametrize("make", CLIPS)
def test_what_is_small_enough_stays_bit_for_bit(make: Callable[[float], Clip]) -> None:
    gradients = [gradient * 1e-6 for gradient in draw()]
    given = parameters(*gradients)
    make(0.3)(given)
    assert all(torch.equal(parameter.grad, g) for parameter, g in zip(given, gradients, strict=False))


@pytest.mark.parametrize("make", CLIPS)
def test_what_has_no_gradient_is_passed_over(make: Callable[[float], Clip]) -> None:
    alone = [Parameter(torch.ones(2))]
    make(1.0)(alone)
    assert alone[0].grad is None


@pytest.mark.parametrize("make", CLIPS)
@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_limit_is_refused(make: Callable[[float], Clip], limit: float) -> None:
    with pytest.raises(UsageError, match="above 0"):
        make(limit)
