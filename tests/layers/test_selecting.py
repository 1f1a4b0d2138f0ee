import pytest
import torch
from torch import nn

from reuse.errors import UnknownNameError, UsageError
from reuse.layers.freezing import freeze
from reuse.layers.selecting import match_names, read_amounts, select
from reuse.nn.building import build
from reuse.optim.groups import of_weights


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden1 = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU())
        self.hidden2 = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.drop = nn.Dropout()
        self.scale = nn.Parameter(torch.ones(1))
        self.output = nn.Linear(4, 2)


HIDDEN1 = {"hidden1.0.weight", "hidden1.0.bias", "hidden1.1.weight", "hidden1.1.bias"}
HIDDEN2 = {"hidden2.0.weight", "hidden2.0.bias"}
OUTPUT = {"output.weight", "output.bias"}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ("hidden1", HIDDEN1),
        ("hidden1,hidden2", HIDDEN1 | HIDDEN2),
        (["hidden1", "hidden2"], HIDDEN1 | HIDDEN2),
        ("hidden?", HIDDEN1 | HIDDEN2),
        ("*bias", {"hidden1.0.bias", "hidden1.1.bias", "hidden2.0.bias", "output.bias"}),
        ("re:hidden[12]", HIDDEN1 | HIDDEN2),
        (["re:hidden1|x{1,2}"], HIDDEN1),
        (":hidden2", HIDDEN1 | HIDDEN2 | {"scale"}),
        (":hidden1.0", {"hidden1.0.weight", "hidden1.0.bias", "scale"}),
        (":drop", HIDDEN1 | HIDDEN2 | {"scale"}),
        ("!output", HIDDEN1 | HIDDEN2 | {"scale"}),
        ("!output,!scale", HIDDEN1 | HIDDEN2),
        ("*,!hidden*", OUTPUT | {"scale"}),
        ("hidden1,!hidden1.1", {"hidden1.0.weight", "hidden1.0.bias"}),
        ("scale", {"scale"}),
    ],
)
def test_patterns(patterns: str | list[str], expected: set[str]) -> None:
    # A module's own parameters (`scale`) are registered before those of its layers.
    assert set(select(Net(), patterns).parameters) == expected


def test_a_pattern_without_a_match_names_the_nearest_layers() -> None:
    with pytest.raises(UnknownNameError, match="'hiden1' matches no layer: did you mean 'hidden1'"):
        select(Net(), "hidden2,hiden1")


def test_an_exclusion_without_a_match_is_an_error_too() -> None:
    with pytest.raises(UnknownNameError, match="outputs"):
        select(Net(), "*,!outputs")


def test_layers_without_parameters_select_nothing() -> None:
    with pytest.raises(UsageError, match="'drop' matches only layers without parameters"):
        select(Net(), "drop")


def test_patterns_that_cancel_out() -> None:
    with pytest.raises(UsageError, match="together select no parameter"):
        select(Net(), "hidden1,!hidden1")


def test_a_broken_expression() -> None:
    with pytest.raises(UsageError, match=r"'re:hidden\[' is no regular expression"):
        select(Net(), "re:hidden[")


def test_layers_are_said_shortly() -> None:
    assert select(Net(), "hidden1,hidden2.0.bias").layers == ("hidden1", "hidden2.0.bias")


def test_tied_parameters_appear_under_all_their_names() -> None:
    net = Net()
    net.output.weight = net.hidden2[0].weight
    assert {"output.weight", "hidden2.0.weight"} <= set(select(net, "*").parameters)


def test_match_names_keeps_order_and_takes_layers_above() -> None:
    names = ["a.x.weight", "a.y.weight", "b.weight"]
    assert match_names(names, "b,a") == names
    assert match_names(names, "a.x") == ["a.x.weight"]
    assert match_names(names, "!b") == ["a.x.weight", "a.y.weight"]


def test_one_number_is_for_all_that_trains_and_the_last_pattern_counts() -> None:
    model = build("mlp:4,3", (2,), 2, norm="batch")
    freeze(model, "hidden1")
    assert set(read_amounts(0.5, model, "l1").values()) == {0.5}
    assert not [name for name in read_amounts("0.5", model, "l1") if name.startswith("hidden1")]
    by_layer = read_amounts("hidden*=0.1,output=0.2,hidden2.norm=0.3", model, "l1")
    assert by_layer["hidden2.linear.weight"] == 0.1
    assert by_layer["hidden2.norm.weight"] == 0.3
    assert by_layer["output.bias"] == 0.2
    assert of_weights(by_layer, model) == {"hidden2.linear.weight": 0.1, "output.weight": 0.2}
    assert read_amounts(None, model, "l1") == {}


@pytest.mark.parametrize("text", ["hidden1", "hidden1=", "=0.1", "hidden1=much", "nothing=0.1", "hidden1=0.1,"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        read_amounts(text, build("mlp:4,3", (2,), 2), "l1")
