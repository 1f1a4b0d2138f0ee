import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from reuse.errors import UnknownNameError, UsageError
from reuse.nn.building import build
from reuse.nn.norm_specs import Norm, parse_norm

FLOATS = st.sampled_from([0.001, 0.01, 0.5, 2.0])
NORMS = st.builds(
    Norm,
    st.sampled_from(["batch", "local_response", "rms"]),
    after=st.booleans(),
    input=st.booleans(),
    output=st.booleans(),
    arguments=st.dictionaries(st.sampled_from(["eps", "momentum"]), FLOATS),
)


@given(NORMS)
def test_text_and_norm_are_two_forms_of_one_thing(norm: Norm) -> None:
    assert parse_norm(str(norm)) == norm
    assert parse_norm(str(norm.within)) == Norm(norm.name, norm.after, arguments=norm.arguments)


def test_none_and_aliases() -> None:
    assert parse_norm(None) is parse_norm("none") is None
    assert parse_norm("lrn:output") == Norm("local_response", output=True)


def test_batch_norm_as_keras_has_it() -> None:
    model = build("mlp:4", (3,), 2, norm="batch:eps=0.001,momentum=0.01,input,output")
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
    assert [(norm.eps, norm.momentum) for norm in norms] == [(0.001, 0.01)] * 3
    assert build("convnet:6", (1, 4, 4), 2, norm="group:groups=3").conv1.norm.num_groups == 3


@pytest.mark.parametrize(("text", "message"), [
    ("batch:epsilon=0.1", "takes no 'epsilon': did you mean 'eps'"), ("batch:eps=small", "is no number"),
    ("weight:after", "of a layer's weights"), ("spectral:input", "of a layer's weights"),
    ("weight:dim=1", "takes no arguments"), ("group:groups=3", "cannot be made for 4"),
    ("group:groups=1.5", "whole number"), ("group:groups=inf", "finite number above 0"), ("lrn:size=0", "above 0"),
    ("lrn:size=1e9", "up to 1024"), ("batch:eps=0", "eps of norm 'batch' is 0"), ("layer:eps=-1", "above 0"),
    ("rms:eps=nan", "above 0"), ("batch:momentum=7", "from 0 up to 1"), ("batch:momentum=-1", "from 0"),
])  # fmt: skip
def test_what_a_norm_does_not_take_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build("mlp:4", (3,), 2, norm=text)


def test_unknown_places_get_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="'after'"):
        parse_norm("batch:aftr")
