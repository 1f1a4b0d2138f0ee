"""`reuse report`: one call, one file."""

from pathlib import Path
from typing import Any


def test_it_writes_the_file_that_it_names(pretrained: Path, tmp_path: Path, reuse: Any) -> None:
    answer = reuse("report", str(pretrained), "--out", str(tmp_path / "page.html"))
    assert answer.code == 0
    assert f"report on {pretrained}: {tmp_path / 'page.html'}" in answer.out
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")


def test_a_program_reads_where_it_is(pretrained: Path, tmp_path: Path, reuse: Any) -> None:
    answer = reuse("report", str(pretrained), str(pretrained), "--json").json
    assert answer["runs"] == [str(pretrained)] * 2
    assert answer["bytes"] == (tmp_path / answer["out"]).stat().st_size


def test_what_is_no_run_is_refused(tmp_path: Path, reuse: Any) -> None:
    reuse("report", str(tmp_path / "nothing")).is_refused("nothing is no run folder")
    reuse("report").is_refused("RUN")
    assert not list(tmp_path.glob("*.html"))
