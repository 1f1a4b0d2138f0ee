"""Tables in text files: dialects, codes, and what is refused."""

import gzip
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reuse.data.csv_files import CsvFile
from reuse.data.loading import load
from reuse.errors import DataError

RNG = np.random.default_rng(4)


def read(path: Path, text: str) -> pd.DataFrame:
    path.write_text(text, encoding="utf-8", newline="")
    return CsvFile.open(path).read()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "t.csv"


@pytest.mark.parametrize(("name", "text"), [
    ("blanks around cells", "a, b ,label\n 1 , 2.5, x\n2 ,3.5 ,y \n"),
    ("carriage returns and blank lines", "a,b,label\r\n1,2.5,x\r\n\r\n2,3.5,y\r\n\r\n"),
    ("semicolons beside commas in quoted names", '"a";"b";"label"\n1;2.5;x\n2;3.5;y\n'),
    ("Excel's line", "sep=;\na;b;label\n1;2.5;x\n2;3.5;y\n"),
    ("tabs", "a\tb\tlabel\n1\t2.5\tx\n2\t3.5\ty\n"),
    ("bars", "a|b|label\n1|2.5|x\n2|3.5|y\n"),
])  # fmt: skip
def test_dialects(path: Path, name: str, text: str) -> None:
    frame = read(path, text)
    assert frame["a"].tolist() == [1, 2]
    assert frame["b"].tolist() == [2.5, 3.5]
    assert [cell.strip() for cell in frame["label"]] == ["x", "y"]


def test_names_that_hold_the_other_separator(path: Path) -> None:
    frame = read(path, '"size, m";"height, m";"w, x";label\n1;2;3;x\n')
    assert list(frame.columns) == ["size, m", "height, m", "w, x", "label"]


def test_names_and_cells_over_several_lines(path: Path) -> None:
    frame = read(path, '"two\nlines",b\n1,"x ""y""\nz, w"\n')
    assert (list(frame.columns), frame["b"].tolist()) == (["two\nlines", "b"], ['x "y"\nz, w'])


@pytest.mark.parametrize("missing", ["", "NA", "n/a", "NaN", "NULL", "None", "?", "nA"])
def test_what_is_missing_leaves_numbers_numbers(path: Path, missing: str) -> None:
    frame = read(path, f"a,b\n1,x\n{missing},y\n")
    assert np.isnan(frame["a"][1])


@pytest.mark.parametrize("code", ["01", "007", "-05"])
def test_codes_keep_their_zeros(path: Path, code: str) -> None:
    cells = ["12"] * 40 + [code] + ["13", ""]
    assert read(path, "a,b\n" + "".join(f"{cell},0.5\n" for cell in cells))["a"][40] == code


def test_numbers_that_begin_with_zero_are_no_codes(path: Path) -> None:
    frame = read(path, 'a,b,c\n0.5,0,"01:30"\n-0.25,1,"02:00"\n')
    assert [frame[name].dtype.kind for name in "ab"] == ["f", "i"]


def test_codes_far_down_a_long_file_are_found(path: Path) -> None:
    """Pandas reads a long file in parts, each with types of its own."""
    cells = [str(number) for number in range(300_000)] + ["007"]
    assert read(path, "a\n" + "\n".join(cells) + "\n")["a"].iloc[[0, -1]].tolist() == ["0", "007"]
    cells[-1] = "K1"
    cells[0] = "01"
    assert read(path, "a\n" + "\n".join(cells) + "\n")["a"].iloc[[0, -1]].tolist() == ["01", "K1"]


@pytest.mark.parametrize(("text", "message"), [
    ("a,b\n1,2\n3\n4,5\n", r"row 1 \(from 0\) has 1 cell, and there are 2 columns"),
    ("a,b\n1,2\n3,4,5\n", r"row 1 \(from 0\) has 3 cells"),
    ("a,b\n1,2,\n3,4,5\n", r"row 0 \(from 0\) has 3 cells"),
    ("5.1,3.5,setosa\n4.9,3.0,setosa\n", "begins with numbers"),
    ("1,2\n3,4\n", "begins with numbers"),
    ("a,,\n1,2,3\n", "2 columns without a name"),
    ('a,b\n1,"2\n', "cannot be read as CSV"),
])  # fmt: skip
def test_what_is_no_table_is_refused(path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(path, text)


def test_a_separator_behind_each_row_loses_nothing(path: Path) -> None:
    assert read(path, "a,b\n1,2,\n3,4,\n").to_numpy().tolist() == [[1, 2], [3, 4]]


def test_years_may_be_names(path: Path) -> None:
    assert list(read(path, "country,2001,2002\nx,1,2\n").columns) == ["country", "2001", "2002"]


def test_a_file_that_changes_while_it_is_read_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is gone through several times, so that columns would be of two states of it, and rows would lack values."""
    path.write_text("a,b,y\n" + "1,2,0\n3,4,1\n" * 20)
    whole = CsvFile.read

    def grown(self: CsvFile, *texts: object) -> pd.DataFrame:
        with path.open("a") as file:
            file.write("5,01,1\n")
        return whole(self, *texts)

    assert load(str(path)).sizes["train"] > 0
    monkeypatch.setattr(CsvFile, "read", grown)
    with pytest.raises(DataError, match="was changed while it was read: wait"):
        load(str(path))


@pytest.mark.parametrize("name", ["x" * 5000, "y/" * 5000, "z" * 300 + ".csv"])
@pytest.mark.parametrize("is_quiet", [False, True])
def test_names_that_no_file_system_takes_are_refused(
    name: str, is_quiet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a path's own questions raise nothing, as from Python 3.14 on."""
    if is_quiet:
        monkeypatch.setattr(Path, "exists", os.path.exists)
        monkeypatch.setattr(Path, "is_dir", os.path.isdir)
    with pytest.raises(DataError, match="is no name of a file or folder: File name too long"):
        load(name)


def test_compressed(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": RNG.normal(size=40), "label": ["x", "y"] * 20})
    plain, packed = tmp_path / "t.csv", tmp_path / "t.csv.gz"
    table.to_csv(plain, index=False)
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    one, other = load(str(plain)), load(str(packed))
    assert (one.train.inputs.digests() == other.train.inputs.digests()).all()
    packed.write_bytes(packed.read_bytes()[:50])
    with pytest.raises(DataError, match="cannot be read as CSV"):
        load(str(packed))


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_a_column_may_change_its_type_from_block_to_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, ending: str
) -> None:
    """pandas, which reads the file as a whole, is the judge."""
    monkeypatch.setattr("reuse.data.csv_files.CHUNK_ROWS", 3)
    whole, gaps = list(range(1, 12)), [1, 2, 3, 4, None, 6, 7, 8, 9, 10, 11]
    late = [1, 2, 3, 4, 5.5, 6, 7, None, 9, 10, 11]
    texts = [None, None, None, "a", None, "b", "a", "a", None, None, "b"]
    table = pd.DataFrame({"whole": whole, "gaps": gaps, "late": late, "texts": texts, "empty": [None] * 11})
    table.loc[:, "last"] = whole
    path = tmp_path / f"t{suffix}"
    table.to_csv(path, index=False, lineterminator=ending)
    read = CsvFile.open(path).read()
    expected = pd.read_csv(path)
    for name in ("whole", "gaps", "late", "last"):
        np.testing.assert_array_equal(read[name].to_numpy(), expected[name].to_numpy())
        assert read[name].dtype == expected[name].dtype
    assert read["texts"].fillna("").tolist() == expected["texts"].fillna("").tolist()
    assert read["empty"].isna().all()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_name_over_two_lines_hides_no_separator(path: Path, delimiter: str) -> None:
    path.write_text(f'"a, of\nthe left"{delimiter}b{delimiter}c\n1{delimiter}2{delimiter}3\n', encoding="utf-8")
    assert CsvFile.open(path).read().to_dict("list") == {"a, of\nthe left": [1], "b": [2], "c": [3]}


@pytest.mark.parametrize("name", ["nan", "NaN", "inf", "Infinity"])
def test_a_column_may_be_called_what_is_no_finite_number(path: Path, name: str) -> None:
    path.write_text(f"{name},b\n1,2\n", encoding="utf-8")
    assert CsvFile.open(path).read().to_dict("list") == {name: [1], "b": [2]}
