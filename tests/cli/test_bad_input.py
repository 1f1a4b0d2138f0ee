"""Whatever is given wrongly gets one clear line and exit code 2."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

QUICK = ("--epochs", 2, "--model", "mlp:8")


class Runs:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of two classes of ten images of 12×12."""
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(10):
            pixels = generator.integers(0, 255, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    return tmp_path / "images"


def arrays(path: Path, **values: Any) -> Path:
    np.savez(path, **values)
    return path


def some_rows(rows: int = 30) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.normal(size=(rows, 4)), np.arange(rows) % 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("pretrain", "autoencodr"), ("autoencodr", "'autoencoder'")),
        (("pretrain", "--data", "digts"), ("digts", "'digits'")),
        (("pretrain", "--model", "mpl:10"), ("mpl:10", "'mlp'")),
        (("pretrain", "--model", "mlp:0"), ("mlp:0", "positive")),
        (("pretrain", "--model", "timm:resnet81", "--channels", 3, "--image-size", 32), ("resnet81", "'resnet18'")),
        (("finetune", "timm:resnet19"), ("resnet19", "'resnet18'")),
        (("finetune", "mpl:10"), ("mpl:10", "'mlp'")),
        (("plan", "timm:resnet19"), ("resnet19", "'resnet18'")),
        (("rank", "timm:resnet19", "--data", "nowhere/"), ("resnet19", "'resnet18'")),
        (("inspect", "timm:resnet19"), ("resnet19", "'resnet18'")),
        (("inspect", "timm:resnet18", "--random-weights"), ("`reuse inspect` has no", "`reuse inspect --help` lists")),
        (("pretrain", "--activation", "rulu"), ("rulu", "'relu'")),
        (("pretrain", "--optimizer", "adamm"), ("adamm", "'adam'")),
        (("pretrain", "--init", "he_norml"), ("he_norml", "'he_normal'")),
        (("pretrain", "--norm", "bach"), ("bach", "'batch'")),
        (("pretrain", "--schedule", "cosin"), ("cosin", "'cosine'")),
        (("pretrain", "--precision", "float23"), ("float23", "'float32'")),
        (("pretrain", "--device", "gpu"), ("gpu", "cuda")),
        (("pretrain", "--learning-rate", -0.1), ("-0.1", "above 0")),
        (("pretrain", "--learning-rate", "nan"), ("nan", "finite")),
        (("pretrain", "--epochs", 0), ("epochs is 0",)),
        (("pretrain", "--batch-size", -1), ("batch size is -1",)),
        (("pretrain", "--weight-decay", -1), ("-1", "0 or more")),
        (("pretrain", "--dropout", 1.5), ("dropout", "1.5")),
        (("pretrain", "--labels", 5), ("labels",)),
        (("pretrain", "supervised", "--labels", "many"), ("many",)),
        (("pretrain", "--classes", "11"), ("11",)),
        (("pretrain", "--resume", "nowhere"), ("nowhere",)),
        (("finetune",), ("reuse pretrain",)),
        (("finetune", "resnet18"), ("resnet18",)),
        (("finetune", "runs/nothing"), ("runs/nothing",)),
        (("finetune", "mlp:8"), ("mlp:8", "--data")),
        (("evaluate", "nowhere"), ("nowhere",)),
        (("predict", "nowhere", "--data", "digits"), ("nowhere",)),
        (("inspect", "nowhere"), ("nowhere",)),
        (("inspect", "mlp:8,4", "--freeze", "hiden1"), ("hiden1", "'hidden1'")),
        (("inspect", "mlp:8,4", "--depth", 0), ("depth is 0",)),
        (("inspect", "mlp:8", "--num-outputs", 0), ("at least one output",)),
        (("inspect", "mlp:8", "--input-shape", "3,x"), ("'3,x'", "3,64,64")),
        (("inspect",), ("MODEL",)),
        (("predict", "nowhere"), ("--data",)),
        (("inspect", "convnet:4", "--input-shape", "12"), ("convnet:4", "channels")),
        (("plan", "nowhere:there", "--data", "digits"), ("nowhere:there",)),
        (("recipes", "run", "frozen_finetun"), ("'frozen_finetune'",)),
        (("cache", "clear", "abc"), ("abc",)),
        (("cache", "prune", "--budget", "much"), ("much", "500MB")),
        (("pretrian",), ("pretrian", "'pretrain'")),
        (("pretrain", "--epoch-count", 3), ("--epoch-count",)),
        (("pretrain", "--epochs", "three"), ("three",)),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_names_and_numbers(reuse: Any, arguments: tuple[object, ...], words: tuple[str, ...]) -> None:
    quick = QUICK if arguments[0] == "pretrain" and not {"--epochs", "--model"} & set(map(str, arguments)) else ()
    reuse(*arguments, *quick).is_refused(*words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--freeze", "hiden1"), ("hiden1", "'hidden1'")),
        (("--freeze", "re:(", "--data", "digits"), ("re:(",)),
        (("--freeze", "*"), ("nothing would train",)),
        (("--restore", "hidden7"), ("hidden7",)),
        (("--drop-layers", "hidden1"), ("hidden1",)),
        (("--add-layers", "ten"), ("ten",)),
        (("--optimizer", "adm"), ("adm", "'adam'")),
        (("--learning-rate", 0), ("learning rate is 0",)),
        (("--labels", 3), ("3 labels",)),
        (("--data", "breast-cancer"), ()),
        (("--cache-dtype", "float7"), ("float7",)),
        (("--label-smoothing", 2), ("2",)),
        (("--patience", 0), ("patience",)),
        (("--accumulate", 0), ("accumulate is 0",)),
        (("--max-gap", -1), ("max_gap is -1",)),
        (("--parallel", "fdsp"), ("'fdsp'", "'fsdp'")),
        (("--l2-sp", -1, "--labels", 50), ("l2_sp", "-1")),
        (("--l2-sp", 1, "--labels", 50, "--random-weights"), ("none are restored",)),
        (("--l2-sp", 1, "--labels", 50, "--freeze", "hidden2"), ("stay frozen",)),
    ],
    ids=str,
)
def test_settings_of_finetune(
    reuse: Any, pretrained: Path, tmp_path: Path, options: tuple[object, ...], words: tuple[str, ...]
) -> None:
    reuse("finetune", pretrained, "--freeze", "hidden1", *options, "--epochs", 2).is_refused(*words)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(reuse: Any, tmp_path: Path, bad: float) -> None:
    x, y = some_rows()
    x[7, 2] = bad
    path = arrays(tmp_path / "data.npz", x=x, y=y)
    reuse("pretrain", "--data", path, *QUICK).is_refused("row 7", "column 2", str(bad))


def test_an_infinite_value_in_a_table(reuse: Any, tmp_path: Path) -> None:
    lines = ["width,height,kind", *(f"{i},{i * 2},{'ab'[i % 2]}" for i in range(20))]
    lines[4] = "3,inf,b"
    (tmp_path / "table.csv").write_text("\n".join(lines))
    reuse("pretrain", "--data", tmp_path / "table.csv", *QUICK).is_refused("'height'", "row 3")


def test_lengths_that_differ(reuse: Any, tmp_path: Path) -> None:
    x, y = some_rows()
    reuse("pretrain", "--data", arrays(tmp_path / "a.npz", x=x, y=y[:-1]), *QUICK).is_refused("30 rows", "29")


def test_a_table_with_a_short_row(reuse: Any, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b\n1,x\n2\n")
    reuse("pretrain", "--data", tmp_path / "table.csv", *QUICK).is_refused("row 1")


def test_one_class_only(reuse: Any, tmp_path: Path) -> None:
    x, y = some_rows()
    path = arrays(tmp_path / "one.npz", x=x, y=y * 0)
    reuse("pretrain", "supervised", "--data", path, *QUICK).is_refused("class 0")


def test_a_class_missing_from_the_training_split(reuse: Any, tmp_path: Path) -> None:
    x, y = some_rows()
    path = arrays(tmp_path / "split.npz", x_train=x, y_train=y, x_test=x[:3], y_test=np.array([0, 1, 2]))
    reuse("pretrain", "supervised", "--data", path, *QUICK).is_refused("class 2", "training split")


def test_a_pickle_as_data_is_not_run(reuse: Any, tmp_path: Path) -> None:
    path = arrays(tmp_path / "data.npz", x=np.array([Runs(tmp_path / "ran")], dtype=object))
    reuse("pretrain", "--data", path, *QUICK).is_refused("without pickles")
    assert not (tmp_path / "ran").exists()


def test_an_empty_folder(reuse: Any, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    reuse("pretrain", "--data", tmp_path / "nothing", *QUICK).is_refused("nothing", "empty")


def test_an_empty_class_folder(reuse: Any, images: Path) -> None:
    (images / "bird").mkdir()
    reuse("pretrain", "--data", images, *QUICK).is_refused("bird")


def test_a_broken_image_is_named(reuse: Any, images: Path) -> None:
    broken = images / "cat" / "3.png"
    broken.write_bytes(broken.read_bytes()[:60])
    reuse("pretrain", "--data", images, *QUICK).is_refused("cat/3.png", "--skip-bad")


def test_a_broken_image_is_set_aside_and_listed(reuse: Any, images: Path) -> None:
    (images / "cat" / "3.png").write_bytes(b"no image")
    answer = reuse("pretrain", "--data", images, *QUICK, "--skip-bad", "--json")
    assert answer.code == 0
    assert sum(answer.json["sizes"].values()) == 19
    assert any("cat/3.png" in note for note in answer.json["notes"])
    assert "cat/3.png" in answer.err


def test_images_of_different_sizes(reuse: Any, images: Path) -> None:
    Image.new("RGB", (20, 9)).save(images / "dog" / "0.png")
    reuse("pretrain", "--data", images, *QUICK).is_refused("dog/0.png", "9×20", "--image-size")


@pytest.mark.parametrize(("option", "value"), [("--image-size", "0"), ("--image-size", "4x4x4"), ("--channels", 2)])
def test_sizes_that_no_image_has(reuse: Any, images: Path, option: str, value: object) -> None:
    reuse("pretrain", "--data", images, option, value, *QUICK).is_refused()


def test_an_image_size_that_the_model_does_not_take(reuse: Any, images: Path) -> None:
    spec = ("timm:vit_tiny_patch16_224", "--random-weights", "--data", images, "--image-size", 8, "--epochs", 1)
    reuse("finetune", *spec).is_refused("vit_tiny_patch16_224", "8")


def test_an_image_size_for_a_table(reuse: Any) -> None:
    reuse("pretrain", "--data", "iris", "--image-size", 8, *QUICK).is_refused("image")


def test_data_of_another_shape_than_the_run(reuse: Any, finetuned: Path) -> None:
    reuse("evaluate", finetuned, "--data", "iris").is_refused()
    reuse("predict", finetuned, "--data", "iris").is_refused()


def test_weights_that_cannot_be_had(reuse: Any, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr("reuse.nn.timm_models.can_be_had", lambda _: False)
    answer = reuse("finetune", "timm:resnet18", "--data", images, "--image-size", 32, "--epochs", 1)
    answer.is_refused("resnet18", "--random-weights")


def test_a_pickle_as_weights_is_not_run(reuse: Any, tmp_path: Path) -> None:
    for name in ("weights.pt", "weights.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps({"hidden1.weight": Runs(tmp_path / "ran")}))
        options = ("--model", "mlp:8", "--data", "digits", "--epochs", 1)
        reuse("finetune", tmp_path / name, *options).is_refused(name)
    assert not (tmp_path / "ran").exists()


def test_a_folder_in_use(reuse: Any, tmp_path: Path, pretrained: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    reuse("pretrain", "--out", tmp_path / "mine", *QUICK).is_refused("in use", "--out")
    reuse("pretrain", "--out", tmp_path / "mine" / "letter.txt", *QUICK).is_refused("letter.txt")
    reuse("finetune", pretrained, "--out", pretrained, "--epochs", 1).is_refused("in use")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


def test_an_output_file_that_cannot_be_written(reuse: Any, finetuned: Path, tmp_path: Path) -> None:
    path = tmp_path / "no" / "such" / "folder.csv"
    reuse("predict", finetuned, "--data", "digits", "--out", path).is_refused(str(path))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("learning-rte = 0.1", ("learning-rte", "'learning_rate'")),
        ("epochs = ", ("no TOML",)),
        ('data = "arrays"', ("arrays",)),
        ('command = "finetune"', ("finetune", "pretrain")),
        ('epochs = "three"', ("epochs",)),
        ("model = 3", ("model",)),
        ("learning_rate = [1]", ("learning",)),
        ('dropout = "much"', ("dropout",)),
        ("early_stopping = 3", ("early",)),
    ],
)
def test_config_files(reuse: Any, tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    (tmp_path / "settings.toml").write_text(text)
    reuse("pretrain", "--config", tmp_path / "settings.toml").is_refused(*words)


def test_a_run_of_the_other_command(reuse: Any, pretrained: Path, finetuned: Path) -> None:
    reuse("finetune", "--resume", pretrained).is_refused("reuse pretrain")
    reuse("pretrain", "--resume", finetuned).is_refused("reuse finetune")


def test_using_a_run_that_predicts_nothing(reuse: Any, pretrained: Path) -> None:
    reuse("evaluate", pretrained).is_refused("fine-tune it")
    reuse("predict", pretrained, "--data", "digits").is_refused("fine-tune it")
