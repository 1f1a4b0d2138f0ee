"""Models of one's own with several inputs: tokens and their mask, by name and by position, cached and without."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import reuse
from reuse.errors import DataError, UsageError
from reuse.runs.folder import RunFolder
from reuse.setup.inspecting import inspect_model

MODULE = '''
from dataclasses import dataclass
from typing import NamedTuple
import torch
from torch import nn

class Tagger(nn.Module):
    """The mean over the tokens that a mask leaves."""
    def __init__(self, num_outputs=3):
        super().__init__()
        self.embed = nn.Embedding(40, 8)
        self.body = nn.Sequential(nn.Linear(8, 16), nn.Tanh())
        self.head = nn.Linear(16, num_outputs)

    def pooled(self, tokens, mask):
        weights = mask.to(self.embed.weight.dtype)[..., None]
        return (self.body(self.embed(tokens)) * weights).sum(1) / weights.sum(1).clamp(min=1)

    def forward(self, tokens, length=None, mask=None):
        return self.head(self.pooled(tokens, mask))

class Positional(Tagger):
    def forward(self, tokens, numbers):
        return self.head(self.body(self.embed(tokens)).mean(1)) + numbers.sum(1, keepdim=True)

class AsDictionary(Tagger):
    def forward(self, tokens, mask):
        pooled = self.pooled(tokens, mask)
        return {"pooled": pooled, "logits": self.head(pooled)}

class AsTuple(Tagger):
    def forward(self, tokens, mask):
        pooled = self.pooled(tokens, mask)
        return self.head(pooled), pooled

@dataclass
class Outputs:
    logits: torch.Tensor
    loss: torch.Tensor | None = None

class AsDataclass(Tagger):
    def forward(self, tokens, mask):
        return Outputs(self.head(self.pooled(tokens, mask)))

class Nothing(Tagger):
    def forward(self, tokens, mask):
        return {"loss": None}
'''
ROWS = 60
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(1, 40, (ROWS, 7))
LENGTHS = RNG.integers(2, 8, ROWS)
MASK = np.arange(7) < LENGTHS[:, None]
Y = (np.where(MASK, TOKENS, 0).sum(1) // LENGTHS // 14).astype(int)
NAMED = {"x": {"tokens": TOKENS, "mask": MASK}, "y": Y}


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    Path("taggers.py").write_text(MODULE)
    sys.modules.pop("taggers", None)
    yield
    sys.modules.pop("taggers", None)


def tuned(model: str = "Tagger", data: Any = NAMED, **settings: Any) -> reuse.Result:
    told = {"freeze": "!head", "epochs": 3, "precision": "float64", "batch_size": 16, **settings}
    told |= {} if settings.get("cache") is False else {"cache_kind": "disk"}
    return reuse.finetune(f"taggers:{model}", data=data, **told)


def losses(result: reuse.Result) -> list[float]:
    return [line["train"]["loss"] for line in RunFolder.open(result.run).history()]


POSITIONAL = ((TOKENS, RNG.normal(size=(ROWS, 2))), Y)


@pytest.mark.parametrize(
    ("model", "data"),
    [("Tagger", NAMED), ("Positional", POSITIONAL), *((form, NAMED) for form in ("AsDictionary", "AsTuple"))],
)
def test_cached_equals_uncached_and_a_second_run_computes_nothing(model: str, data: Any) -> None:
    plain = tuned(model, data, cache=False)
    first, second = tuned(model, data), tuned(model, data)
    assert first.cache is not None
    assert second.cache is not None
    assert first.cache["rows"] == {"computed": ROWS, "found": 0}
    assert second.cache["hit"]
    np.testing.assert_allclose(losses(first), losses(plain), rtol=1e-9)
    assert losses(first) == losses(second)
    assert first.metrics["test"] == pytest.approx(plain.metrics["test"], rel=1e-9)


def test_a_changed_mask_is_computed_anew_and_nothing_else() -> None:
    tuned()
    mask = MASK.copy()
    mask[5, -1] = not mask[5, -1]
    found = tuned(data={"x": {"mask": mask, "tokens": torch.from_numpy(TOKENS)}, "y": Y}).cache
    assert found is not None
    assert found["rows"] == {"computed": 1, "found": ROWS - 1}


def test_names_are_part_of_what_is_known() -> None:
    """Arrays of one shape and type under each other's names make another cut and other rows."""
    tokens = RNG.integers(0, 2, (ROWS, 7))
    other = RNG.integers(0, 2, (ROWS, 7))
    one, two = ({"x": {"tokens": a, "mask": b}, "y": Y} for a, b in ((tokens, other), (other, tokens)))
    assert losses(tuned(data=one)) == pytest.approx(losses(tuned(data=one, cache=False)), rel=1e-9)
    assert losses(tuned(data=two)) == pytest.approx(losses(tuned(data=two, cache=False)), rel=1e-9)


def test_a_run_predicts_from_what_it_was_trained_on_wherever_it_lies(tmp_path: Path) -> None:
    run = Path(tuned(precision="float32").run)
    moved = run.rename(tmp_path / "moved")
    model = reuse.load_model(moved, trust=True)
    x = {"tokens": TOKENS, "mask": MASK}
    expected = model.network(torch.from_numpy(TOKENS), mask=torch.from_numpy(MASK)).softmax(1).detach()
    torch.testing.assert_close(model.values(x), expected)
    torch.testing.assert_close(reuse.predict(moved, data=x, trust=True).values, expected)
    torch.testing.assert_close(model(torch.from_numpy(MASK), torch.from_numpy(TOKENS)).softmax(1), expected)
    assert reuse.evaluate(moved, data=NAMED, split="all", trust=True).rows == ROWS
    with pytest.raises(DataError, match=r"holds mask \(6,\), tokens \(7,\) a row, and the model takes mask \(7,\)"):
        model.values({"tokens": TOKENS, "mask": MASK[:, :6]})
    with pytest.raises(DataError, match="takes mask"):
        model.values({"tokens": TOKENS})


def test_tuples_predict_by_position() -> None:
    model = reuse.load_model(tuned("Positional", POSITIONAL, precision="float32").run, trust=True)
    tokens, numbers = POSITIONAL[0]
    rows = torch.from_numpy(tokens), torch.from_numpy(numbers).float()
    torch.testing.assert_close(model.values((tokens, numbers)), model.network(*rows).softmax(1).detach())


def test_files_name_the_inputs() -> None:
    np.savez("named.npz", **{"x_train/tokens": TOKENS, "x_train/mask": MASK, "y_train": Y})
    np.savez("ordered.npz", **{"x/0": TOKENS, "x/1": POSITIONAL[0][1], "y": Y})
    assert [tensor.name for tensor in reuse.load("named.npz").train.inputs.layout] == ["mask", "tokens"]
    layout = reuse.load("ordered.npz").train.inputs.layout
    assert [(tensor.name, tensor.kind) for tensor in layout] == [("", "int64"), ("", "float32")]
    result = reuse.finetune("taggers:Tagger", data="named.npz", freeze="!head", epochs=1)
    assert reuse.predict(result.run, data="named.npz", trust=True).values.shape == (ROWS, 3)
    assert inspect_model("taggers:Tagger", data="named.npz", freeze="!head").bytes_per_sample == 16 * 4


def test_what_is_returned_is_found_or_refused() -> None:
    plain, kept = tuned("AsDataclass", cache=False), tuned("AsDataclass")
    assert losses(kept) == pytest.approx(losses(plain), rel=1e-9)
    assert any("trained on logits" in note for note in kept.notes)
    with pytest.raises(UsageError, match="a dict without a tensor"):
        tuned("Nothing")


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ({"tokens": TOKENS, "mask": MASK[:9]}, "tokens 60, mask 9 rows"),
        ({"tokens": TOKENS.astype(str)}, "expected numbers"),
        ({}, "no rows"),
    ],
)
def test_inputs_that_cannot_be_rows_are_refused(x: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        reuse.load({"x": x, "y": Y})


@pytest.mark.parametrize("settings", [{"augment": "noise:0.1", "cache": False}, {"model": "mlp:4"}])
def test_what_takes_one_input_says_so(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"mask \(7,\), tokens \(7,\)"):
        reuse.finetune(settings.pop("model", "taggers:Tagger"), data=NAMED, **settings)


def test_pretraining_without_labels_takes_one_input() -> None:
    with pytest.raises(UsageError, match="takes one input a row"):
        reuse.pretrain("autoencoder", model="taggers:Tagger", data=NAMED)
