"""Hints: kept whole, forgotten when damaged, bounded, shared by processes."""

import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from reuse.hints import HINTS, Hints


@pytest.fixture
def hints(tmp_path: Path) -> Hints:
    return Hints(tmp_path / "cache")


def test_what_is_kept_is_found_by_kind_and_name(hints: Hints) -> None:
    assert hints.find("files", ["a"]) == {}
    hints.keep("files", {"a": b"1", "b": b"2"})
    hints.keep("files", {"b": b"3"})
    hints.keep("cuts", {"a": b"4"})
    assert hints.find("files", ["a", "b", "c"]) == {"a": b"1", "b": b"3"}
    assert Hints(hints.folder).find("cuts", ["a", "b"]) == {"a": b"4"}


def test_many_names_are_found_at_once(hints: Hints) -> None:
    many = {str(number): b"%d" % number for number in range(3000)}
    hints.keep("files", many)
    assert hints.find("files", list(many)) == many


def test_where_nothing_may_begin_nothing_is_written(tmp_path: Path) -> None:
    Hints(tmp_path / "cache", begins=False).keep("files", {"a": b"1"})
    assert not (tmp_path / "cache").exists()
    (tmp_path / "cache").mkdir()
    Hints(tmp_path / "cache", begins=False).keep("files", {"a": b"1"})
    assert Hints(tmp_path / "cache").find("files", ["a"]) == {"a": b"1"}


def test_a_damaged_file_gives_nothing_wrong_and_is_made_anew(hints: Hints) -> None:
    known = {f"name {number}": os.urandom(40) for number in range(200)}
    hints.keep("files", known)
    whole = hints.path.read_bytes()
    draw = random.Random(0)
    for _ in range(60):
        damaged = bytearray(whole)
        if draw.random() < 0.2:
            damaged = damaged[: draw.randrange(len(damaged))]
        for _ in range(draw.choice([1, 3, 200])):
            if damaged:
                damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        hints.path.write_bytes(damaged)
        assert hints.find("files", list(known)).items() <= known.items()
    hints.path.write_bytes(b"no database" * 1000)
    assert hints.find("files", list(known)) == {}
    hints.keep("files", known)
    assert hints.find("files", list(known)) == known


def test_a_changed_value_is_not_believed(hints: Hints) -> None:
    hints.keep("files", {"a": b"1", "b": b"2"})
    with sqlite3.connect(hints.path) as connection:
        connection.execute("update hints set value = x'33' where name = 'a'")
    connection.close()
    assert hints.find("files", ["a", "b"]) == {"b": b"2"}


def test_the_oldest_make_room(tmp_path: Path) -> None:
    hints = Hints(tmp_path, largest=200_000)
    for number in range(40):
        hints.keep("files", {f"{number}/{i}": b"x" * 200 for i in range(50)})
    assert hints.path.stat().st_size < 400_000
    assert len(hints.find("files", [f"39/{i}" for i in range(50)])) == 50
    assert hints.find("files", [f"0/{i}" for i in range(50)]) == {}


def test_processes_that_write_at_once_lose_nothing(hints: Hints) -> None:
    code = (
        "import sys; from pathlib import Path; from reuse.hints import Hints\n"
        "for i in range(30): Hints(Path(sys.argv[1])).keep('files', {f'{sys.argv[2]}/{i}': b'x'})"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(hints.folder), str(n)]) for n in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(hints.find("files", [f"{n}/{i}" for n in range(3) for i in range(30)])) == 90


def test_a_folder_that_cannot_be_written_makes_no_difference(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    Hints(tmp_path / "cache").keep("files", {"a": b"1"})
    assert Hints(tmp_path / "cache").find("files", ["a"]) == {}


def test_a_file_that_is_being_written_is_waited_for_and_not_removed(
    hints: Hints, monkeypatch: pytest.MonkeyPatch
) -> None:
    hints.keep("files", {"a": b"1"})
    monkeypatch.setattr("reuse.hints.WAIT", 0.05)
    with sqlite3.connect(hints.path) as other:
        other.execute("begin exclusive")
        assert hints.find("files", ["a"]) == {}
        hints.keep("files", {"b": b"2"})
        other.rollback()
    other.close()
    assert hints.find("files", ["a", "b"]) == {"a": b"1"}


def test_clearing_forgets_everything(hints: Hints) -> None:
    hints.keep("files", {"a": b"1"})
    size = hints.path.stat().st_size
    (hints.folder / f"{HINTS}-journal").write_bytes(b"of a write that was killed")
    assert hints.clear() == size + 26
    assert list(hints.folder.iterdir()) == []


def test_a_link_is_neither_followed_nor_removed(tmp_path: Path) -> None:
    mine = tmp_path / "mine.sqlite"
    with closing(sqlite3.connect(mine)) as connection, connection:
        connection.execute("create table notes (text)")
    before, hints = mine.read_bytes(), Hints(tmp_path / "cache")
    hints.folder.mkdir()
    hints.path.symlink_to(mine)
    hints.keep("file", {"a": b"1"})
    assert hints.find("file", ["a"]) == {}
    assert hints.clear() == 0
    assert hints.path.is_symlink()
    assert mine.read_bytes() == before
