"""The page: everything in one file, which fetches nothing and runs no script."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from reuse.reports.markup import Html, joined, tag
from reuse.reports.subject import Section
from reuse.version import __version__

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""What a browser may do with the page, should anything in it ever ask for more."""


@dataclass(frozen=True)
class Chapter:
    """A part of the page: one run, or the comparison of several.

    Attributes:
        title: its heading.
        lede: a line under it.
        sections: its parts.
    """

    title: str
    lede: str
    sections: tuple[Section, ...]


def page(title: str, lede: str, chapters: Sequence[Chapter]) -> str:
    """Return a page.

    Args:
        title: of all of it.
        lede: a line under the title.
        chapters: its parts; of one alone the title is not said again.
    """
    whole = len(chapters) == 1
    main = tag("main", *(_chapter(chapter, number, whole) for number, chapter in enumerate(chapters, 1)), id="content")
    skip = tag("a", "Skip to the content", href="#content", class_="skip")
    header = tag("header", tag("p", "reuse report", class_="eyebrow"), tag("h1", title), tag("p", lede, class_="lede"))
    body = tag(
        "body",
        skip,
        header,
        _contents(chapters, whole),
        main,
        tag("footer", f"Made by reuse {__version__}. One file; it loads nothing else."),
    )
    return f"<!DOCTYPE html>\n{tag('html', _head(title), body, lang='en')}\n"


def _head(title: str) -> Html:
    style = Html(files("reuse.reports").joinpath("page.css").read_text(encoding="utf-8"))
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title} – reuse report"),
        tag("link", rel="icon", href="data:,"),
        tag("style", style),
    )


def _contents(chapters: Sequence[Chapter], whole: bool) -> Html:
    """Return links to all sections."""
    items = [
        tag(
            "li",
            None if whole else tag("a", chapter.title, href=f"#part{number}", class_="strong"),
            _links(chapter, number),
        )
        for number, chapter in enumerate(chapters, 1)
    ]
    return tag("nav", tag("ul", *items), aria_label="Contents")


def _links(chapter: Chapter, number: int) -> Html:
    links = [
        tag("a", section.title, href=f"#{_anchor(number, place)}") for place, section in enumerate(chapter.sections, 1)
    ]
    return joined([part for link in links for part in (" ", link)])


def _chapter(chapter: Chapter, number: int, whole: bool) -> Html:
    sections = [
        tag("section", tag("h3", section.title), section.body, id=_anchor(number, place))
        for place, section in enumerate(chapter.sections, 1)
    ]
    heading = tag("h2", chapter.title, class_="unseen" if whole else None)
    return tag(
        "article",
        heading,
        tag("p", chapter.lede, class_="lede") if chapter.lede else None,
        *sections,
        id=f"part{number}",
    )


def _anchor(number: int, place: int) -> str:
    return f"part{number}-{place}"
