"""Damaged and hostile run folders: whatever uses them gives one clear line and exit code 2, or a right result."""

import json
import math
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from limited import Answer, answers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does it"),
]

Damage = Callable[[Path], None]
HUGE = 10**12
MADE = (
    ("pretrain", "--model", "mlp:20,10", "--epochs", 1, "--out", "base"),
    ("finetune", "base", "--data", "digits", "--labels", 60, "--freeze", "hidden1", "--epochs", 3, "--out", "run"),
    ("finetune", "--resume", "run", "--compare", "--epochs", 3),
)
USES = {
    "predict": ("predict", "{}", "--data", "digits"),
    "resume": ("finetune", "--resume", "{}", "--epochs", 4),
    "compare": ("finetune", "--resume", "{}", "--epochs", 3, "--compare"),
    "reuse": ("finetune", "{}", "--labels", 40, "--freeze", "hidden1", "--epochs", 1, "--out", "{}/of-it"),
    "ensemble": ("ensemble", "{}", "run"),
    "report": ("report", "{}", "--out", "report.html"),
    "why": ("cache", "why", "{}", "--freeze", "hidden1"),
    "keep": (
        "sweep",
        "{}",
        "--freeze",
        "hidden1",
        "--learning-rate",
        "0.1,0.01",
        "--epochs",
        1,
        "--keep",
        "best",
        "--out",
        "{}/swept",
    ),
}
COMPARED = Path("compared-scratch")  # a run in a run, whose result a comparison takes


def entry(*path: Any, of: str | Path = "run.json") -> Damage:
    """Return a damage to a file of JSON: the last of `path` stands at the place that the others name."""
    *places, last, value = path

    def damage(run: Path) -> None:
        whole = json.loads((run / of).read_text())
        inner = whole
        for place in places:
            inner = inner[place]
        inner[last] = value
        (run / of).write_text(json.dumps(whole))

    return damage


def without(name: str) -> Damage:
    """Return a damage to result.json, which lacks an entry."""

    def damage(run: Path) -> None:
        whole = json.loads((run / "result.json").read_text())
        del whole[name]
        (run / "result.json").write_text(json.dumps(whole))

    return damage


def result(*path: Any) -> Damage:
    return entry(*path, of="result.json")


def compared(damage: Damage) -> Damage:
    """Return a damage to the run that stands beside for comparison."""
    return lambda run: damage(run / COMPARED)


def scale(mean: list[Any], std: list[Any]) -> Damage:
    def damage(run: Path) -> None:
        entry("preprocessing", "mean", mean)(run)
        entry("preprocessing", "std", std)(run)

    return damage


def numbers(mean: list[float], std: list[float]) -> Damage:
    """Return a damage that makes a run one of numbers, learned in a scale."""

    def damage(run: Path) -> None:
        for name, value in (("task", "regression"), ("classes", []), ("target_scale", {"mean": mean, "std": std})):
            entry(name, value)(run)

    return damage


def no_number(run: Path) -> None:
    tensors = load_file(run / "weights.safetensors")
    tensors["output.weight"][0, 0] = math.nan
    save_file(tensors, run / "weights.safetensors")


def content(name: str, text: str | bytes) -> Damage:
    """Return a damage to a file, which holds something else."""

    def damage(run: Path) -> None:
        (run / name).write_bytes(text.encode() if isinstance(text, str) else text)

    return damage


def state(part: str, name: str, value: Any) -> Damage:
    """Return a damage to the state of the newest checkpoint, as of a version that wrote no checksums."""

    def damage(run: Path) -> None:
        path = next((run / "checkpoint").glob("epoch-*")) / "state.pt"
        (path.parent / "checksums.json").unlink()
        whole = torch.load(path, weights_only=True)
        del whole["checksums"]
        whole[part][name] = value
        torch.save(whole, path)

    return damage


def optimizer_state(name: str, value: Any) -> Damage:
    """Return a damage to what the optimizer keeps of the first parameter, as of a version that wrote no checksums."""

    def damage(run: Path) -> None:
        path = next((run / "checkpoint").glob("epoch-*")) / "state.pt"
        whole = torch.load(path, weights_only=True)["trainer"]["optimizer"]
        first = next(iter(whole))
        assert name in whole[first]
        state("trainer", "optimizer", {**whole, first: {**whole[first], name: value}})(run)

    return damage


def in_checkpoint(name: str, text: bytes | None) -> Damage:
    def damage(run: Path) -> None:
        path = next((run / "checkpoint").glob("epoch-*")) / name
        path.unlink()
        if text is not None:
            path.write_bytes(text)

    return damage


def flipped(name: str) -> Damage:
    """Return a damage to one bit in the middle of a file of the newest checkpoint."""

    def damage(run: Path) -> None:
        path = next((run / "checkpoint").glob("epoch-*")) / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    return damage


def pipe(name: str) -> Damage:
    def damage(run: Path) -> None:
        (run / name).unlink()
        os.mkfifo(run / name)

    return damage


model, prepared = ("model",), ("preprocessing",)
OF_RECORD: dict[str, Damage] = {  # whoever reads run.json refuses it
    "divisor 0": entry(*prepared, "divisor", 0),
    "divisor below 0": entry(*prepared, "divisor", -1),
    "divisor nan": entry(*prepared, "divisor", math.nan),
    "divisor inf": entry(*prepared, "divisor", math.inf),
    "divisor text": entry(*prepared, "divisor", "x"),
    "divisor that no float holds": entry(*prepared, "divisor", 10**400),
    "std 0": scale([0.5], [0.0]),
    "std nan": scale([0.5], [math.nan]),
    "mean text": scale(["a"], [1.0]),
    "mean nested": scale([[0.5]], [1.0]),
    "two means of one channel": scale([0.5, 0.5], [1.0, 1.0]),
    "a mean without std": entry(*prepared, "mean", [0.5]),
    "size 0": entry(*prepared, "image_size", [0, 0]),
    "size below 0": entry(*prepared, "image_size", [-8, 8]),
    "size huge": entry(*prepared, "image_size", [HUGE, HUGE]),
    "size text": entry(*prepared, "image_size", "large"),
    "one size": entry(*prepared, "image_size", [8]),
    "another size": entry(*prepared, "image_size", [9, 9]),
    "channels 0": entry(*prepared, "channels", 0),
    "channels text": entry(*prepared, "channels", "x"),
    "crop 0": entry(*prepared, "crop_pct", 0),
    "crop text": entry(*prepared, "crop_pct", "x"),
    "crop mode": entry(*prepared, "crop_mode", "x"),
    "another kind": entry(*prepared, "kind", "x"),
    "an unknown entry": entry(*prepared, "code", "os:system"),
    "no preprocessing": entry("preprocessing", []),
    "regression on a classifier": entry("task", "regression"),
    "an unknown task": entry("task", "x"),
    "task number": entry("task", 3),
    "no task": entry("task", None),
    "one name for all classes": entry("classes", ["a"] * 10),
    "fewer classes": entry("classes", ["a", "b", "c"]),
    "more classes": entry("classes", [f"class {number}" for number in range(100_000)]),
    "no classes": entry("classes", []),
    "classes as text": entry("classes", "0123456789"),
    "classes as numbers": entry("classes", list(range(10))),
    "a scale of classes": entry("target_scale", {"mean": [0.0], "std": [1.0]}),
    "scale text": entry("target_scale", "x"),
    "scale nan": numbers([math.nan] * 10, [1.0] * 10),
    "scale of 0": numbers([0.0] * 10, [0.0] * 10),
    "scale of fewer outputs": numbers([0.0] * 3, [1.0] * 3),
    "side number": entry("model", "side", 3),
    "no outputs": entry(*model, "num_outputs", 0),
    "half an output": entry(*model, "num_outputs", 10.5),
    "outputs true": entry(*model, "num_outputs", True),
    "shape below 0": entry(*model, "input_shape", [-1, 8, 8]),
    "shape huge": entry(*model, "input_shape", [1, HUGE, HUGE]),
    "shape empty": entry(*model, "input_shape", []),
    "shape text": entry(*model, "input_shape", "abc"),
    "spec number": entry(*model, "spec", 3),
    "spec list": entry(*model, "spec", ["mlp:3"]),
    "an unknown option": entry(*model, "options", {"hook": "os:system"}),
    "options list": entry(*model, "options", [1]),
    "no model": entry("model", []),
    "an unknown kind": entry("kind", "x"),
    "another format": entry("format", 2),
    "phases text": entry("phases", "x"),
    "a phase before the first epoch": entry("phases", 0, "epoch", -5),
    "frozen number": entry("phases", 0, "frozen", 3),
    "frontier": entry("phases", 0, "frontier", [3]),
    "cached on tape": entry("cached", {"1": {"kind": "tape"}}),
    "cached list": entry("cached", [1]),
    "settled text": entry("settled", "x"),
    "rows text": entry("rows", "x"),
    "rows numbers": entry("rows", {"train": 3}),
    "restored numbers": entry("restored", [1]),
    "run.json empty": content("run.json", ""),
    "run.json null": content("run.json", "null"),
    "run.json deep": content("run.json", "[" * 100_000),
    "run.json bytes": content("run.json", b"\xff\xfe\0"),
    "run.json a pipe": pipe("run.json"),
}
OF_MODEL: dict[str, Damage] = {  # whoever builds the model for use refuses it
    "spec huge": entry(*model, "spec", "mlp:99999999999"),
    "spec code": entry(*model, "spec", "os:system"),
    "another spec": entry(*model, "spec", "mlp:21,10"),
    "dropout 5": entry(*model, "options", "dropout", 5),
    "weights gone": lambda run: (run / "weights.safetensors").unlink(),
    "weights empty": content("weights.safetensors", b""),
    "weights garbage": content("weights.safetensors", b"\xff" * 999),
    "weights a pipe": pipe("weights.safetensors"),
    "weights nan": no_number,
    "std that float32 divides to infinity by": scale([0.5], [1e-320]),
    "side of a word": entry(*model, "side", "ladder:evil:build"),
}
OF_TRAINING: dict[str, Damage] = {  # whoever goes on refuses it
    "history null": content("history.jsonl", "null\n"),
    "history list": content("history.jsonl", "[1]\n"),
    "no epoch": content("history.jsonl", "{}\n"),
    "epoch text": content("history.jsonl", '{"epoch": "x"}\n'),
    "epochs fall": content("history.jsonl", '{"epoch": 2}\n{"epoch": 1}\n'),
    "advice number": content("history.jsonl", '{"epoch": 1, "advice": 3}\n'),
    "advice of no layers": content("history.jsonl", '{"epoch": 1, "advice": [{"layers": 3}]}\n'),
    "history bytes": content("history.jsonl", b"\xff\xfe\n"),
    "history a pipe": pipe("history.jsonl"),
    "cached behind no layer": entry("cached", {"1": {"kind": "disk", "behind": ["nothing"]}}),
    "settled layers that are none": entry("settled", [{"epoch": 1, "changes": {"nothing": 1.0}}]),
    "other rows": entry("rows", {"train": "abc"}),
    "state a bit": flipped("state.pt"),
    "weights a bit": flipped("weights.safetensors"),
    "best weights a bit": flipped("best.safetensors"),
    "checksums a bit": flipped("checksums.json"),
    "checksums gone": in_checkpoint("checksums.json", None),
    "checksums garbage": in_checkpoint("checksums.json", b"garbage"),
    "checksums deep": in_checkpoint("checksums.json", b"[" * 100_000),
    "checksums a list": in_checkpoint("checksums.json", b"[1]"),
    "optimizer of text": state("trainer", "optimizer", {"output.bias": {"exp_avg": "x"}}),
    "steps text": state("trainer", "steps", "x"),
    "settling list": state("trainer", "settling", [1]),
    "state gone": in_checkpoint("state.pt", None),
    "state empty": in_checkpoint("state.pt", b""),
    "state garbage": in_checkpoint("state.pt", b"garbage" * 99),
    "best gone": in_checkpoint("best.safetensors", None),
    "state of another epoch": state("trainer", "epoch", 10**9),
    "state of epoch text": state("trainer", "epoch", "x"),
    "optimizer list": state("trainer", "optimizer", [1]),
    "optimizer of numbers": state("trainer", "optimizer", {"output.weight": 3}),
    "optimizer of another shape": optimizer_state("exp_avg", torch.zeros(3, 3)),
    "optimizer of one number": optimizer_state("exp_avg_sq", torch.tensor(1.0)),
    "optimizer of many steps": optimizer_state("step", torch.zeros(5)),
    "random state short": state("trainer", "random", {"cpu": torch.zeros(3)}),
    "no random state": state("trainer", "random", None),
    "best text": state("stopping", "best", "x"),
    "best nan": state("stopping", "best", math.nan),
    "waited text": state("stopping", "waited", "x"),
    "best epoch text": state("stopping", "best_epoch", "x"),
    "command number": lambda run: replace(run, 'command = "finetune"', "command = 3"),
    "epochs below 0": lambda run: replace(run, "epochs = 3", "epochs = -3"),
    "settings deep": content("settings.toml", "a = " + "[" * 100_000),
}
OF_RESULT: dict[str, Damage] = {  # whoever reads result.json refuses it; all others need it not
    "no metrics": without("metrics"),
    "no epochs": without("epochs"),
    "no seconds": without("seconds"),
    "no settings": without("settings"),
    "epochs text": result("epochs", "x"),
    "epochs half": result("epochs", 1.5),
    "epochs true": result("epochs", True),
    "epochs below 0": result("epochs", -1),
    "epochs null": result("epochs", None),
    "epochs huge": result("epochs", 10**30),
    "epochs very huge": content("result.json", '{"epochs": 1' + "0" * 10_000 + "}"),
    "epochs object": result("epochs", {"0": 3}),
    "best epoch nan": result("best_epoch", math.nan),
    "metrics list": result("metrics", []),
    "metrics null": result("metrics", None),
    "metrics of a split list": result("metrics", "test", [1]),
    "metrics of a split text": result("metrics", "test", "x"),
    "accuracy text": result("metrics", "test", "accuracy", "\x1b[2J"),
    "accuracy nan": result("metrics", "test", "accuracy", math.nan),
    "accuracy inf": result("metrics", "test", "accuracy", -math.inf),
    "accuracy huge": result("metrics", "test", "accuracy", 10**400),
    "accuracy true": result("metrics", "test", "accuracy", True),
    "metrics of a regression": result("metrics", "test", "r2", 0.5),
    "seconds nan": result("seconds", "train", math.nan),
    "seconds text": result("seconds", "cache", "x"),
    "seconds below 0": result("seconds", "train", -1),
    "seconds null": result("seconds", "train", None),
    "seconds of nothing": result("seconds", {}),
    "sizes list": result("sizes", [1, 2]),
    "sizes half": result("sizes", "train", 0.5),
    "settings list": result("settings", ["x"]),
    "run number": result("run", 3),
    "source list": result("source", ["x"]),
    "frozen text": result("frozen", "hidden1"),
    "frozen numbers": result("frozen", [1]),
    "notes object": result("notes", {"a": 1}),
    "phases of numbers": result("phases", [3]),
    "frontier object": result("frontier", {}),
    "cache list": result("cache", [1]),
    "plan text": result("plan", "x"),
    "comparison list": result("comparison", [1]),
    "comparison text": result("comparison", {"scratch": {"epochs": "x"}}),
    "result empty": content("result.json", ""),
    "result null": content("result.json", "null"),
    "result list": content("result.json", "[1]"),
    "result cut off": lambda run: (run / "result.json").write_bytes((run / "result.json").read_bytes()[:200]),
    "result deep": content("result.json", "[" * 100_000),
    "result bytes": content("result.json", b"\xff\xfe\0"),
    "result a pipe": pipe("result.json"),
}
HARMLESS: dict[str, Damage] = {  # what is not the run's is nobody's business
    "a folder of no epoch": lambda run: (run / "checkpoint" / "epoch-x").mkdir(),
    "result gone": lambda run: (run / "result.json").unlink(),
    "an entry of tomorrow": entry("tomorrow", {"a": [1]}),
    "a result's entry of tomorrow": result("tomorrow", [math.nan]),
}
OTHERS = ("reuse", "ensemble", "why", "keep")  # commands that take a run and read no result


def replace(run: Path, old: str, new: str) -> None:
    text = (run / "settings.toml").read_text()
    assert old in text
    (run / "settings.toml").write_text(text.replace(old, new))


def cases() -> list[tuple[str, Damage, str, bool]]:
    """Return name, damage, use, and whether it is refused."""
    found = [(name, damage, use, True) for name, damage in OF_RECORD.items() for use in ("predict", "resume")]
    found += [(name, damage, "predict", True) for name, damage in OF_MODEL.items()]
    found += [(name, damage, "resume", True) for name, damage in OF_TRAINING.items()]
    some = list(OF_RESULT.items())
    found += [(name, compared(damage), "compare", True) for name, damage in some[::4]]  # all of them are listed below
    found += [(name, damage, "report", True) for name, damage in some[1::4]]
    found += [(*some[place], use, False) for use in OTHERS for place in (6, 26, 41)]
    found += [(name, damage, "predict", False) for name, damage in some[::8]]
    return found + [(name, damage, use, False) for name, damage in HARMLESS.items() for use in ("predict", "resume")]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Answer]:
    """What the uses of all damaged runs answer."""
    folder = tmp_path_factory.mktemp("damaged")
    assert [answer.code for answer in answers(MADE, folder)] == [0, 0, 0]
    commands = []
    for number, (_, damage, use, _) in enumerate(cases()):
        run = Path(shutil.copytree(folder / "run", folder / f"run{number}"))
        damage(run)
        commands.append([str(part).replace("{}", run.name) for part in USES[use]])
    return answers(commands, folder)


@pytest.mark.parametrize("number", range(len(cases())), ids=lambda number: f"{cases()[number][0]}-{cases()[number][2]}")
def test_a_damaged_run_is_one_line(found: list[Answer], number: int) -> None:
    if cases()[number][3]:
        found[number].refusal()
    else:
        assert found[number].code == 0, found[number].err


def test_runs_with_damaged_results_are_listed_with_what_is_wrong_and_hide_no_others(tmp_path: Path) -> None:
    assert [answer.code for answer in answers(MADE, tmp_path)] == [0, 0, 0]
    for number, damage in enumerate(OF_RESULT.values()):
        damage(Path(shutil.copytree(tmp_path / "run", tmp_path / "runs" / str(number))))
    shutil.copytree(tmp_path / "run", tmp_path / "runs" / "whole")
    as_json, as_text = answers([("runs", "list", "--json"), ("runs", "list")], tmp_path)
    listed = {Path(entry["run"]).name: entry for entry in json.loads(as_json.out)["runs"]}
    assert [name for name, entry in listed.items() if not entry["damage"]] == ["whole"]
    assert listed["whole"]["epochs"] == 3
    assert all("result.json" in entry["damage"] for name, entry in listed.items() if name != "whole")
    lines = as_text.out.splitlines()
    assert len(lines) == 1 + len(OF_RESULT) + 1 + 1  # a header, a line each, the sum
    assert all(line.isprintable() for line in lines)


def test_a_run_that_ended_before_its_first_record_says_how_to_go_on(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    (begun / "checkpoint").mkdir(parents=True)
    (begun / "settings.toml").write_text('command = "pretrain"\n')
    (begun / ".run.json.draft").write_text("{")
    first = ("pretrain", "--model", "mlp:4", "--epochs", 1)
    resumed, again = answers([(*first, "--resume", "begun"), (*first, "--out", "begun")], tmp_path)
    for answer in (resumed, again):
        answer.refusal("ended before its first record", "remove that folder", "another --out")
