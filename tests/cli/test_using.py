"""`reuse evaluate` and `reuse predict`."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score

import reuse as package

CLASSES = ["3", "5", "8"]


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


@pytest.fixture
def few_digits(tmp_path: Path) -> Path:
    """Rows of scikit-learn's digits of the three classes, in an order of their own."""
    digits = load_digits()
    rows = np.flatnonzero(np.isin(digits.target, [3, 5, 8]))[::-7]
    np.savez(tmp_path / "few.npz", x=digits.images[rows].astype(np.uint8), y=digits.target[rows])
    return tmp_path / "few.npz"


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_a_run_on_its_own_data_gives_its_own_metrics(reuse: Any, finetuned: Path, split: str) -> None:
    values = reuse("evaluate", finetuned, "--split", split, "--json").json
    result = json.loads((finetuned / "result.json").read_text())
    assert values["metrics"] == pytest.approx(result["metrics"][split], rel=1e-5)
    assert values["rows"] == result["sizes"][split]


def test_all_splits_together(reuse: Any, finetuned: Path) -> None:
    values = reuse("evaluate", finetuned, "--split", "all", "--batch-size", 17, "--json").json
    result = json.loads((finetuned / "result.json").read_text())
    sizes, metrics = result["sizes"], result["metrics"]
    assert values["rows"] == sum(sizes.values())
    for name in ("accuracy", "loss"):
        mean = sum(sizes[split] * metrics[split][name] for split in sizes) / sum(sizes.values())
        assert values["metrics"][name] == pytest.approx(mean, rel=1e-5)


def test_a_program_that_reads_predictions_is_not_told_what_is_loading(
    reuse: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    quiet = list[bool]()
    monkeypatch.setattr("reuse.cli.using.announce", lambda *, as_json: quiet.append(as_json))
    for others in ([], ["--out", tmp_path / "predictions.csv"]):
        reuse("predict", tmp_path / "no-run", "--data", "digits", *others).is_refused("no-run")
    assert quiet == [True, False]


def test_classes_are_found_by_name(reuse: Any, finetuned: Path, few_digits: Path) -> None:
    """The file's classes 3, 5, 8 and the run's are the same; in the file of two they have other numbers."""
    arrays = arrays_of(few_digits)
    predicted = np.array([row["prediction"] for row in read(reuse("predict", finetuned, "--data", few_digits).out)])
    truth = arrays["y"].astype(str)
    two = np.isin(truth, ["5", "8"])
    np.savez("two.npz", x=arrays["x"][two], y=arrays["y"][two])
    for path, rows in ((few_digits, np.ones_like(two)), ("two.npz", two)):
        values = reuse("evaluate", finetuned, "--data", path, "--split", "all", "--json").json
        assert values["metrics"]["accuracy"] == pytest.approx(accuracy_score(truth[rows], predicted[rows]))


def test_unknown_classes_are_named(reuse: Any, finetuned: Path) -> None:
    line = reuse("evaluate", finetuned, "--data", "digits").is_refused("does not know")
    assert "0, 1, 2, 4, 6, 7, 9" in line


def test_predictions_are_those_of_the_model_in_the_order_of_the_data(
    reuse: Any, finetuned: Path, few_digits: Path
) -> None:
    rows = read(reuse("predict", finetuned, "--data", few_digits, "--batch-size", 16).out)
    model = package.load_model(finetuned)
    images = torch.from_numpy(arrays_of(few_digits)["x"]).float().unsqueeze(1) / model.preprocessing.divisor
    with torch.no_grad():
        expected = model.network(images).softmax(1)
    columns = [f"probability {name}" for name in CLASSES]
    assert list(rows[0]) == ["row", "prediction", *columns]
    assert [int(row["row"]) for row in rows] == list(range(len(images)))
    given = torch.tensor([[float(row[column]) for column in columns] for row in rows])
    torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-6)
    assert [row["prediction"] for row in rows] == [CLASSES[i] for i in expected.argmax(1)]


def test_labels_are_not_needed(reuse: Any, finetuned: Path, few_digits: Path) -> None:
    np.savez("unlabelled.npz", x=arrays_of(few_digits)["x"])
    assert (
        reuse("predict", finetuned, "--data", "unlabelled.npz").out
        == reuse("predict", finetuned, "--data", few_digits).out
    )
    np.savez("one.npz", x=arrays_of(few_digits)["x"][:1])
    assert len(read(reuse("predict", finetuned, "--data", "one.npz").out)) == 1
    reuse("evaluate", finetuned, "--data", "unlabelled.npz", "--split", "all").is_refused("no labels")


def test_a_split_of_the_data(reuse: Any, finetuned: Path) -> None:
    rows = read(reuse("predict", finetuned, "--data", "digits", "--split", "test").out)
    assert [int(row["row"]) for row in rows] == package.load("digits").test.rows.tolist()
    reuse("predict", finetuned, "--data", "digits", "--split", "tset").is_refused("'test'")


def test_a_file_and_json(reuse: Any, finetuned: Path, few_digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "predicted.csv"
    printed = reuse("predict", finetuned, "--data", few_digits).out
    values = reuse("predict", finetuned, "--data", few_digits, "--out", out, "--json").json
    assert out.read_text() == printed
    assert (values["rows"], values["classes"], values["out"]) == (len(read(printed)), CLASSES, str(out))
    inline = reuse("predict", finetuned, "--data", few_digits, "--json").json["predictions"]
    assert [{key: str(value) for key, value in row.items()} for row in inline] == read(printed)


def test_a_table_without_its_target(reuse: Any, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    width, kind = generator.normal(size=60), np.array(["wide", "long"])[np.arange(60) % 2]
    lines = [f"{w},{k},{w > 0}" for w, k in zip(width, kind, strict=True)]
    (tmp_path / "table.csv").write_text("\n".join(["width,kind,good", *lines]))
    options = ("--data", "table.csv", "--target", "good", "--model", "mlp:8", "--epochs", 5)
    run = reuse("pretrain", "supervised", *options, "--json").json["run"]
    assert reuse("evaluate", run, "--data", "table.csv", "--split", "all").code == 0
    new = ["kind,note,width", *(f"{k},x,{w}" for w, k in zip(width, kind, strict=True))]
    (tmp_path / "new.csv").write_text("\n".join(new))
    rows = read(reuse("predict", run, "--data", "new.csv").out)
    assert len(rows) == 60
    assert {row["prediction"] for row in rows} <= {"True", "False"}
    reuse("predict", run, "--data", "iris").is_refused()
    (tmp_path / "less.csv").write_text("kind,note\nwide,x\n")
    reuse("predict", run, "--data", "less.csv").is_refused("'width'")


def test_numbers(reuse: Any) -> None:
    options = ("--data", "diabetes", "--model", "mlp:8", "--epochs", 2, "--precision", "float64")
    run = reuse("pretrain", "supervised", *options, "--json").json["run"]
    values = reuse("evaluate", run, "--json").json
    assert values["metrics"] == pytest.approx(json.loads(Path(run, "result.json").read_text())["metrics"]["test"])
    rows = read(reuse("predict", run, "--data", "diabetes").out)
    assert list(rows[0]) == ["row", "prediction"]
    truth = package.load("diabetes", target="none").train
    assert len(rows) == 442 > len(truth)


def test_images_are_named_and_need_no_class_folders(reuse: Any, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(12):
            pixels = generator.integers(0, 255, (10, 10, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    options = ("--data", "images", "--model", "convnet:4", "--epochs", 1)
    run = reuse("pretrain", "supervised", *options, "--json").json["run"]
    (tmp_path / "new").mkdir()
    Image.fromarray(pixels).resize((25, 13)).save(tmp_path / "new" / "a.png")
    Image.fromarray(pixels).save(tmp_path / "new" / "b.jpg")
    rows = read(reuse("predict", run, "--data", "new").out)
    assert [row["file"] for row in rows] == ["new/a.png", "new/b.jpg"]
    assert {row["prediction"] for row in rows} <= {"cat", "dog"}
    (tmp_path / "new" / "c.png").write_bytes(b"broken")
    reuse("predict", run, "--data", "new").is_refused("new/c.png", "--skip-bad")
    skipped = reuse("predict", run, "--data", "new", "--skip-bad")
    assert len(read(skipped.out)) == 2
    assert "new/c.png" in skipped.err


def test_metrics_are_told_when_they_are_asked_for(finetuned: Path, reuse: Any) -> None:
    plain = reuse("evaluate", finetuned, "--json").json["metrics"]
    told = reuse("evaluate", finetuned, "--metrics", "roc_auc,top_k:2", "--json").json["metrics"]
    assert set(told) == {*plain, "roc_auc", "top_k:2"}
    assert told["top_k:2"] >= told["accuracy"] == plain["accuracy"]
    assert "roc_auc" in reuse("evaluate", finetuned, "--metrics", "all").out.splitlines()[0]
    reuse("evaluate", finetuned, "--metrics", "auc").is_refused("metric of classification 'auc'", "roc_auc")
