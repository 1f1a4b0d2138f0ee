import math

import pytest
import torch
from torch.nn import functional

from reuse.errors import UnknownNameError, UsageError
from reuse.nn.activations import ACTIVATIONS, build_activation

X = torch.linspace(-4, 4, 81, dtype=torch.float64)

ALPHA, SCALE = 1.6732632423543772, 1.0507009873554805

# The formulas of the papers, in float64.
FORMULAS = {
    "none": lambda x: x,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": lambda x: (math.exp(x) - math.exp(-x)) / (math.exp(x) + math.exp(-x)),
    "softsign": lambda x: x / (1 + abs(x)),
    "relu": lambda x: max(x, 0.0),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "leaky_relu:0.2": lambda x: x if x > 0 else 0.2 * x,
    "rrelu": lambda x: x if x > 0 else (1 / 8 + 1 / 3) / 2 * x,
    "rrelu:0.1,0.3": lambda x: x if x > 0 else 0.2 * x,
    "prelu": lambda x: x if x > 0 else 0.25 * x,
    "prelu:0": lambda x: max(x, 0.0),
    "elu": lambda x: x if x > 0 else math.exp(x) - 1,
    "elu:0.5": lambda x: x if x > 0 else 0.5 * (math.exp(x) - 1),
    "selu": lambda x: SCALE * (x if x > 0 else ALPHA * (math.exp(x) - 1)),
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "silu": lambda x: x / (1 + math.exp(-x)),
    "swish": lambda x: x / (1 + math.exp(-x)),
    "relu6": lambda x: min(max(x, 0.0), 6.0),
    "hard_swish": lambda x: x * min(max(x + 3, 0.0), 6.0) / 6,
    "softplus": lambda x: math.log1p(math.exp(x)),
    "mish": lambda x: x * math.tanh(math.log1p(math.exp(x))),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_equals_the_formula(name: str) -> None:
    expected = torch.tensor([FORMULAS[name](float(x)) for x in X], dtype=torch.float64)
    actual = build_activation(name).double().eval()(X)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def test_every_name_of_the_menu_has_a_formula() -> None:
    assert set(ACTIVATIONS) == {name.partition(":")[0] for name in FORMULAS}


def test_words_are_passed_on() -> None:
    torch.testing.assert_close(build_activation("gelu:tanh")(X), functional.gelu(X, approximate="tanh"))


def test_rrelu_draws_its_slope_while_training() -> None:
    slopes = build_activation("rrelu").train()(-torch.ones(1000))
    assert slopes.std() > 0.01
    assert -1 / 3 <= slopes.min() < slopes.max() <= -1 / 8


def test_each_call_gives_a_new_module() -> None:
    assert build_activation("prelu") is not build_activation("prelu")


def test_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="leaky_relu"):
        build_activation("leakyrelu")


@pytest.mark.parametrize("name", ["relu:1", "elu:1,2", "gelu:erf", "rrelu:0.3,0.1"])
def test_arguments_that_do_not_fit_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        build_activation(name)
