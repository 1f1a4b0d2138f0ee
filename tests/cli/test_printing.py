"""What is printed: all that is said, or what is to be read in any case."""

import math

import numpy as np
import pytest

from reuse.cli.printing import DASH, Printer, QuietPrinter, table
from reuse.reporting import Reporter, Transcript


@pytest.mark.parametrize(("printer", "printed"), [(Printer, ["a line", "beware"]), (QuietPrinter, ["beware"])])
def test_what_is_quiet_leaves_out_lines_and_no_warnings(
    printer: type[Reporter], printed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    kept = Transcript(printer())
    kept.line("a line")
    kept.warning("beware")
    assert capsys.readouterr().err.splitlines() == printed
    assert kept.lines == ["a line", "beware"]


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        ([1.04, 0.5, None], ["1.04", "0.50", ""]),
        ([1.0, 0.98614], ["1.0000", "0.9861"]),
        ([-0.5, 0.125, 0.0], ["-0.500", "0.125", "0.000"]),
        ([np.float64(0.5), 0.25], ["0.50", "0.25"]),
        ([0.001234, 0.001241], ["0.001234", "0.001241"]),  # no digit is lost
        ([0.03526, 0.1484], ["0.03526", "0.1484"]),
        ([12.0, 7.0, DASH], ["12", "7", DASH]),
        ([0.001, 0.1], ["0.001", "0.1"]),  # rates: of several sizes
        ([0.5, 12_345.6], ["0.5", "1.235e+04"]),
        ([math.nan, math.inf, 2.5, 0.25], ["nan", "inf", "2.50", "0.25"]),
        ([3, 20], ["3", "20"]),
        ([True, None], ["yes", ""]),
    ],
)
def test_numbers_of_a_column_have_as_many_decimals(column: list[object], shown: list[str]) -> None:
    lines = table([{"number": value} for value in column]).split("\n")
    assert [line.strip() for line in lines] == ["number", *shown]
