"""Layers that round by a scale of the whole batch stay behind the cut, though no row of an example shows it."""

from functools import lru_cache, partial
from operator import attrgetter

import pytest
import torch
from torch import fx, nn
from torch.nn import functional as F

from reuse.layers import batch_scales
from reuse.layers.batch_scales import _is_dynamic, scales_by_batch
from reuse.layers.cutting import cut
from reuse.layers.freezing import freeze

MARK = 0.777

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*quantiz:UserWarning",
    "ignore:.*quantiz:DeprecationWarning",
    "ignore:.*observer.*:UserWarning",
    "ignore:.*torch.jit.script:FutureWarning",
    "ignore:.*torch.jit.script:DeprecationWarning",
)


class Quantised(nn.Module):
    def __init__(self):
        super().__init__()
        layers = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
        self.layers = torch.ao.quantization.quantize_dynamic(layers, {nn.Linear})

    def forward(self, x):
        return self.layers(x)


class QuantisedByFunction(nn.Module):
    def forward(self, x):
        return torch.quantize_per_tensor_dynamic(x, torch.qint8, False).dequantize() * 3


def rounded(x):
    return torch.quantize_per_tensor_dynamic(x, torch.qint8, False).dequantize() * 3


def rounded_where_large(x):
    if bool(x.max() > -1e9):
        x = torch.quantize_per_tensor_dynamic(x, torch.qint8, False).dequantize() * 3
    return x


def rounded_by_observing(x):
    observer = torch.ao.quantization.MinMaxObserver(dtype=torch.qint8)
    observer(x)
    scale, zero = observer.calculate_qparams()
    return torch.fake_quantize_per_tensor_affine(x, scale, zero.int(), -128, 127) * 3


def within(function):
    return lambda x: function(x)


class Rounding:
    def __call__(self, x):
        return rounded(x)


class RoundedWithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return rounded(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Helped(nn.Module):
    """A helper rounds, which the layer holds."""

    def __init__(self, helper):
        super().__init__()
        self.helpers = [helper]

    def forward(self, x):
        return self.helpers[0](x)


class Named(nn.Module):
    def forward(self, x):
        return rounded(x)


class Observed(nn.Module):
    def forward(self, x):
        return rounded_by_observing(x)


class ByDefault(nn.Module):
    def forward(self, x, rounding=rounded):
        return rounding(x)


class ByText(nn.Module):
    def forward(self, x):
        return getattr(torch, "quantize_per_tensor_dynamic")(x, torch.qint8, False).dequantize() * 3  # noqa: B009


class Aliased(nn.Module):
    def forward(self, x):
        return rounds(x, torch.qint8, False).dequantize() * 3


class InTable(nn.Module):
    def forward(self, x):
        return TABLE["rounded"](x)


class WithGradient(nn.Module):
    def forward(self, x):
        return RoundedWithGradient.apply(x)


class Hidden(nn.Module):
    """A quantised layer that is no part of the model."""

    def __init__(self):
        super().__init__()
        self.layers = [Quantised().layers]

    def forward(self, x):
        return self.layers[0](x)


class Exporting(nn.Module):
    """Layers with methods beside `forward`, or in place of it, which torch compiles too."""

    @torch.jit.export
    def rounded(self, x):
        return torch.quantize_per_tensor_dynamic(x, torch.qint8, False).dequantize() * 3


class ExportingBeside(Exporting):
    def forward(self, x):
        return x * 2


class Holding(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = ExportingBeside()

    def forward(self, x):
        return x * 2


class ByMethod(nn.Module):
    """A layer that calls another method of a compiled layer than `forward`."""

    def __init__(self, compiled, path="rounded"):
        super().__init__()
        self.compiled, self.path = compiled, path

    def forward(self, x):
        return attrgetter(self.path)(self.compiled)(x)


rounds = torch.quantize_per_tensor_dynamic
TABLE = {"rounded": rounded}
OPERATOR = partial(torch.quantize_per_tensor_dynamic, dtype=torch.qint8, reduce_range=False)
HELPED = {
    "layer": Quantised,
    "function": QuantisedByFunction,
    "by name": Named,
    "by an observer": Observed,
    "by default": ByDefault,
    "by text": ByText,
    "by another name": Aliased,
    "in a table": InTable,
    "with a gradient": WithGradient,
    "hidden layer": Hidden,
    "attribute": lambda: Helped(rounded),
    "closure": lambda: Helped(within(rounded)),
    "partial": lambda: Helped(partial(lambda scale, x: rounded(x) * scale, 1.0)),
    "partial of an operator": lambda: Helped(lambda x: OPERATOR(x).dequantize() * 3),
    "object": lambda: Helped(Rounding()),
    "bound method": lambda: Helped(Rounding().__call__),
    "kept results": lambda: Helped(lru_cache(maxsize=0)(rounded)),
    "without gradients": lambda: Helped(torch.no_grad()(rounded)),
    "scripted": lambda: Helped(torch.jit.script(rounded)),
    "scripted in a branch": lambda: Helped(torch.jit.script(rounded_where_large)),
    "scripted layer": lambda: torch.jit.script(QuantisedByFunction()),
    "scripted, without a forward": lambda: ByMethod(torch.jit.script(Exporting())),
    "scripted, beside a forward": lambda: ByMethod(torch.jit.script(ExportingBeside())),
    "scripted, in a scripted layer": lambda: ByMethod(torch.jit.script(Holding()), "inner.rounded"),
    "scripted method": lambda: Helped(torch.jit.script(ExportingBeside()).rounded),
}


class Rare(nn.Module):
    """Rows that begin with a mark go through one more layer."""

    def __init__(self, inner):
        super().__init__()
        self.first, self.inner = nn.Linear(8, 8), inner

    def forward(self, x):
        h = self.first(x)
        return torch.where((x[:, :1] - MARK).abs() < 1e-3, self.inner(h), h)


def network(inner):
    torch.manual_seed(0)
    return nn.Sequential(Rare(inner), nn.Linear(8, 3)).eval()


@pytest.mark.parametrize(
    "inner", [Quantised, QuantisedByFunction, *HELPED.values()], ids=["layer", "function", *HELPED]
)
def test_what_a_row_becomes_does_not_depend_on_the_batch_that_it_was_stored_with(inner):
    model = network(inner())
    freeze(model, "0")
    x = torch.rand(40, 8) * 0.5
    parts = cut(model, x[:8])
    x[7, 0] = MARK
    stored = [parts.prefix(row[None]) for row in x]  # each row alone, and used in another company
    together = [torch.cat(tensors) for tensors in zip(*stored, strict=True)]
    for rows in (slice(0, 10), slice(0, 40), slice(5, 9)):
        torch.testing.assert_close(parts.suffix(*(t[rows] for t in together)), model(x[rows]))
    assert any(parameter is model[0].first.weight for parameter in parts.prefix.parameters())


def test_a_layer_that_scales_each_row_by_itself_is_cut():
    class ByRow(nn.Module):
        def forward(self, x):
            scale = x.abs().amax(1, keepdim=True) / 127
            return F.relu((x / scale).round() * scale)

    model = network(ByRow())
    freeze(model, "0")
    parts = cut(model, torch.rand(8, 8))
    assert [tensor.shape for tensor in parts.frontier] == [(8,)]


def test_a_compiled_layer_without_a_forward_that_scales_nothing_is_cut():
    class Doubling(nn.Module):
        @torch.jit.export
        def rounded(self, x):
            return x * 2

    model = network(ByMethod(torch.jit.script(Doubling())))
    freeze(model, "0")
    parts = cut(model, torch.rand(8, 8))
    assert [tensor.shape for tensor in parts.frontier] == [(8,)]


def test_a_helper_that_scales_each_row_by_itself_is_cut():
    def by_row(x):
        return (x / x.abs().amax(1, keepdim=True)).sign()

    model = network(Helped(partial(within(by_row))))
    freeze(model, "0")
    parts = cut(model, torch.rand(8, 8))
    assert [tensor.shape for tensor in parts.frontier] == [(8,)]


def test_a_method_that_is_called_like_an_operator_of_torch_is_none():
    class Stepping(nn.Module):
        def step_dynamic(self, x):
            return F.relu(x)

        def forward(self, x):
            return self.step_dynamic(x)

    assert not any(map(_is_dynamic, map(type, network(Stepping()).modules())))


class Sharing(nn.Module):
    """A layer with settings that others hold too, which torch.fx calls as a whole."""

    def __init__(self, settings):
        super().__init__()
        self.settings, self.linear = settings, nn.Linear(8, 8)

    def forward(self, x):
        return self.linear(x) if x.sum() < 1e9 else x


class Settings:
    pass


def test_what_layers_share_is_gone_through_once_for_each_graph(monkeypatch):
    asked, scales, settings = [], batch_scales._scales, Settings()
    monkeypatch.setattr(batch_scales, "_scales", lambda value: asked.append(value) or scales(value))
    model = nn.Sequential(*(Sharing(settings) for _ in range(6)), nn.Linear(8, 3)).eval()
    for name in "012345":
        freeze(model, name)
    cut(model, torch.rand(8, 8))
    assert 1 <= sum(value is settings for value in asked) <= 2  # in training and in evaluation


def test_each_of_the_layers_that_share_what_rounds_is_known():
    node, shared, cleared = fx.Graph().call_module("layer"), Rounding(), {}
    layers = [Helped(within(F.relu)), Helped(shared), Helped(within(F.relu)), Helped(shared), Named(), Named()]
    assert [scales_by_batch(node, layer, cleared) for layer in layers] == [False, True, False, True, True, True]
