"""The page's own files, and what it forbids."""

import tomllib
from fnmatch import fnmatch
from pathlib import Path

from reports.test_markup import Read
from reuse.reports.markup import Html, tag
from reuse.reports.page import Chapter, page
from reuse.reports.subject import Section

ROOT = Path(__file__).resolve().parents[2]


def test_every_file_that_is_read_goes_into_the_package() -> None:
    packaged = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    for path in (ROOT / "reuse" / "reports").iterdir():
        if path.is_file() and path.suffix != ".py":
            assert any(fnmatch(path.name, pattern) for pattern in packaged["reuse.reports"]), path


def test_headings_step_down_one_by_one_and_links_lead_somewhere() -> None:
    sections = (Section("One", tag("p", "first")), Section("Two", Html()))
    read = Read(page("Title", "A line", [Chapter("a <b>", "", sections), Chapter("b", "words", sections)]))
    assert [name for name in read.tags if name in ("h1", "h2", "h3")] == ["h1", "h2", "h3", "h3", "h2", "h3", "h3"]
    anchors = [value for key, value in read.attributes if key == "id"]
    links = [value for key, value in read.attributes if key == "href" and value != "data:,"]
    assert len(set(anchors)) == len(anchors)
    assert {str(link)[1:] for link in links} <= set(anchors)


def test_it_forbids_scripts_and_fetching_and_says_how_wide_it_is() -> None:
    read = Read(page("t", "l", [Chapter("t", "", ())]))
    assert ("content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'") in read.attributes
    assert ("content", "width=device-width, initial-scale=1") in read.attributes
    assert "url(" not in (ROOT / "reuse" / "reports" / "page.css").read_text()
