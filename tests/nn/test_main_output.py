"""The output that a model is trained on, of several."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from reuse.errors import UsageError
from reuse.nn.main_output import main_output, named_outputs

MAIN, AUX = torch.ones(2, 3), torch.zeros(2, 3)
Pair = namedtuple("Pair", "logits aux")
Late = namedtuple("Late", "aux logits")


@dataclass
class Answer:
    loss: Tensor | None
    features: Tensor
    logits: Tensor


@pytest.mark.parametrize(
    "outputs",
    [
        MAIN,
        (MAIN, AUX),
        [MAIN],
        [None, MAIN, AUX],
        {"out": MAIN, "aux": AUX},
        OrderedDict(aux=AUX, logits=MAIN),
        {"first": MAIN, "second": AUX},
        Pair(MAIN, AUX),
        Late(AUX, MAIN),
        Answer(None, AUX, MAIN),
        {"loss": None, "prediction": MAIN},
    ],
)
def test_it_is_the_one_that_is_called_so_or_the_first(outputs: Any) -> None:
    assert main_output(outputs) is MAIN


def test_names_are_kept_with_the_main_one_first() -> None:
    assert list(named_outputs(Late(AUX, MAIN))) == ["logits", "aux"]
    assert list(named_outputs((MAIN, AUX))) == ["0", "1"]


@pytest.mark.parametrize("outputs", ["logits", {}, (), {"logits": 3}, None])
def test_without_a_tensor_there_is_none(outputs: Any) -> None:
    with pytest.raises(UsageError, match=r"returns a \w+ without a tensor"):
        main_output(outputs)
