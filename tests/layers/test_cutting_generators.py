"""Noise that is drawn from generators which a model holds, or its file."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from exact_cuts import ThreeLayers
from reuse.errors import CutError
from reuse.layers.cutting import cut
from reuse.layers.freezing import freeze

X = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).double()


class OwnNoise(ThreeLayers):
    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.a(x)
        if self.training:
            hidden = hidden + torch.randn(hidden.shape, generator=self.generator, dtype=hidden.dtype)
        return self.c(self.b(hidden))


def test_a_suffix_draws_from_the_generator_of_its_model() -> None:
    model = OwnNoise()
    freeze(model, "a")
    before = model.generator.get_state()
    parts = cut(model, X[:2])
    assert torch.equal(model.generator.get_state(), before)
    assert [tensor.shape for tensor in parts.frontier] == [(4,)]
    stored = parts.prefix(X)
    for mode in (True, False):
        model.train(mode)
        model.generator.manual_seed(7)
        expected = [model(X) for _ in range(3)]
        model.generator.manual_seed(7)
        got = [parts.suffix(*stored) for _ in range(3)]
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
        assert torch.equal(expected[0], expected[1]) is not mode


GENERATOR = random.Random(3)
NUMBERS = np.random.default_rng(3)


SELDOM = 1e-6


class Seldom(nn.Module):
    """A frozen layer that now and then doubles."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4).double()

    def is_drawn(self) -> bool:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * (2 if self.is_drawn() else 1)


class InAMethod(Seldom):
    def is_drawn(self) -> bool:
        return GENERATOR.random() < SELDOM


class ByNumpy(Seldom):
    def is_drawn(self) -> bool:
        return bool(NUMBERS.random() < SELDOM)


def drawn_by_a_function() -> float:
    return GENERATOR.random()


class InAFunction(Seldom):
    def is_drawn(self) -> bool:
        return drawn_by_a_function() < SELDOM


class InAComprehension(Seldom):
    def is_drawn(self) -> bool:
        return any(GENERATOR.random() < SELDOM for _ in range(1))


class InAStaticMethod(Seldom):
    @staticmethod
    def drawn() -> float:
        return GENERATOR.random()

    def is_drawn(self) -> bool:
        return self.drawn() < SELDOM


class Decorated(Seldom):
    @torch.no_grad()
    def is_drawn(self) -> bool:
        return GENERATOR.random() < SELDOM


KINDS = (InAMethod, ByNumpy, InAFunction, InAComprehension, InAStaticMethod, Decorated)


@pytest.mark.parametrize("kind", KINDS)
def test_a_frozen_layer_that_draws_from_a_generator_of_its_file_is_not_cached(kind: Any) -> None:
    model = nn.Sequential(kind(), nn.Linear(4, 2).double())
    freeze(model, "0")
    before = GENERATOR.getstate(), NUMBERS.bit_generator.state
    with pytest.raises(CutError, match="'0' cannot be cached: it draws random numbers"):
        cut(model, X)
    assert before == (GENERATOR.getstate(), NUMBERS.bit_generator.state)
