"""The card of an exported model: what Hugging Face reads of it, and code that does what it says."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from scipy.stats import norm

import reuse
from reuse.finetuning.finetune import finetune
from reuse.pretraining.pretrain import pretrain

X = np.random.default_rng(0).integers(0, 256, (60, 12, 12, 3), dtype=np.uint8)
Y = np.array(["a<b", "c|d", "`e`"])[np.arange(60) % 3]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    settings: dict[str, Any] = {"data": (X, Y), "epochs": 1, "batch_size": 16}
    source = pretrain("supervised", model="convnet:4,4", out=folder / "source", **settings).run
    finetune(source, freeze="conv1", out=folder / "tuned", cache_dir=folder / "cache", **settings)
    return folder / "tuned"


@pytest.fixture
def exported(tuned: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Exports to a form and returns the folder."""
    return lambda form: Path(reuse.export(tuned, to=form, out=tmp_path / form).out)


def test_hugging_face_reads_it(tuned: Path, exported: Callable[[str], Path]) -> None:
    card = ModelCard((exported("safetensors") / "README.md").read_text())
    assert card.data.pipeline_tag == "image-classification"
    assert card.data.library_name == "reuse"
    found = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert found == pytest.approx(reuse.evaluate(tuned, data=(X, Y)).metrics, rel=1e-5)


def test_it_tells_the_facts_of_the_run(exported: Callable[[str], Path], tuned: Path) -> None:
    text = (exported("torch") / "README.md").read_text()
    for fact in (
        "A `convnet:4,4` for classification (3 classes), fine-tuned from",
        "- frozen from epoch 1: `conv1`",
        "- restored: `conv1`",
        "- freeze: `conv1`",
        "- epochs: `1`",
        "in the order 'e', a&lt;b, c\\|d",
        "red, green, blue",
        f"exported with reuse {reuse.__version__}, torch ",
    ):
        assert fact in text, fact
    assert "batch_size: `32`" not in text  # the default


def test_an_accuracy_has_wilsons_interval(exported: Callable[[str], Path], tuned: Path) -> None:
    rows = 12
    share = reuse.evaluate(tuned, data=(X, Y)).metrics["accuracy"]
    z = norm.ppf(0.975)  # Wilson 1927
    middle = (share + z**2 / (2 * rows)) / (1 + z**2 / rows)
    half = z / (1 + z**2 / rows) * np.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2))
    text = (exported("safetensors") / "README.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("| test"))
    assert f"({middle - half:.3f} to {middle + half:.3f})" in line


@pytest.mark.parametrize("form", ["onnx", "torch", "safetensors"])
def test_the_code_in_it_runs(
    form: str, tuned: Path, exported: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    if form == "onnx":
        pytest.importorskip("onnxruntime")
    folder = exported(form)
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert code is not None
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(compile(code.group(1), "card", "exec"), names)
    if form in ("onnx", "torch"):
        shares = names["probabilities"] if form == "onnx" else names["probabilities"].detach().numpy()
        np.testing.assert_allclose(shares.sum(1), [1, 1], rtol=1e-5)
        return
    network = names["network"]
    expected = reuse.load_model(tuned).network.state_dict()
    assert not network.training
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in expected.items())


def test_the_card_of_an_average_tells_of_what_and_how_good(tuned: Path, tmp_path: Path) -> None:
    soup = reuse.soup_runs([tuned, tuned], method="uniform", data=(X, Y), out=tmp_path / "soup")
    text = (Path(reuse.export(soup.run, to="safetensors").out) / "README.md").read_text()
    assert f"- averaged of: `{tuned}`, `{tuned}`" in text
    assert f"| test | {soup.test['loss']:.4g} | {soup.test['accuracy']:.4g} (" in text
