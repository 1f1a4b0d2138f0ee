"""Bytes and seconds as people write them, against sums done by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reuse.errors import UsageError
from reuse.units import UNITS, format_bytes, format_count, format_seconds, parse_bytes, verb_of

WRITTEN = {
    "0": 0,
    "17": 17,
    "17B": 17,
    "500MB": 500_000_000,
    "2GB": 2_000_000_000,
    "2 GiB": 2_147_483_648,
    "1.5kib": 1536,
    " 3 tb ": 3_000_000_000_000,
    "0.5KB": 500,
}
READABLE = {
    0: "0 bytes",
    999: "999 bytes",
    1000: "1.0 KB",
    2048: "2.0 KB",
    1_500_000: "1.5 MB",
    2 * 10**9: "2.0 GB",
    3 * 10**12: "3.0 TB",
    4 * 10**15: "4000.0 TB",
}
DURATIONS = {
    0.0: "0 ms",
    0.0004: "<1 ms",
    0.0006: "1 ms",
    0.25: "250 ms",
    1.0: "1.0 s",
    59.96: "60.0 s",
    119.0: "119.0 s",
    120.0: "2.0 min",
}


@pytest.mark.parametrize("text", WRITTEN)
def test_bytes_as_written(text: str) -> None:
    assert parse_bytes(text) == WRITTEN[text]


@pytest.mark.parametrize("text", ["", "MB", "-1GB", "1e9", "2 GB 3", "1,5GB", "2 potatoes", ".5GB", "inf", "٣GB"])
def test_what_is_no_number_of_bytes_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="is no number of bytes: write for example 500MB") as caught:
        parse_bytes(text)
    assert repr(text) in str(caught.value)


@given(st.integers(0, 999), st.sampled_from([unit for unit in UNITS if unit]), st.sampled_from(["", " "]))
def test_a_whole_number_of_a_unit_is_exact_in_any_case(count: int, unit: str, space: str) -> None:
    assert parse_bytes(f"{count}{space}{unit}") == count * UNITS[unit] == parse_bytes(f"{count}{space}{unit.lower()}")


@pytest.mark.parametrize("count", READABLE)
def test_bytes_are_readable(count: int) -> None:
    assert format_bytes(count) == READABLE[count]


@given(st.integers(1000, 10**15))
def test_formatted_bytes_are_read_back_to_the_digit_shown(count: int) -> None:
    """One digit after the point: right to half of it, which is at most a twentieth of what is shown."""
    assert parse_bytes(format_bytes(count)) == pytest.approx(count, rel=0.05)


@given(st.integers(0, 999))
def test_small_counts_are_shown_exactly(count: int) -> None:
    assert format_bytes(count) == f"{count} bytes"


@pytest.mark.parametrize("seconds", DURATIONS)
def test_durations_are_readable(seconds: float) -> None:
    assert format_seconds(seconds) == DURATIONS[seconds]


@pytest.mark.parametrize(("noun", "several"), [
    ("row", "rows"), ("category", "categories"), ("key", "keys"), ("class", "classes"), ("prefix", "prefixes"),
    ("missing value", "missing values"),
])  # fmt: skip
def test_nouns_are_in_the_number_that_is_counted(noun: str, several: str) -> None:
    assert [format_count(count, noun) for count in (0, 1, 2)] == [f"0 {several}", f"1 {noun}", f"2 {several}"]
    assert [verb_of(count, "is", "are") for count in (0, 1, 2)] == ["are", "is", "are"]
