import sys
from pathlib import Path

import pytest
import torch

from reuse.errors import UnknownNameError, UsageError
from reuse.nn.building import build

SOURCE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, in_features, num_classes, activation="tanh"):
        super().__init__()
        self.hidden, self.head = nn.Linear(in_features, 6), nn.Linear(6, num_classes)
        self.activation = activation
    def forward(self, x):
        return self.head(self.hidden(x.flatten(1)).relu())

def conv(in_chans, out_features):
    return nn.Sequential(nn.Conv2d(in_chans, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, out_features))

def words(input_shape, num_outputs):
    return nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(4 * input_shape[0], num_outputs))

def wrong_width(num_outputs):
    return nn.Linear(5, num_outputs + 1)

def wrong_inputs(num_outputs):
    return nn.Linear(6, num_outputs)

def no_module(num_outputs):
    return "net"

def two(num_outputs):
    return Two()

class Two(nn.Module):
    def forward(self, x):
        return x, x

def failing(num_outputs):
    return undefined_name

def refusing(num_outputs):
    from reuse.nn.building import build
    return build("mpl:3", (5,), num_outputs)

def leaving(num_outputs):
    raise SystemExit("bye")

def greedy(depth, /, num_outputs, temperature):
    return None

made = nn.Linear(5, 3)
"""


@pytest.fixture(autouse=True)
def module_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop_nets.py").write_text(SOURCE)
    (tmp_path / "broken_nets.py").write_text("import no_such_package_anywhere")
    monkeypatch.delitem(sys.modules, "shop_nets", raising=False)


@pytest.mark.parametrize(("name", "shape"), [("Net", (5,)), ("Net", (3, 4, 4)), ("conv", (3, 8, 8)), ("words", (7,))])
def test_a_callable_gets_what_its_signature_names(name: str, shape: tuple[int, ...]) -> None:
    model = build(f"shop_nets:{name}", shape, 3)
    x = torch.zeros(4, *shape, dtype=torch.long if name == "words" else torch.float32)
    assert model(x).shape == (4, 3)


def test_settings_go_to_those_who_name_them_and_are_not_dropped_in_silence() -> None:
    assert build("shop_nets:Net", (5,), 3, activation="elu").activation == "elu"
    with pytest.raises(UsageError, match="activation"):
        build("shop_nets:conv", (3, 8, 8), 3, activation="elu")  # its activation is no module
    with pytest.raises(UsageError, match="input_dropout"):
        build("shop_nets:conv", (3, 8, 8), 3, input_dropout=0.1)


def test_an_installed_module_will_do() -> None:
    assert build("torch.nn:Linear", (5,), 3)(torch.zeros(2, 5)).shape == (2, 3)


def test_the_path_is_left_as_it_was() -> None:
    before = list(sys.path)
    build("shop_nets:Net", (5,), 3)
    assert sys.path == before


@pytest.mark.parametrize(("name", "message"), [
    ("wrong_width", r"\(2, 4\).*\(2, 3\)"),
    ("wrong_inputs", r"does not take inputs \(5,\)"),
    ("no_module", r"returned a str"),
    ("two", "returns a tuple"),
    ("greedy", "needs temperature, depth"),
    ("made", "makes a new module"),
    ("failing", "shop_nets:failing failed on num_outputs .NameError: name 'undefined_name' is not defined"),
    ("refusing", "^unknown model 'mpl:3'"),
    ("leaving", "SystemExit: bye"),
])  # fmt: skip
def test_what_does_not_fit_is_said_clearly(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(f"shop_nets:{name}", (5,), 3)


def test_unknown_attribute_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="'Net'"):
        build("shop_nets:net1", (5,), 3)


def test_a_module_that_cannot_be_imported_says_why() -> None:
    with pytest.raises(UsageError, match="no_such_package_anywhere"):
        build("broken_nets:Net", (5,), 3)


@pytest.mark.parametrize(("source", "message"), [
    ("undefined_name", "NameError: name 'undefined_name' is not defined"),
    ("assert False", "AssertionError"),
    ("def f(:", "SyntaxError"),
    ("raise SystemExit(3)", "SystemExit: 3"),
    ("raise RuntimeError('one\\ntwo')", "RuntimeError: one two"),
])  # fmt: skip
@pytest.mark.parametrize("name", ["failing_nets", "failing_package.nets"])
def test_a_module_that_fails_on_import_says_how(tmp_path: Path, name: str, source: str, message: str) -> None:
    (tmp_path / "failing_nets.py").write_text(source)
    (tmp_path / "failing_package").mkdir()
    (tmp_path / "failing_package" / "__init__.py").write_text(source)
    (tmp_path / "failing_package" / "nets.py").write_text("")
    with pytest.raises(UsageError, match=rf"the module of {name}:Net cannot be imported \({message}") as caught:
        build(f"{name}:Net", (5,), 3)
    assert caught.value.__cause__ is not None
