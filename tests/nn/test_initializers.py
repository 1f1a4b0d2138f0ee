import math

import pytest
import torch

from reuse.errors import UnknownNameError, UsageError
from reuse.nn.initializers import INITIALIZERS, default_initializer, initializer

# A convolution of 40 channels into 60, 3x3: fan_in 360, fan_out 540.
SHAPE = (60, 40, 3, 3)
FAN_IN, FAN_OUT = 360, 540

VARIANCES = {
    "glorot_uniform": 2 / (FAN_IN + FAN_OUT),
    "glorot_normal": 2 / (FAN_IN + FAN_OUT),
    "he_uniform": 2 / FAN_IN,
    "he_normal": 2 / FAN_IN,
    "lecun_uniform": 1 / FAN_IN,
    "lecun_normal": 1 / FAN_IN,
    "variance_scaling": 1 / FAN_IN,
    "variance_scaling:2,fan_avg,uniform": 4 / (FAN_IN + FAN_OUT),
    "variance_scaling:3,fan_out,normal": 3 / FAN_OUT,
    "zeros": 0.0,
    "ones": 0.0,
    "constant:0.3": 0.0,
    "normal": 0.01**2,
    "normal:0.5": 0.25,
    "orthogonal": 1 / FAN_IN,
}
MEANS = {"ones": 1.0, "constant:0.3": 0.3}


@pytest.mark.parametrize("name", VARIANCES)
def test_mean_and_variance_are_those_of_the_formula(name: str) -> None:
    torch.manual_seed(0)
    weight = initializer(name)(torch.full(SHAPE, math.nan))
    assert weight.var().item() == pytest.approx(VARIANCES[name], rel=0.03, abs=1e-12)
    assert weight.mean().item() == pytest.approx(
        MEANS.get(name, 0.0), abs=4 * math.sqrt(VARIANCES[name] / 21600) + 1e-6
    )


def test_every_name_of_the_menu_is_measured() -> None:
    assert set(INITIALIZERS) == {name.partition(":")[0] for name in VARIANCES}


@pytest.mark.parametrize("name", ["glorot_uniform", "he_uniform", "lecun_uniform"])
def test_uniform_ones_stay_within_their_limit(name: str) -> None:
    limit = math.sqrt(3 * VARIANCES[name])
    weight = initializer(name)(torch.empty(SHAPE))
    assert 0.99 * limit < weight.abs().max() <= limit * (1 + 1e-6)


@pytest.mark.parametrize("name", ["glorot_normal", "he_normal", "lecun_normal"])
def test_normal_ones_are_cut_at_two_standard_deviations(name: str) -> None:
    cut = 2 * math.sqrt(VARIANCES[name]) / 0.8796
    assert 0.97 * cut < initializer(name)(torch.empty(SHAPE)).abs().max() <= cut * 1.001


def test_orthogonal_rows() -> None:
    weight = initializer("orthogonal")(torch.empty(5, 9))
    torch.testing.assert_close(weight @ weight.T, torch.eye(5))


def test_defaults_follow_the_activation() -> None:
    assert {default_initializer(name) for name in ("none", "sigmoid", "tanh", "softsign")} == {"glorot_uniform"}
    assert {default_initializer(name) for name in ("relu", "leaky_relu:0.2", "elu", "prelu:0", "mish")} == {"he_normal"}
    assert default_initializer("selu") == "lecun_normal"


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="he_normal"):
        initializer("he-norm")
    with pytest.raises(UnknownNameError, match="fan_avg"):
        initializer("variance_scaling:2,fan_average")(torch.empty(2, 2))


@pytest.mark.parametrize("name", ["zeros:1", "variance_scaling:0", "variance_scaling:big"])
def test_arguments_that_do_not_fit_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        initializer(name)(torch.empty(2, 2))
