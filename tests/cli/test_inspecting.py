"""`reuse inspect` and `reuse plan`."""

from pathlib import Path
from typing import Any

import pytest

from reuse.paths import cache_folder


def test_the_table_of_a_run(reuse: Any, finetuned: Path) -> None:
    values = reuse("inspect", finetuned, "--json").json
    layers = {layer["name"]: layer for layer in values["layers"]}
    assert values["frozen"] == ["hidden1"]
    assert layers["hidden1"]["parameters"] == 64 * 16 + 16
    assert layers["hidden2"]["parameters"] == 16 * 8 + 8
    assert [layers[name]["part"] for name in ("hidden1", "hidden2", "output")] == ["prefix", "suffix", "suffix"]
    assert [layers[name]["frozen"] for name in ("hidden1", "hidden2")] == ["yes", "no"]
    assert values["frontier"] == [{"name": "hidden1", "shape": [16], "dtype": "float32"}]
    assert values["bytes_per_sample"] == 16 * 4
    assert values["parameters"] == sum(layer["parameters"] for layer in layers.values())


def test_the_text_says_where_the_cut_falls(reuse: Any) -> None:
    answer = reuse("inspect", "mlp:12,6", "--freeze", "hidden1", "--input-shape", "20", "--num-outputs", 3)
    assert answer.code == 0
    assert "cut by torch.fx at hidden1 12 float32: 48 bytes a sample" in answer.out
    assert "mlp:12,6: 20 in, 3 out" in answer.out


def test_a_model_of_timm(reuse: Any) -> None:
    options = ("--freeze", "!fc,!layer4", "--input-shape", "3,32,32", "--num-outputs", 7)
    values = reuse("inspect", "timm:resnet18", *options, "--json").json
    layers = {layer["name"]: layer for layer in values["layers"]}
    assert layers["layer3"]["shape"] == [256, 2, 2]
    assert (layers["layer3"]["part"], layers["layer4"]["part"]) == ("prefix", "suffix")
    assert layers["fc"]["parameters"] == 512 * 7 + 7
    assert values["bytes_per_sample"] == 256 * 2 * 2 * 4


def test_why_there_is_no_cut(reuse: Any) -> None:
    answer = reuse("inspect", "mlp:12,6", "--freeze", "output")
    assert answer.code == 0
    assert "no cut: " in answer.out
    assert "nothing to cache" in answer.out
    assert reuse("inspect", "mlp:12,6", "--json").json["why_not"].startswith("nothing is frozen")


def test_the_shape_of_data(reuse: Any) -> None:
    values = reuse("inspect", "mlp:12,6", "--data", "iris", "--json").json
    assert (values["input_shape"], values["num_outputs"]) == ([4], 3)
    reuse("inspect", "mlp:12,6", "--data", "iris", "--input-shape", "4").is_refused("one of the two")


def test_a_plan_writes_nothing(reuse: Any, pretrained: Path, tmp_path: Path) -> None:
    options = (pretrained, "--freeze", "hidden1", "--data", "digits", "--labels", 50, "--epochs", 20)
    values = reuse("plan", *options, "--json").json
    assert values["frozen"] == ["hidden1"]
    assert values["frontier"] == [{"name": "hidden1", "shape": [16], "dtype": "float32"}]
    assert values["plan"]["rows"] == values["plan"]["missing"] == 50 + 360
    assert values["cache"]["hit"] is False
    assert values["plan"]["epochs"] == 20
    assert not cache_folder().exists()
    assert not (tmp_path / "runs").exists()
    text = reuse("plan", *options)
    assert "frozen: hidden1" in text.out
    assert "410 rows, none cached yet" in text.out


def test_a_plan_takes_the_file_of_a_training_as_it_takes_its_options(
    reuse: Any, pretrained: Path, tmp_path: Path
) -> None:
    config = tmp_path / "training.toml"
    config.write_text(f'source = "{pretrained}"\nfreeze = ["hidden1"]\nlabels = 50\nout = "there"\n')
    assert reuse("plan", "--config", config, "--json").json["frozen"] == ["hidden1"]
    assert not Path("there").exists()


def test_a_sweep_has_no_model_to_look_at(reuse: Any, pretrained: Path) -> None:
    rates = ("--learning-rate", "0.001,0.01", "--epochs", 2, "--labels", 50, "--out", "swept")
    assert reuse("sweep", pretrained, "--freeze", "hidden1", *rates).code == 0
    answer = reuse("inspect", "swept")
    assert "has no model of its own" in answer.err


def test_a_plan_is_that_of_the_first_phase_and_refuses_what_the_training_would(reuse: Any, pretrained: Path) -> None:
    options = ("plan", pretrained, "--freeze", "hidden1,hidden2", "--data", "digits", "--labels", 50, "--epochs", 20)
    reuse(*options, "--out", "anywhere").is_refused("a plan writes and resumes nothing, and takes no out")
    values = reuse(*options, "--unfreeze", "5:hidden2", "--json").json
    assert values["plan"]["epochs"] == 5
    reason = "augmentation gives the frozen layers other inputs each epoch; --views 5 stores five versions of each row"
    assert reuse(*options, "--augment", "shift:1").out == f"no cache: {reason}\n"
    reuse(*options, "--learning-rate", -1).is_refused("learning rate is -1")
    reuse(*options, "--unfreeze", "5:output").is_refused("output", "not frozen")
    reuse(*options, "--l2-sp", 0.1).is_refused("stay frozen")


@pytest.mark.parametrize("freeze", [(), ("--freeze", "output")])
def test_a_plan_says_why_nothing_can_be_cut(reuse: Any, pretrained: Path, freeze: tuple[str, ...]) -> None:
    answer = reuse("plan", pretrained, *freeze)
    assert answer.code == 0
    assert answer.out.startswith("no cache: ")
    values = reuse("plan", pretrained, *freeze, "--json").json
    assert not values["cut"]
    assert "nothing to cache" in values["reason"]


def test_the_cut_is_drawn_in_the_tree(reuse: Any) -> None:
    options = ("--freeze", "!head,!layer4.1", "--input-shape", "3,32,32", "--depth", 2)
    lines = reuse("inspect", "resnet18", *options).out.splitlines()
    marks = [line.split("  ")[0].rstrip() for line in lines[1:-2]]
    at = next(place for place, line in enumerate(lines) if line.startswith("✂"))
    assert lines[at].endswith("across: layer4_0 512×1×1 float32")
    assert lines[at - 1].startswith("│   ├── layer4.0 ")
    assert lines[at + 1].startswith("│   └── layer4.1 ")
    assert marks[0] == "timm:resnet18"
    assert "├── layer4" in marks
    assert marks[-1] == "└── fc"
    assert sum(line.startswith("✂") for line in lines) == 1


def test_the_cut_stands_before_the_block_that_begins_to_train(reuse: Any) -> None:
    options = ("--freeze", "!head,!layer4", "--input-shape", "3,32,32", "--depth", 2)
    lines = reuse("inspect", "resnet18", *options).out.splitlines()
    at = next(place for place, line in enumerate(lines) if line.startswith("✂"))
    assert lines[at + 1].startswith("├── layer4")
    assert lines[at + 2].startswith("│   ├── layer4.0")


def test_a_model_that_is_not_cut_is_drawn_without_one(reuse: Any) -> None:
    answer = reuse("inspect", "mlp:12,6")
    assert "✂" not in answer.out
    assert [line.split()[1] for line in answer.out.splitlines()[2:-2]] == ["flatten", "hidden1", "hidden2", "output"]
