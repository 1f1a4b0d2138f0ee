import pytest
from hypothesis import given
from hypothesis import strategies as st

from reuse.errors import UnknownNameError, UsageError
from reuse.nn.specs import LayeredSpec, add_layers, drop_layers, parse_layered

WIDTHS = st.lists(st.integers(1, 5000), min_size=1, max_size=6)
FAMILIES = st.sampled_from(["mlp", "convnet"])


@given(FAMILIES, WIDTHS)
def test_text_and_parsed_spec_are_two_forms_of_one_thing(family: str, widths: list[int]) -> None:
    spec = LayeredSpec(family, tuple(widths))
    assert parse_layered(str(spec)) == spec


@given(FAMILIES, WIDTHS, WIDTHS)
def test_dropping_what_was_added_gives_the_spec_back(family: str, widths: list[int], more: list[int]) -> None:
    spec = str(LayeredSpec(family, tuple(widths)))
    longer = add_layers(spec, more)
    assert parse_layered(longer).widths == (*widths, *more)
    assert drop_layers(longer, parse_layered(longer).layers[len(widths) :]) == spec


def test_spaces_do_not_matter() -> None:
    assert parse_layered("mlp: 300, 100").widths == (300, 100)
    assert add_layers("convnet:8", "16, 32") == "convnet:8,16,32"


def test_drop_takes_several_in_any_order() -> None:
    assert drop_layers("mlp:30,20,10", "hidden3,hidden2") == "mlp:30"


@pytest.mark.parametrize("spec", ["mlp:", "mlp", "mlp:300,", "mlp:300,x", "mlp:0", "mlp:-5", "convnet:3.5", "mlp:²"])
def test_bad_widths_are_refused(spec: str) -> None:
    with pytest.raises(UsageError, match=spec.replace(".", r"\.")):
        parse_layered(spec)


@pytest.mark.parametrize(("names", "message"), [
    ("hidden1", "uppermost"), ("hidden1,hidden3", "uppermost"), ("hidden1,hidden2,hidden3", "at least one"),
    ("", "no layers"),
])  # fmt: skip
def test_only_the_uppermost_can_be_dropped(names: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        drop_layers("mlp:3,2,1", names)


def test_unknown_layers_and_families_get_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="hidden2"):
        drop_layers("mlp:3,2", "hiden2")
    with pytest.raises(UnknownNameError, match="convnet"):
        parse_layered("convnets:3")
    with pytest.raises(UsageError, match="mlp and convnet"):
        add_layers("timm:resnet18", "50")
