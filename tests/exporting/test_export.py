"""Exports predict what their run predicts, in whatever program, batch and order."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from safetensors import safe_open

import reuse
from reuse.data.resizing import resize_arrays
from reuse.errors import ReuseError, RunError, UsageError
from reuse.exporting import onnx_files, programs
from reuse.exporting.export import FORMATS
from reuse.runs.models import SavedModel, load_model
from reuse.runs.raw_rows import prepare
from torch_versions import ON_TORCH_2_9

onnxruntime = pytest.importorskip("onnxruntime")

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
CLASSES = np.array(["ant", "bee", "cat"])[np.arange(24) % 3]
TABLE = pd.DataFrame(
    {"year": 1900.5 + np.arange(24), "size": np.where(np.arange(24) % 5, 1e6 * RNG.random(24), np.nan)}
)


def as_taken(x: Any, model: SavedModel) -> np.ndarray:
    """Return raw rows as a graph takes them: pictures in their size, channels first; columns side by side."""
    if isinstance(x, pd.DataFrame):
        return x.to_numpy(np.float64, copy=True)
    if x.ndim < 4:
        return np.asarray(x)
    return resize_arrays(torch.from_numpy(np.moveaxis(x, 3, 1)), model.preprocessing).float().numpy()


# The model, the raw rows, the targets.
CASES: dict[str, tuple[str, Any, Any]] = {
    "mlp on a table": ("mlp:8,6", TABLE, CLASSES),
    "mlp on vectors": ("mlp:8,6", 1e5 + RNG.normal(size=(24, 5)), CLASSES),
    "convnet": ("convnet:4,8", PICTURES[:, ::2, ::2], CLASSES),
    "resnet": ("timm:resnet10t", PICTURES, CLASSES),
    "vit": ("timm:vit_tiny_patch16_224", PICTURES, CLASSES),
    "lstm": ("lstm:8", RNG.normal(3, 2, (24, 6, 4)), CLASSES),
    "gru of tokens": ("gru:8", RNG.integers(1, 9, (24, 6)) * (np.arange(6) < 4), CLASSES),
    "float64": ("convnet:4", PICTURES[:, ::4, ::4], CLASSES),
    "labels": ("mlp:8", RNG.normal(size=(24, 5)), RNG.integers(0, 2, (24, 3))),
    "numbers": ("mlp:8", RNG.normal(size=(24, 5)), 1e6 + 1e3 * RNG.normal(size=(24, 2))),
}
TIMM = ("resnet", "vit")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the run of a case, trained when it is first asked for."""
    folder = tmp_path_factory.mktemp("runs")

    def run(case: str) -> Path:
        path = folder / case.replace(" ", "-")
        if not path.exists():
            model, x, y = CASES[case]
            norm = {"norm": "batch"} if model.startswith(("mlp", "convnet")) else {}
            tokens = {"vocabulary": 10} if "tokens" in case else {}
            size = {"image_size": 32} if model.startswith("timm") else {}
            precision = "float64" if case == "float64" else "float32"
            settings: dict[str, Any] = {"epochs": 2, "batch_size": 8, "precision": precision, **norm, **tokens, **size}
            reuse.pretrain("supervised", data=(x, y), model=model, out=path, **settings)
        return path

    return run


def open_onnx(path: str) -> Callable[[np.ndarray], np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda rows: session.run(None, {"rows": rows})[0]  # type: ignore[no-any-return]


def open_program(path: str) -> Callable[[np.ndarray], np.ndarray]:
    program = torch.export.load(path).module()
    return lambda rows: program(torch.from_numpy(rows)).detach().numpy()  # type: ignore[no-any-return]


OPEN = {"onnx": open_onnx, "torch": open_program}


@pytest.mark.parametrize("form", OPEN)
@pytest.mark.parametrize("case", CASES)
def test_a_graph_gives_what_the_run_gives_for_raw_rows(
    case: str, form: str, runs: Callable[[str], Path], tmp_path: Path
) -> None:
    if (case, form) == ("gru of tokens", "onnx") and ON_TORCH_2_9:
        pytest.skip("torch 2.9 writes other numbers, so that nothing is kept")
    exported = reuse.export(runs(case), to=form, out=tmp_path / "out")
    _, x, y = CASES[case]
    model = load_model(runs(case))
    expected, taken = model.values(x).numpy(), as_taken(x, model)
    predict = OPEN[form](exported.file)
    scale = np.std(np.asarray(y), axis=0) if case == "numbers" else 1.0
    for rows in (np.array([5]), np.arange(7), RNG.permutation(24)):
        found = predict(taken[rows])
        np.testing.assert_allclose(found / scale, expected[rows] / scale, rtol=0, atol=1e-4)
    assert exported.difference < 1e-4
    assert exported.output == ("numbers" if case == "numbers" else "probabilities")
    assert np.ptp(expected, axis=0).max() > 1e-3  # a constant would be met by anything


def test_the_graph_says_its_inputs_classes_and_preprocessing(runs: Callable[[str], Path], tmp_path: Path) -> None:
    exported = reuse.export(runs("convnet"), to="onnx", out=tmp_path / "out")
    session = onnxruntime.InferenceSession(exported.file, providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["classes"]) == ["ant", "bee", "cat"]
    assert facts["task"] == "classification"
    given = json.loads(facts["inputs"])[0]
    assert (given["name"], given["shape"], given["type"]) == ("rows", [3, 16, 16], "float32")
    assert "from 0 (black) to 255 (white)" in given["meaning"]
    assert json.loads(facts["preprocessing"])["divisor"] == 255
    assert json.loads(facts["model"])["spec"] == "convnet:4,8"
    assert session.get_inputs()[0].shape[1:] == [3, 16, 16]
    assert [output.name for output in session.get_outputs()] == ["probabilities"]
    program = reuse.export(runs("convnet"), to="torch", out=tmp_path / "program")
    about = {"about.json": ""}
    torch.export.load(program.file, extra_files=about)
    assert json.loads(json.loads(about["about.json"])["classes"]) == ["ant", "bee", "cat"]


@pytest.mark.parametrize("case", TIMM)
def test_timm_makes_the_model_from_its_weights(
    case: str, runs: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = reuse.export(runs(case), to="timm", out=tmp_path / "out")
    spec, x, _ = CASES[case]
    size = {"img_size": 32} if case == "vit" else {}
    network = timm.create_model(spec.removeprefix("timm:"), num_classes=3, checkpoint_path=exported.file, **size).eval()
    model = load_model(runs(case))
    rows = model.preprocessing.normalise(torch.from_numpy(as_taken(x, model)))
    with torch.no_grad():
        torch.testing.assert_close(network(rows).softmax(1), model.values(x), rtol=0, atol=1e-4)
        code = re.search(r"```python\n(.*?)```", Path(exported.card).read_text(), re.DOTALL)
        assert code is not None
        monkeypatch.chdir(exported.out)
        names: dict[str, Any] = {}
        exec(compile(code.group(1), "card", "exec"), names)
        torch.testing.assert_close(names["model"](rows), network(rows))


@pytest.mark.parametrize("case", ["mlp on a table", "resnet", "gru of tokens", "numbers"])
def test_one_file_holds_all_weights(case: str, runs: Callable[[str], Path], tmp_path: Path) -> None:
    exported = reuse.export(runs(case), to="safetensors", out=tmp_path / "out")
    network = load_model(runs(case)).network
    with safe_open(exported.file, "pt") as file:
        assert set(file.keys()) == set(network.state_dict())
        for name, tensor in network.state_dict().items():
            torch.testing.assert_close(file.get_tensor(name), tensor, rtol=0, atol=0)
        facts = file.metadata()
    assert json.loads(facts["classes"]) == ([] if case == "numbers" else ["ant", "bee", "cat"])
    assert json.loads(facts["model"])["spec"] == CASES[case][0]
    assert ("target_scale" in facts) == (case == "numbers")
    assert {"preprocessing", "task", "inputs", "reuse"} <= set(facts)


def test_frozen_weights_kept_beside_the_run_are_in_the_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: Callable[[str], Path]
) -> None:
    monkeypatch.setattr("reuse.runs.weights.WORTH_SHARING", 1)
    _, x, y = CASES["mlp on vectors"]
    run = reuse.finetune(runs("mlp on vectors"), data=(x, y), freeze="hidden1", epochs=1, out="tuned").run
    assert (Path(run) / "frozen.safetensors").exists()
    exported = reuse.export(run, to="safetensors")
    assert exported.out == "exports/tuned-safetensors"
    with safe_open(exported.file, "pt") as file:
        assert set(file.keys()) == set(load_model(run).network.state_dict())


def test_nothing_is_overwritten_and_nothing_is_left_of_a_failure(
    runs: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, out = runs("mlp on vectors"), tmp_path / "given" / "out"
    reuse.export(run, to="safetensors", out=out)
    before = (out / "model.safetensors").read_bytes()
    with pytest.raises(UsageError, match=r"out is in use, and nothing is overwritten: give another --out"):
        reuse.export(run, to="onnx", out=out)
    assert (out / "model.safetensors").read_bytes() == before
    with pytest.raises(UsageError, match=r"model\.onnx names a file: give a folder"):
        reuse.export(run, to="onnx", out=tmp_path / "model.onnx")

    def wrong(source: Any, path: Path) -> Any:
        good = programs.write_program(source, path)
        return lambda rows: good(rows) + 1e-3

    form = FORMATS["torch"]
    monkeypatch.setitem(FORMATS, "torch", form._replace(write=wrong))
    with pytest.raises(
        ReuseError, match=r"not kept: on 1 row it predicts otherwise than the run, by 0\.001 and not 0\.0001"
    ):
        reuse.export(run, to="torch", out=tmp_path / "given" / "other")
    assert [path.name for path in (tmp_path / "given").iterdir()] == ["out"]


def test_what_cannot_be_exported_is_refused_in_one_line(
    runs: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        UsageError, match="is a run of mlp:8,6, no model of timm's: export --to onnx, torch or safetensors"
    ):
        reuse.export(runs("mlp on vectors"), to="timm")
    with pytest.raises(ReuseError, match=r"form of export 'onx'.*onnx"):
        reuse.export(runs("mlp on vectors"), to="onx")
    _, x, y = CASES["resnet"]
    changed = reuse.pretrain(
        "supervised", data=(x, y), model="timm:resnet10t", norm="group", image_size=32, epochs=1, out="changed"
    ).run
    with pytest.raises(UsageError, match="the norm layers of this timm:resnet10t were exchanged"):
        reuse.export(changed, to="timm")
    reuse.pretrain(data=(CASES["mlp on vectors"][1], None), model="mlp:4", epochs=1, out="auto")
    with pytest.raises(RunError, match="predicts nothing"):
        reuse.export("auto", to="onnx")
    monkeypatch.setattr(onnx_files.importlib.util, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(
        UsageError, match=r'needs onnxscript, which is not installed: pip install "torch-reuse\[onnx\]"'
    ):
        reuse.export(runs("mlp on vectors"), to="onnx")


OWN = """
import torch
from torch import nn

class Gated(nn.Module):
    def __init__(self, input_shapes, num_classes):
        super().__init__()
        self.embedding = nn.Embedding(9, 4)
        self.output = nn.Linear(4, num_classes)

    def forward(self, tokens, mask):
        steps = self.embedding(tokens) * mask.unsqueeze(2)
        return {"logits": self.output(steps.sum(1)), "steps": steps}

class Branching(nn.Module):
    def __init__(self, in_features, num_classes):
        super().__init__()
        self.output = nn.Linear(in_features, num_classes)

    def forward(self, x):
        return self.output(x if float(x.sum()) > 0 else -x)
"""


@pytest.mark.skipif(ON_TORCH_2_9, reason="torch 2.9 writes no ONNX of a model with several inputs")
def test_models_of_code_need_trust_and_take_several_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_exported.py").write_text(OWN)
    x = {"tokens": RNG.integers(0, 9, (24, 5)), "mask": RNG.random((24, 5)).astype(np.float32)}
    data = {"x": x, "y": np.arange(24) % 3}
    run = reuse.pretrain("supervised", data=data, model="own_exported:Gated", epochs=1, out="several").run
    with pytest.raises(UsageError, match=r"names the code own_exported:Gated.*--trust"):
        reuse.export(run, to="onnx")
    expected = load_model(run, trust=True).values(x)
    exported = reuse.export(run, to="onnx", trust=True)
    found = onnxruntime.InferenceSession(exported.file, providers=["CPUExecutionProvider"]).run(None, x)[0]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    rows = RNG.normal(size=(24, 5))
    branching = reuse.pretrain(
        "supervised", data=(rows, data["y"]), model="own_exported:Branching", epochs=1, out="branching"
    ).run
    with pytest.raises(
        UsageError, match=r"own_exported:Branching cannot be written as a graph \(.*\): export --to saf"
    ):
        reuse.export(branching, to="torch", trust=True)
    assert Path(reuse.export(branching, to="safetensors", trust=True).file).exists()


def test_a_model_of_transformers_takes_what_its_tokenizer_gives(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=12, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    transformers.BertModel(config).save_pretrained("bert")
    Path("bert/vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\ngood\nbad\nfilm\n")
    texts = ["a good good film", "bad", "film"] * 6
    table = pd.DataFrame({"text": texts, "stars": ["five", "one"] * 9})
    run = reuse.finetune(
        "hf:bert", data=table, text="text", target="stars", freeze="!classifier", epochs=1, out="run"
    ).run
    exported = reuse.export(run, to="onnx")
    model = load_model(run)
    prepared = prepare(texts, model.preprocessing).gather(torch.arange(len(texts)))
    rows = {name: part.numpy() for name, part in zip([one["name"] for one in exported.inputs], prepared, strict=True)}
    session = onnxruntime.InferenceSession(exported.file, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, rows)[0], model.predict_proba(texts), atol=1e-4)
    tokenizer = transformers.AutoTokenizer.from_pretrained(Path(exported.out) / "tokenizer")
    length = model.preprocessing.sequence_length
    told = tokenizer(texts, padding="max_length", max_length=length, truncation=True, return_tensors="np")
    np.testing.assert_allclose(session.run(None, dict(told))[0], model.predict_proba(texts), atol=1e-4)
    shutil.rmtree("bert")
    assert Path(reuse.export(run, to="safetensors").file).exists()  # wherever the model came from
