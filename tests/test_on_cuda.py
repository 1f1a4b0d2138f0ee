"""The same promises by the same code on a GPU; skipped where there is none."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch

import reuse
from reuse.heads.logistic import solve_logistic
from reuse.heads.ridge import solve_ridge

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_a_cut_is_exact(name: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=5).cuda()
    reuse.freeze(model, "!" + model.pretrained_cfg["classifier"])
    images = torch.randn(4, 3, 64, 64, device="cuda")
    parts = reuse.cut(model, images)
    torch.testing.assert_close(parts.suffix(*parts.prefix(images)), model(images), rtol=1e-4, atol=1e-5)
    assert all(tensor.device.type == "cuda" for tensor in parts.prefix(images))


@pytest.mark.usefixtures("cached_however_small")
@pytest.mark.parametrize("precision", ["float64", "float32", "bfloat16"])
def test_cached_equals_uncached(precision: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(120, 10)).astype(np.float32), "y": np.arange(120) % 3}
    losses = {}
    for cache in (True, False):
        result = reuse.finetune(
            "mlp:24,16,12",
            freeze="hidden1",
            data=data,
            epochs=5,
            precision=precision,
            device="cuda",
            optimizer="sgd",
            cache=cache,
            out=tmp_path / str(cache),
        )
        assert (result.cache is not None) == cache
        losses[cache] = result.metrics["train"]["loss"]
    tolerance = {"float64": 1e-9, "float32": 1e-4, "bfloat16": 2e-2}[precision]
    assert losses[True] == pytest.approx(losses[False], rel=tolerance)


def test_a_cache_filled_here_is_found_here(tmp_path: Path) -> None:
    source = reuse.pretrain(epochs=1, device="cuda", out=tmp_path / "source")
    runs = [
        reuse.finetune(source.run, freeze="hidden1", epochs=3, device="cuda", compare=False, out=tmp_path / f"{i}")
        for i in range(2)
    ]
    assert [run.cache["hit"] for run in runs if run.cache] == [False, True]


def test_solvers_find_the_same_heads() -> None:
    torch.manual_seed(0)
    features, targets = torch.randn(300, 20, dtype=torch.float64), torch.randint(3, (300,))
    folds = torch.arange(300) % 3 != torch.arange(3)[:, None]
    for solve in (solve_logistic, solve_ridge):
        here = solve(features, targets, [1e-3, 1.0], folds)
        there = solve(features.cuda(), targets.cuda(), [1e-3, 1.0], folds.cuda())
        assert there.weight.device.type == "cuda"
        torch.testing.assert_close(there.weight.cpu(), here.weight, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(there.bias.cpu(), here.bias, rtol=1e-3, atol=1e-4)
