import pytest
import torch
from torch import fx

from reuse.errors import UsageError
from reuse.nn.building import build
from reuse.nn.decoders import build_decoder, encoder_of
from reuse.nn.hidden import HiddenStyle
from reuse.nn.highway import HighwayLayer


def test_equals_the_papers_formula() -> None:
    torch.manual_seed(0)
    model = build("highway:5,5", (2, 3), 4, activation="tanh").double()
    x, w = torch.randn(6, 2, 3, dtype=torch.float64), model.state_dict()
    h1 = (x.reshape(6, 6) @ w["hidden1.linear.weight"].T + w["hidden1.linear.bias"]).tanh()
    transformed = (h1 @ w["hidden2.transform.linear.weight"].T + w["hidden2.transform.linear.bias"]).tanh()
    share = 1 / (1 + (-(h1 @ w["hidden2.gate.weight"].T + w["hidden2.gate.bias"])).exp())
    h2 = transformed * share + h1 * (1 - share)
    torch.testing.assert_close(model(x), h2 @ w["output.weight"].T + w["output.bias"])


def test_at_first_a_layer_passes_most_of_its_inputs_on() -> None:
    torch.manual_seed(0)
    layer, x = HighwayLayer(200, HiddenStyle()), torch.randn(50, 200)
    share = torch.sigmoid(layer.gate(x))
    assert share.median().item() == pytest.approx(torch.tensor(-2.0).sigmoid().item(), abs=0.02)
    assert torch.corrcoef(torch.stack([layer(x).flatten(), x.flatten()]))[0, 1] > 0.9


@pytest.mark.parametrize("norm", [None, "batch", "layer:after", "weight"])
def test_a_deep_stack_is_traceable_and_learns_everywhere(norm: str | None) -> None:
    torch.manual_seed(0)
    model = build(f"highway:{','.join(['8'] * 20)}", (4,), 3, norm=norm, dropout=0.1)
    x = torch.randn(64, 4)
    model(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    torch.testing.assert_close(fx.symbolic_trace(model.eval())(x), model(x))


def test_widths_are_equal() -> None:
    with pytest.raises(UsageError, match="equally wide; 8,9"):
        build("highway:8,9", (4,), 3)


def test_has_a_decoder_and_takes_tokens() -> None:
    encoder = encoder_of(build("highway:8,8", (4,), 3))
    assert build_decoder(encoder, torch.zeros(1, 4))(torch.zeros(2, 8)).shape == (2, 4)
    tokens = build("highway:8,8", (7,), 3, num_tokens=20)
    assert tokens(torch.ones(2, 7, dtype=torch.long)).shape == (2, 3)
