"""What an error of another library comes to in a line."""

import pytest

from reuse.nn.probing import reason


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\n no kernel.\nmore of it", "no kernel"),
        ("step \x1b[96m2/3\x1b[0m failed", "step 2/3 failed"),
        ("", "ValueError"),
        ("\x1b[31m\x1b[0m", "ValueError"),
    ],
)
def test_a_reason_is_one_line_without_colours(text: str, line: str) -> None:
    assert reason(ValueError(text)) == line
