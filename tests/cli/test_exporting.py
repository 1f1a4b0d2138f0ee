"""`reuse export` on the command line."""

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_says_what_it_has_written(finetuned: Path, here: Path, reuse: Any) -> None:
    answer = reuse("export", finetuned, "--to", "torch")
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0] == "takes rows: raw rows (rows, 1, 8, 8) of float32"
    assert lines[1] == "gives probabilities"
    assert lines[2].startswith("read back: on 12 rows its predictions differ from the run's by ")
    assert lines[3].startswith("exports/finetuned-torch/model.pt2 and exports/finetuned-torch/README.md written, ")
    assert (here / "exports/finetuned-torch/model.pt2").is_file()


def test_standard_output_holds_json_alone(finetuned: Path, here: Path, reuse: Any) -> None:
    pytest.importorskip("onnxruntime")
    told = reuse("export", finetuned, "--to", "onnx", "--json").json
    assert told["inputs"] == [{"name": "rows", "shape": [1, 8, 8], "type": "float32"}]
    assert told["output"] == "probabilities"
    assert 0 <= told["difference"] < 1e-4


def test_json_tells_files_inputs_and_the_difference(finetuned: Path, here: Path, reuse: Any) -> None:
    told = reuse("export", finetuned, "--to", "safetensors", "--out", "weights", "--json").json
    assert told["file"] == "weights/model.safetensors"
    assert told["inputs"] == []
    assert told["difference"] == 0
    assert told["bytes"] == sum(path.stat().st_size for path in (here / "weights").iterdir())


def test_bad_use_is_one_line(finetuned: Path, pretrained: Path, here: Path, reuse: Any) -> None:
    reuse("export", finetuned).is_refused("--to")
    reuse("export", finetuned, "--to", "coreml").is_refused("form of export 'coreml'", "onnx")
    reuse("export", finetuned, "--to", "timm").is_refused("no model of timm's", "onnx, torch or safetensors")
    reuse("export", pretrained, "--to", "torch").is_refused("predicts nothing: fine-tune it first")
    reuse("export", here / "nowhere", "--to", "torch").is_refused("is no run folder")
    (here / "full").mkdir()
    (here / "full" / "README.md").write_text("mine")
    reuse("export", finetuned, "--to", "torch", "--out", "full").is_refused("full is in use", "give another --out")
    assert (here / "full" / "README.md").read_text() == "mine"
    (here / "a-file").write_text("mine")
    reuse("export", finetuned, "--to", "torch", "--out", "a-file/below").is_refused("a-file/below cannot be written")
