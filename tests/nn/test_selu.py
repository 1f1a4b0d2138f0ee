import warnings
from dataclasses import replace

import pytest
import torch

from reuse.nn.building import build
from reuse.nn.encoders import encoder_of
from reuse.nn.options import LayerOptions
from reuse.nn.selu import input_concerns, network_concerns

SELU = LayerOptions(activation="selu")


@pytest.mark.parametrize(("spec", "options", "standardised", "expected"), [
    ("mlp:4,3", SELU, True, []),
    ("convnet:4,double4/5", SELU, True, []),
    ("mlp:4", LayerOptions(activation="elu", init="zeros", norm="batch"), False, []),
    ("mlp:4", SELU, False, ["inputs that are not standardised"]),
    ("mlp:4", replace(SELU, norm="batch:input"), False, ["norm 'batch:input'"]),
    ("mlp:4", replace(SELU, init="he_normal"), True, ["initial weights 'he_normal'"]),
    ("mlp:4", replace(SELU, init="lecun_uniform", norm="none"), True, []),
    ("convnet:4,residual4+dense4", SELU, True, ["residual and dense layers"]),
    ("highway:4,4", SELU, True, ["highway"]),
    ("lstm:4", SELU, True, ["recurrent"]),
    ("default", SELU, True, ["norm 'batch'"]),
    ("timm:resnet18", SELU, False, ["timm:resnet18", "not standardised"]),
    ("mlp:4", replace(SELU, init="ones", norm="layer"), False, ["'ones'", "norm 'layer'", "not standardised"]),
])  # fmt: skip
def test_every_condition_that_does_not_hold_is_named(
    spec: str, options: LayerOptions, standardised: bool, expected: list[str]
) -> None:
    concerns = network_concerns(spec, options) + input_concerns(spec, options, standardised)
    assert len(concerns) == len(expected)
    assert all(words in concern for words, concern in zip(expected, concerns, strict=True))


def test_building_warns_of_the_network_once_and_at_the_callers_line() -> None:
    with pytest.warns(UserWarning, match="selu") as caught:
        build("highway:4,4", (3,), 2, activation="selu", norm="batch", init="ones")
    assert len(caught) == 3
    assert {warning.filename for warning in caught} == {__file__}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build("mlp:4,4", (3,), 2, activation="selu", dropout=0.1, input_dropout=0.1)


def test_what_is_about_the_data_is_told_by_itself() -> None:
    assert len(input_concerns("mlp:4", replace(SELU, init="ones"), False)) == 1
    assert network_concerns("mlp:4", SELU) == []
    assert input_concerns("mlp:4", replace(SELU, init="ones"), True) == []


def test_a_plain_stack_normalises_itself_as_the_paper_says() -> None:
    torch.manual_seed(0)
    model = build(f"mlp:{','.join(['256'] * 20)}", (64,), 2, activation="selu").eval()
    x = torch.randn(1000, 64)
    hidden = encoder_of(model)(x)
    assert abs(hidden.mean().item()) < 0.1
    assert hidden.var().item() == pytest.approx(1, abs=0.25)
