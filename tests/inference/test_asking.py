"""A run asked about raw rows, in whatever form people have them."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from sklearn.metrics import f1_score, r2_score

import reuse
from reuse.cli.main import cli
from reuse.errors import DataError, UsageError

RNG = np.random.default_rng(4)


def picture(kind: int) -> Image.Image:
    pixels = RNG.integers(0, 60, (12, 10, 3)).astype(np.uint8)
    pixels[..., kind] += 150
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("pictures")
    for kind, name in enumerate(("red", "green", "blue")):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(8):
            picture(kind).save(folder / "photos" / name / f"{number}.png")
    made: str = reuse.pretrain(
        "supervised", data=str(folder / "photos"), model="mlp:8", epochs=30, batch_size=8, out=folder / "run"
    ).run
    return made


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """Pictures right in a folder, in folders below it, and an empty folder."""
    for name, kind in {"1.png": 0, "2.jpg": 1, "trip/day/3.png": 2, "trip/4.webp": 0}.items():
        (tmp_path / "new" / name).parent.mkdir(parents=True, exist_ok=True)
        picture(kind).save(tmp_path / "new" / name)
    (tmp_path / "new" / "2026").mkdir()
    return tmp_path / "new"


EXPECTED = {"1.png": "red", "2.jpg": "green", "3.png": "blue", "4.webp": "red"}


def test_pictures_are_predicted_wherever_they_lie(run: str, new: Path) -> None:
    found = reuse.predict(run, data=str(new))
    assert found.files is not None
    assert {Path(file).name: label for file, label in zip(found.files, found.labels, strict=True)} == EXPECTED
    assert found.numbers.tolist() == [0, 1, 2, 3]


def test_one_file_and_a_list_of_files_in_their_order(run: str, new: Path) -> None:
    assert reuse.predict(run, data=str(new / "2.jpg")).labels == ["green"]
    files = [new / "trip/4.webp", new / "trip/day/3.png", new / "1.png"]
    found = reuse.predict(run, data=files)
    assert found.labels == ["red", "blue", "red"]
    assert found.files == [str(file) for file in files]
    assert reuse.predict(run, data=np.array([str(file) for file in files])).labels == found.labels


def test_the_command_predicts_one_file_and_a_mixture(run: str, new: Path) -> None:
    for data, count in ((new, 4), (new / "1.png", 1)):
        done = CliRunner().invoke(cli, ["predict", run, "--data", str(data)])
        assert done.exit_code == 0, done.output
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        assert [row["prediction"] for row in rows] == [EXPECTED[Path(row["file"]).name] for row in rows]
        assert len(rows) == count


def test_raw_rows_in_all_forms_are_prepared_as_the_run_did(run: str, new: Path) -> None:
    model = reuse.load_model(run)
    images = [picture(kind) for kind in (0, 1, 2, 1)]
    raw = np.stack([np.asarray(image) for image in images])
    expected = model.values(
        reuse.load((raw, None), preprocessing=model.preprocessing, test_fraction=0, valid_fraction=0).train.inputs
    )
    assert [model.classes[number] for number in expected.argmax(1)] == ["red", "green", "blue", "green"]
    forms: dict[str, Any] = {
        "bytes": raw,
        "floats": raw / 255,
        "channels first": np.moveaxis(raw, 3, 1),
        "a list": list(raw),
        "a pair": (raw, None),
        "named": {"x": raw},
        "Pillow's": images,
    }
    for name, form in forms.items():
        torch.testing.assert_close(model.values(form), expected, msg=name)
    torch.testing.assert_close(model.values(raw[0]), expected[:1])
    torch.testing.assert_close(model.values(images[1]), expected[1:2])
    torch.testing.assert_close(model.values(str(new / "1.png")), model.values([new / "1.png"]))


def test_raw_vectors_and_tables_give_what_prepared_rows_give(tmp_path: Path) -> None:
    x = RNG.normal(50, 20, (300, 4))
    y = (x[:, 0] > 50).astype(int)
    model = reuse.load_model(
        reuse.pretrain("supervised", data=(x, y), model="mlp:8", epochs=60, out=tmp_path / "run").run
    )
    predicted = model.values(x)
    assert (predicted.argmax(1).numpy() == y).mean() > 0.9
    prepared = reuse.load((x, y), preprocessing=model.preprocessing).test
    torch.testing.assert_close(model.values(prepared.inputs), predicted[prepared.rows])


def test_what_is_plainly_not_prepared_is_refused(run: str, tmp_path: Path) -> None:
    model = reuse.load_model(run)
    raw = torch.from_numpy(np.stack([np.asarray(picture(0))]))
    channels_first = raw.movedim(3, 1)
    for rows, words in (
        (
            raw.float(),
            r"rows of shape \(12, 10, 3\), and the model takes \(3, 12, 10\): give raw rows to",
        ),
        (channels_first.float(), "values up to 2[0-9]*, which are not prepared"),
    ):
        with pytest.raises(UsageError, match=words):
            model(rows)
        with pytest.raises(UsageError, match=words):
            model.values(rows)
    with pytest.raises(UsageError, match="rows of uint8, which are not prepared"):
        model(channels_first)
    torch.testing.assert_close(model.values(raw), model.values(raw.numpy()))
    assert model(channels_first.float() / 255).shape == (1, 3)
    x = RNG.normal(1000, 20, (60, 4))
    vectors = reuse.load_model(
        reuse.pretrain("supervised", data=(x, np.arange(60) % 2), model="mlp:8", epochs=1, out=tmp_path / "run").run
    )
    with pytest.raises(UsageError, match="not prepared"):
        vectors(torch.from_numpy(x).float())
    standardised = torch.from_numpy((x - x.mean(0)) / x.std(0)).float()
    assert vectors(standardised).shape == (60, 2)
    assert vectors(standardised * 100).shape == (60, 2)  # far out, and no nearer when it is taken for raw


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (RNG.random((5, 4)), "made for images"),
        (RNG.random((3, 12, 10)), r"one picture or 3 grey ones: give x\[None\]"),
        ([RNG.random((12, 10, 3)), RNG.random((5, 10, 3))], "give every row the same length"),
        ([], "^an empty list as data: give at least one row$"),
    ],
)
def test_what_are_no_rows_for_the_model_is_refused(run: str, rows: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        reuse.load_model(run).predict(rows)


def test_one_row_can_be_loaded_for_a_model(run: str) -> None:
    model = reuse.load_model(run)
    data = reuse.load((np.asarray(picture(1))[None], None), preprocessing=model.preprocessing)
    assert data.sizes == {"train": 1, "valid": 0, "test": 0}
    assert "test: no rows, as there is only 1" in data.notes


def test_pictures_in_lists_are_learned_from_with_their_labels(tmp_path: Path) -> None:
    images, labels = [picture(number % 2) for number in range(12)], ["red", "green"] * 6
    for number, image in enumerate(images):
        image.save(tmp_path / f"{number}.png")
    files = [tmp_path / f"{number}.png" for number in range(12)]
    by_file = reuse.load((files, labels))
    by_image = reuse.load((images, labels))
    assert by_file.classes == by_image.classes == ("green", "red")
    assert torch.equal(by_file.train.inputs.resident(), by_image.train.inputs.resident())
    assert [Path(name).name for name in by_file.train.inputs.names() or ()] == [
        f"{row}.png" for row in by_file.train.rows
    ]


def test_pictures_in_all_forms_get_the_names_of_their_classes(run: str, new: Path) -> None:
    model = reuse.load_model(run)
    images = [picture(kind) for kind in (0, 1, 2, 1)]
    raw = np.stack([np.asarray(image) for image in images])
    for form in (raw, raw / 255, images, torch.from_numpy(raw)):
        np.testing.assert_array_equal(model.predict(form), ["red", "green", "blue", "green"])
        probabilities = model.predict_proba(form)
        np.testing.assert_array_equal(np.array(model.classes)[probabilities.argmax(1)], model.predict(form))
        np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    assert model.predict(new / "2.jpg").tolist() == reuse.predict(run, data=new / "2.jpg").labels


def test_a_frame_gets_classes_labels_or_numbers_as_from_estimators_of_scikit_learn(tmp_path: Path) -> None:
    frame = pd.DataFrame(RNG.normal(50, 20, (60, 3)), columns=["a", "b", "c"])
    high = (frame > 50).to_numpy()
    targets = {
        "class": np.where(high[:, 0], "high", "low"),
        "labels": high.astype(np.int64),
        "number": 1e5 * frame["a"].to_numpy(),
        "numbers": 1e5 * frame[["a", "b"]].to_numpy(),
    }
    models = {}
    for name, y in targets.items():
        data = (frame, y)
        result = reuse.pretrain("supervised", data=data, model="mlp:16", epochs=60, batch_size=8, out=tmp_path / name)
        models[name] = reuse.load_model(result.run)
    assert set(models["class"].predict(frame)) == {"high", "low"}
    assert (models["class"].predict(frame) == targets["class"]).mean() > 0.9
    labels = models["labels"].predict(frame)
    np.testing.assert_array_equal(labels, models["labels"].predict_proba(frame) > 0.5)
    assert labels.dtype == np.int64
    assert f1_score(targets["labels"], labels, average="macro") > 0.8
    assert r2_score(targets["number"], models["number"].predict(frame)) > 0.9
    assert models["number"].predict(frame).shape == (60,)
    assert models["numbers"].predict(frame).shape == (60, 2)
    with pytest.raises(UsageError, match="predicts numbers, which have no probabilities: call predict"):
        models["number"].predict_proba(frame)
