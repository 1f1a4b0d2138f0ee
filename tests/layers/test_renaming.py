"""Names of a source's tensors brought to those of a model."""

import pytest
import torch
from torch import Tensor, nn

from reuse.errors import UsageError
from reuse.layers.renaming import find_renaming, parse_renaming, rename
from reuse.nn.building import build


def network() -> nn.Module:
    return build("mlp:9,8,7", (5,), 3)


def state(prefix: str, *, without: str = "-") -> dict[str, Tensor]:
    return {f"{prefix}{name}": t for name, t in network().state_dict().items() if not name.startswith(without)}


@pytest.mark.parametrize("prefix", ["model.", "backbone.", "net.encoder.", "a.b.c."])
@pytest.mark.parametrize("without", ["-", "output"])
def test_a_prefix_that_the_layers_have_is_found(prefix: str, without: str) -> None:
    given = {**state(prefix, without=without), "criterion.weight": torch.ones(3), "epochs": torch.ones(())}
    assert find_renaming(given, network().state_dict()) == {prefix.rstrip("."): ""}


def test_a_prefix_that_the_model_has_is_found() -> None:
    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = network()
            self.top = nn.Linear(3, 2)

    assert find_renaming(state(""), Around().state_dict()) == {"": "body"}


def test_of_two_copies_the_average_is_taken() -> None:
    for names in (("student", "teacher"), ("teacher", "student"), ("online", "target_net"), ("momentum_encoder", "q")):
        given = {name: tensor for prefix in names for name, tensor in state(f"{prefix}.").items()}
        found = next(iter(find_renaming(given, network().state_dict())))
        assert found in ("teacher", "target_net", "momentum_encoder")


def test_names_that_fit_stay() -> None:
    homes = network().state_dict()
    assert find_renaming(state(""), homes) == {}
    assert find_renaming({**state(""), **state("old.")}, homes) == {}


def test_layers_that_happen_to_be_alike_are_not_taken_for_each_other() -> None:
    """A few shapes that fit under another name are no reason to carry weights from one layer into another."""
    source, model = build("mlp:8,8,8", (8,), 3).state_dict(), build("mlp:8,8,6", (8,), 3)
    shifted = {name.replace("hidden1", "stem"): tensor for name, tensor in source.items()}
    assert find_renaming(shifted, model.state_dict()) == {}
    alike = {"stem.linear.weight": torch.ones(8, 8), "other.weight": torch.ones(2)}
    assert find_renaming(alike, model.state_dict()) == {}


def test_a_renaming_is_written_as_old_and_new() -> None:
    assert parse_renaming("backbone=") == {"backbone": ""}
    assert parse_renaming("body=features, head. = top.fc") == {"body": "features", "head": "top.fc"}
    for text in ("backbone", "", "a=b,a=c"):
        with pytest.raises(UsageError, match="give old=new"):
            parse_renaming(text)


def test_tensors_under_other_names() -> None:
    given = {"a.b.w": torch.zeros(1), "a.w": torch.ones(1), "ab.w": torch.ones(2)}
    assert set(rename(given, {"a": "c", "a.b": ""})) == {"w", "c.w", "ab.w"}
    with pytest.raises(UsageError, match=r"gives a\.w and ab\.w one name, ab\.w"):
        rename(given, {"a": "ab"})
    with pytest.raises(UsageError, match="no layer of the source is called 'body'"):
        rename(given, {"body": ""})
