"""Numbers by layer from one text."""

import pytest

from reuse.errors import UsageError
from reuse.layers.amounts import of_weights, read_amounts
from reuse.layers.freezing import freeze
from reuse.nn.building import build


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
