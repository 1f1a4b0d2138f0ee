"""No name becomes markup."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reuse.reports.markup import Html, table, tag, text


class Read(HTMLParser):
    """What a parser other than a browser's finds in a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words += data


printable = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cf", "Co", "Cn", "Zl", "Zp", "Zs")), max_size=40)


@given(name=printable)
def test_any_name_is_found_again_as_text_and_as_attribute(name: str) -> None:
    read = Read(tag("p", name, title=name))
    assert (read.tags, read.words, read.attributes) == (["p"], name, [("title", name)])


@given(name=st.text())
def test_whatever_it_holds_a_name_is_one_line_and_no_element(name: str) -> None:
    page = tag("p", name, title=name)
    assert Read(page).tags == ["p"]
    assert "\n" not in page
    assert "\x1b" not in page
    page.encode("utf-8")


def test_markup_stays_and_text_is_escaped() -> None:
    assert text(Html("<b>")) == "<b>"
    assert text("<b>") == "&lt;b&gt;"
    assert tag("p", tag("b", "<"), None, 3) == "<p><b>&lt;</b>3</p>"


@pytest.mark.parametrize(
    ("value", "written"), [(None, "<i></i>"), (False, "<i></i>"), (True, "<i wide></i>"), (1.25, '<i wide="1.2"></i>')]
)
def test_attributes(value: float | bool | None, written: str) -> None:
    assert tag("i", wide=value) == written


def test_a_table_has_headings_for_rows_and_columns() -> None:
    page = table(["name", "score"], [["a", None], ["<b>", 2]], caption="Scores")
    assert page.count('scope="col"') == page.count('scope="row"') == 2
    assert "&lt;b&gt;" in page
    assert 'tabindex="0"' in page
