"""What are no rows at all, or rows under other names, ends in one line that says what the model takes."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from reuse.data.loading import load
from reuse.errors import DataError, ReuseError
from reuse.pretraining.pretrain import pretrain
from reuse.runs.models import SavedModel, load_model

TWO = np.arange(20) % 2
TABLE = pd.DataFrame({"size": np.arange(20.0), "kind": list("ab") * 10, "price": TWO})
TEXTS = pd.DataFrame({"words": ["a b c", "b c d"] * 10, "price": TWO})
NO_ROWS: list[Any] = [
    [], (), {}, set(), None, 5, True, b"abc", range(0), range(3), object(), int, iter([1]),
    {0: 1}, {0: [1]}, {None: 1}, {("x", 1): [1]}, {"a": 1}, {"x": None}, {"x": []}, {"x": {}}, {"x": 5}, {"x": {0: 1}},
    [[]], [None], [{}], [()], [1, [2]], [object()], (None, None), (1, 2, 3), [torch.empty(0)],
    np.empty(0), np.empty((0, 5)), np.array(5), np.array(None), np.zeros((2, 5), complex),
    pd.DataFrame(), pd.DataFrame(index=[0, 1]), pd.Series([], dtype=float),
    torch.empty(0, dtype=torch.long), torch.tensor(5),
]  # fmt: skip


class Sum(torch.nn.Module):
    """A network of two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = torch.nn.Linear(3, 4), torch.nn.Linear(2, 4)
        self.output = torch.nn.Linear(4, 2)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return self.output(torch.relu(self.left(left) + self.right(right)))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SavedModel]:
    """A model of each kind of rows."""
    folder, generator, module = tmp_path_factory.mktemp("kinds"), np.random.default_rng(0), Sum()
    several = {"left": np.ones((20, 3), np.float32), "right": np.ones((20, 2), np.float32)}
    pixels = generator.integers(0, 255, (20, 8, 8, 3)).astype(np.uint8)
    kinds: dict[str, dict[str, Any]] = {
        "vectors": {"data": (generator.normal(size=(20, 5)), TWO), "model": "mlp:4"},
        "images": {"data": (pixels, TWO), "model": "convnet:2"},
        "table": {"data": TABLE, "target": "price", "model": "mlp:4"},
        "text": {"data": TEXTS, "text": "words", "target": "price", "model": "gru:4"},
        "tokens": {"data": (generator.integers(0, 9, (20, 6)), TWO), "vocabulary": 9, "model": "gru:4"},
        "several": {"data": {"x": several, "y": TWO}, "model": module},
    }
    made = {}
    for kind, settings in kinds.items():
        pretrain("supervised", epochs=1, out=folder / kind, pictures=False, **settings)
        made[kind] = load_model(folder / kind, model=module if kind == "several" else None)
    return made


@pytest.mark.parametrize("kind", ["vectors", "images", "table", "text", "tokens", "several"])
def test_what_are_no_rows(kind: str, models: dict[str, SavedModel]) -> None:
    taken = [repr(given) for given in NO_ROWS if not is_refused(models[kind], given)]
    assert taken == []


def is_refused(model: SavedModel, given: Any) -> bool:
    """Return whether these rows are refused in one line."""
    try:
        model.predict(given)
    except ReuseError as refused:
        return "\n" not in str(refused)
    return False


def test_names_that_the_model_does_not_know(models: dict[str, SavedModel]) -> None:
    expected = {
        "vectors": "a dictionary of 0, and the model takes rows without names: give an array, or call it 'x'",
        "table": "a dictionary of 0, and the model takes columns 'size', 'kind': give a data frame, a list of records",
        "text": "a dictionary of 0, and the model takes the column 'words': give a data frame, a list of records",
    }
    for kind, line in expected.items():
        with pytest.raises(DataError, match=line):
            models[kind].predict({0: 1})


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ([], "an empty list as data: give at least one row"),
        (np.zeros(5), r"x has shape \(5,\): .*; one row alone is x\[None\]"),
        (pd.DataFrame(), "the data frame: no feature columns: give more columns"),
    ],
)
def test_what_is_missing_is_said(given: Any, line: str, models: dict[str, SavedModel]) -> None:
    with pytest.raises(DataError, match=line):
        models["vectors"].predict(given)


def test_a_name_of_an_array_that_is_no_text() -> None:
    with pytest.raises(DataError, match="an array is called 0, which is no text: call the inputs 'x'"):
        load({0: np.zeros((9, 3)), 1: TWO})
