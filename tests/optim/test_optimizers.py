"""Names mean what torch means by them; frozen parameters are absent; wrong settings are refused."""

import functools
import inspect
import itertools
from typing import Any

import pytest
import timm.optim
import torch
from torch import nn

from reuse.errors import UnknownNameError, UsageError
from reuse.optim.optimizers import OPTIMIZERS, REFUSED, OptimizerSettings, build_optimizer

AS_TORCH: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "sgd": (torch.optim.SGD, {}),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "nesterov": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "adagrad": (torch.optim.Adagrad, {}),
    "adadelta": (torch.optim.Adadelta, {}),
    "rmsprop": (torch.optim.RMSprop, {}),
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {}),
    "adamax": (torch.optim.Adamax, {}),
    "nadam": (torch.optim.NAdam, {}),
    "radam": (torch.optim.RAdam, {}),
    "adafactor": (torch.optim.Adafactor, {}),
    "asgd": (torch.optim.ASGD, {}),
    "rprop": (torch.optim.Rprop, {}),
    "muon": (torch.optim.Muon, {}),
}


def network(bias: bool = True) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5, bias=bias), nn.Tanh(), nn.Linear(5, 2, bias=bias)).double()


def build(model: nn.Module, name: str, learning_rate: float = 0.1, **settings: Any) -> torch.optim.Optimizer:
    return build_optimizer(OptimizerSettings(name, learning_rate, **settings), list(model.named_parameters()))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 5) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 4, generator=draw, dtype=torch.float64)).square().mean().backward()
        optimizer.step()
    return [parameter.detach() for parameter in model.parameters()]


def test_every_name_that_can_be_used_is_compared() -> None:
    assert AS_TORCH.keys() == OPTIMIZERS.keys()


def test_torch_has_no_optimizer_that_the_menu_lacks() -> None:
    theirs = {v for v in vars(torch.optim).values() if isinstance(v, type) and issubclass(v, torch.optim.Optimizer)}
    ours = {make.func if isinstance(make, functools.partial) else make for make in OPTIMIZERS.values()}
    assert {kind.__name__.lower() for kind in theirs - {torch.optim.Optimizer} - ours} == {
        name.replace("_", "") for name in REFUSED
    }


@pytest.mark.parametrize(("name", "decay"), list(itertools.product(AS_TORCH, [0.0, 0.1])))
def test_name_moves_weights_as_torch_does(name: str, decay: float) -> None:
    make, fixed = AS_TORCH[name]
    decays = "weight_decay" in inspect.signature(make).parameters
    if decay and not decays:
        pytest.skip("has no weight decay")
    ours, theirs = network(bias=name != "muon"), network(bias=name != "muon")
    if decays:
        fixed = {**fixed, "weight_decay": decay}
    found = train(ours, build(ours, name, 0.05, weight_decay=decay, decay_all=True))
    torch.testing.assert_close(found, train(theirs, make(theirs.parameters(), lr=0.05, **fixed)))


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "rmsprop", "lamb:betas=0.8/0.99", "sgdp"])
def test_momentum_setting_goes_to_those_that_take_it(name: str) -> None:
    if "lamb" in name:
        with pytest.raises(UsageError, match="takes no momentum"):
            build(network(), name, momentum=0.7)
    else:
        assert [group["momentum"] for group in build(network(), name, momentum=0.7).param_groups] == [0.7]


def test_timm_supplies_the_other_names() -> None:
    optimizer = build(network(), "lamb", weight_decay=0.02, decay_all=True)
    assert isinstance(optimizer, timm.optim.Lamb)
    assert [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups] == [(0.1, 0.02)]


def test_lookahead_goes_around_any() -> None:
    ours, theirs = network(), network()
    found = train(ours, build(ours, "lookahead_sgd"), steps=13)
    around = timm.optim.Lookahead(torch.optim.SGD(theirs.parameters(), lr=0.1))
    torch.testing.assert_close(found, train(theirs, around, steps=13))


def test_arguments_behind_a_colon_reach_the_optimizer() -> None:
    ours, theirs = network(), network()
    found = train(ours, build(ours, "rmsprop:alpha=0.9,eps=1e-3,centered=true"))
    make = torch.optim.RMSprop(theirs.parameters(), lr=0.1, alpha=0.9, eps=1e-3, centered=True)
    torch.testing.assert_close(found, train(theirs, make))
    assert build(network(), "adam:betas=0.5/0.6").param_groups[0]["betas"] == (0.5, 0.6)
    assert build(network(), "adafactor:eps=none/0.01,d=2").param_groups[0]["eps"] == (None, 0.01)
    assert build(network(), "adabelief:betas=0.5/0.6").param_groups[0]["betas"] == (0.5, 0.6)


class SignDescent(torch.optim.Optimizer):
    """An optimizer from outside: any class of this shape fits."""

    def __init__(self, params: Any, lr: float = 0.1, scale: float = 1.0) -> None:
        super().__init__(params, {"lr": lr, "scale": scale})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.sub_(parameter.grad.sign(), alpha=group["lr"] * group["scale"])


def test_an_optimizer_from_outside_is_one_line_of_the_menu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPTIMIZERS, "sign", SignDescent)
    ours, theirs = network(), network()
    found = train(ours, build(ours, "sign:scale=2", 0.05))
    torch.testing.assert_close(found, train(theirs, SignDescent(theirs.parameters(), 0.05, scale=2.0)))
    for wrong, said in [
        ({"name": "sign:size=2"}, "did you mean|sign takes scale"),
        ({"name": "sign", "momentum": 0.9}, "takes no momentum"),
        ({"name": "sign", "weight_decay": 0.1}, "has no weight decay"),
    ]:
        with pytest.raises(UsageError, match=said):
            build(network(), **wrong)


def test_frozen_parameters_are_absent() -> None:
    model = network()
    model[0].requires_grad_(False)
    optimizer = build(model, "sgd", weight_decay=1.0)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in model[2].parameters()}


@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate": 0.0},
        {"learning_rate": -0.1},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
        {"weight_decay": -1.0},
        {"weight_decay": float("nan")},
        {"momentum": 1.0},
        {"momentum": float("nan")},
        {"momentum": 0.9, "name": "adam"},
        {"momentum": 0.0, "name": "nesterov"},
        {"weight_decay": 0.1, "name": "rprop"},
        {"rates": {"0.weight": 0.0}},
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        build(network(), **{"name": "sgd", **settings})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rmsprop:alfa=0.9", "did you mean 'alpha'.*rmsprop takes alpha, eps, centered"),
        ("rmsprop:lr=0.9", "use the setting learning rate"),
        ("rmsprop:0.9", "write key=value"),
        ("rmsprop:alpha=0.9,alpha=0.8", "twice"),
        ("rmsprop:alpha=high", "alpha is 'high'; give a number"),
        ("adam:fused=true", "takes no 'fused'"),
        ("adam:amsgrad=abc", "true or false"),
        ("nadamw:caution=2", "true or false"),
        ("adabelief:alpha=1", "takes no 'alpha'"),
        ("lbfgs", "many times a step.*choose adam"),
        ("sparse_adam", "sparse gradients only.*choose adam"),
        ("adahessian", "second derivatives"),
        ("muon", r"2 of 4 .*\(0.bias.*choose nmuon"),
        ("fusedadam", "cannot be used here"),
    ],
)
def test_the_refusal_says_why_and_what_to_do(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build(network(), name)


def test_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="'nesterov'"):
        build(network(), "nesterof")


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(UsageError, match="frozen"):
        build(network().requires_grad_(False), "sgd")
