"""What is printed: all that is said, or what is to be read in any case."""

import pytest

from reuse.cli.printing import Printer, QuietPrinter
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
