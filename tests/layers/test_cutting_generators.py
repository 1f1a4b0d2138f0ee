"""Noise behind a cut that is drawn from a generator which the model holds."""

import torch
from torch import Tensor

from exact_cuts import ThreeLayers
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
