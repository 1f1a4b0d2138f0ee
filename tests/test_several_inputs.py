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
from reuse.reporting import Reporter

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


def history(run: str) -> list[str]:
    return [line.split('"seconds"')[0] for line in (Path(run) / "history.jsonl").read_text().splitlines()]


def losses(result: reuse.Result) -> list[float]:
    from reuse.runs.folder import RunFolder

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
