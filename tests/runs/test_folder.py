"""Run folders: making, opening, writing whole files, refusing what is in use, damaged or of another version."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reuse.errors import RunError, UsageError
from reuse.runs.folder import FORMAT, RunFolder, newest_run
from reuse.runs.manifest import CacheChoice, Manifest
from reuse.runs.record_files import write_text
from reuse.settings.commands import FinetuneSettings, PretrainSettings

RESULT = {
    "run": "run",
    "settings": {"epochs": 3},
    "epochs": 3,
    "sizes": {"train": 10},
    "metrics": {"train": {"loss": 0.5}, "valid": {}},
    "seconds": {"cache": 0.0, "train": 1.5, "total": 2},
}


def made(path: str, kind: str = "pretrain", *, finished: bool = True) -> RunFolder:
    run = RunFolder.create(kind, path)
    run.write_settings(kind, {"epochs": 3, "labels": None, "classes": ["a", "b"]})
    run.write_manifest(Manifest(kind, classes=("x",)))
    if finished:
        run.write_result(RESULT)
    return run


def test_what_is_written_is_read() -> None:
    run = made("run")
    opened = RunFolder.open("run")
    assert opened == run
    assert opened.manifest().classes == ("x",)
    assert opened.settings() == PretrainSettings(epochs=3, classes=("a", "b")), "TOML has no null"
    assert opened.command() == "pretrain"
    assert opened.result() == RESULT
    assert made("other", finished=False).result() is None


def test_a_manifest_grows_and_keeps_what_it_held() -> None:
    run = made("run")
    before = run.manifest()
    run.write_manifest(replace(before, cached={1: CacheChoice("disk", ("hidden2",), False)}))
    assert run.manifest() == replace(before, cached={1: CacheChoice("disk", ("hidden2",), False)})
    assert run.manifest().created == before.created != ""


def test_what_others_wrote_in_run_json_stays() -> None:
    run = made("run")
    values = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps({**values, "reuse": "0.0.9", "note": "the good one"}))
    run.write_manifest(replace(run.manifest(), data="digits"))
    written = json.loads((run.path / "run.json").read_text())
    assert written == {**values, "reuse": "0.0.9", "note": "the good one", "data": "digits"}


def test_names_are_made_up_and_never_taken_twice() -> None:
    runs = [RunFolder.create("finetune") for _ in range(3)]
    assert len({run.path for run in runs}) == 3
    assert all(run.path.parent == Path("runs") and run.path.name.startswith("finetune-") for run in runs)


def test_a_name_that_another_process_takes_first_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    make = Path.mkdir
    taken: list[Path] = []

    def late(path: Path, *arguments: Any, **keywords: Any) -> None:
        if path.parent == Path("runs") and not taken:
            taken.append(path)
            path.parent.mkdir()
            make(path)  # by the other process, just before
        make(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "mkdir", late)
    run = RunFolder.create("finetune")
    assert run.path == taken[0].with_name(f"{taken[0].name}-2")


def test_runs_that_is_no_folder_is_said() -> None:
    Path("runs").touch()
    with pytest.raises(UsageError, match=r"no run folder can be made at runs.finetune-"):
        RunFolder.create("finetune")


def test_a_folder_in_use_is_refused_and_left_alone() -> None:
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("kept")
    with pytest.raises(UsageError, match="mine is in use: give another --out, or --resume mine"):
        RunFolder.create("finetune", "mine")
    assert [path.name for path in Path("mine").iterdir()] == ["notes.txt"]
    Path("file").touch()
    with pytest.raises(UsageError, match="file is in use"):
        RunFolder.create("finetune", "file")
    with pytest.raises(UsageError, match=r"no run folder can be made at file.run"):
        RunFolder.create("finetune", "file/run")
    Path("empty").mkdir()
    assert RunFolder.create("finetune", "empty").path == Path("empty")


DAMAGE = {
    "half a file": ('{"format": 1,', "run.json is damaged: .*; restore it or train again"),
    "no object": ("[1]", "run.json is damaged: expected an object, found list"),
    "another version": (
        json.dumps({"format": FORMAT + 1, "reuse": "9.0"}),
        rf"written in format {FORMAT + 1} \(reuse '9.0'\); this version reads format {FORMAT}",
    ),
    "no format": ("{}", "written in format None"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_is_refused_and_never_the_newest(damage: str) -> None:
    text, message = DAMAGE[damage]
    good = made("runs/good")
    made("runs/bad").path.joinpath("run.json").write_text(text)
    with pytest.raises(RunError, match=message):
        RunFolder.open("runs/bad")
    assert newest_run("pretrain") == good


def test_what_is_missing_is_named() -> None:
    with pytest.raises(RunError, match="nowhere is no run folder: there is no such folder"):
        RunFolder.open("nowhere")
    Path("folder").mkdir()
    with pytest.raises(RunError, match=r"folder is no run folder, or damaged: run\.json: No such file"):
        RunFolder.open("folder")
    run = made("run")
    (run.path / "settings.toml").write_text("epochs = ")
    with pytest.raises(RunError, match=r"settings\.toml is no TOML"):
        run.settings()
    (run.path / "settings.toml").unlink()
    with pytest.raises(RunError, match=r"settings\.toml cannot be read: No such file"):
        run.settings()


def test_the_newest_run_is_the_finished_one_of_its_kind_that_was_begun_last() -> None:
    assert newest_run("pretrain") is None
    first, second = made("runs/z"), made("runs/a")
    made("runs/unfinished", finished=False)
    made("runs/other", "finetune")
    Path("runs/stray.txt").touch()
    Path("runs/no-run").mkdir()
    assert newest_run("pretrain") == second, "the time counts, not the name"
    first.write_manifest(replace(first.manifest(), created="2999-01-01"))
    assert newest_run("pretrain") == first


def test_history_survives_a_line_cut_short_and_forgets_what_is_trained_again() -> None:
    run = made("run")
    assert run.history() == []
    for epoch in (1, 2, 3):
        run.append_history({"epoch": epoch, "loss": epoch / 3})
    with (run.path / "history.jsonl").open("a") as file:
        file.write('{"epoch": 4, "lo')
    assert [line["epoch"] for line in run.history()] == [1, 2, 3]
    run.truncate_history(2)
    run.append_history({"epoch": 3, "loss": 0.5})
    assert run.history() == [
        {"epoch": 1, "loss": 1 / 3},
        {"epoch": 2, "loss": 2 / 3},
        {"epoch": 3, "loss": 0.5},
    ]
    (run.path / "history.jsonl").write_text('{"epoch": 1}\n{"epo\n')
    with pytest.raises(RunError, match=r"history\.jsonl is damaged"):
        run.history()


def test_json_is_what_every_reader_takes() -> None:
    run = RunFolder.create("finetune")
    run.write_manifest(Manifest("finetune", swept={"valid": {"r2": float("-inf")}}))
    run.append_history({"epoch": 1, "layers": {"hidden1": {"gradient": float("nan"), "weight": 2.0}}})
    run.write_result({"metrics": {"test": {"r2": float("inf")}}, "epochs": 3})

    def refuse(name: str) -> None:
        pytest.fail(f"{name} is no JSON")

    read = [json.loads(path.read_text(), parse_constant=refuse) for path in sorted(run.path.glob("*.json*"))]
    assert read[0] == {"epoch": 1, "layers": {"hidden1": {"gradient": None, "weight": 2.0}}}
    assert read[1] == {"metrics": {"test": {"r2": None}}, "epochs": 3}
    assert read[2]["swept"] == {"valid": {"r2": None}}


def test_a_text_is_written_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("file.txt")
    write_text(path, "old")

    def power_cut(self: Path, target: Path) -> None:
        raise OSError("cut")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", power_cut)
        with pytest.raises(OSError, match="cut"):
            write_text(path, "new")
    assert path.read_text() == "old"
    write_text(path, "new")
    assert path.read_text() == "new"
    assert [found.name for found in Path().glob(".*draft")] == []


def test_relative_paths_lead_where_they_did_from_any_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Path("flowers.csv").touch()
    Path("digits").mkdir()  # the name of a data set, all the same
    run = RunFolder(Path("run").absolute())
    RunFolder.create("finetune", run.path)
    run.write_settings("finetune", {"source": "gone", "data": "flowers.csv", "freeze": ["hidden1"]})
    run.write_manifest(Manifest("finetune"))
    assert run.settings().data == "flowers.csv"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    Path("flowers.csv").write_text("other rows")
    assert run.settings() == FinetuneSettings(source="gone", data=str(tmp_path / "flowers.csv"), freeze="hidden1")
    run.write_manifest(run.manifest())
    assert run.settings().data == str(tmp_path / "flowers.csv"), "where it began, not where it is written"
    run.write_settings("finetune", {"data": "digits"})
    assert run.settings().data == "digits"
