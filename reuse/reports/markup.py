"""HTML and SVG, written so that no name can become markup."""

import html
from collections.abc import Iterable, Sequence

from reuse.escaping import escaped

ALONE = ("br", "img", "link", "meta")  # elements without an end
Attribute = str | float | bool | None


class Html(str):
    """Markup that stands in a page as it is; any other text is escaped."""

    __slots__ = ()


def text(value: object) -> Html:
    r"""Return a text as it may stand in a page, what is not printable as Python would write it.

    Example:
        >>> text("<b>\x1b")
        '&lt;b&gt;\\x1b'
    """
    return value if isinstance(value, Html) else Html(html.escape(escaped(str(value))))


def tag(name: str, /, *children: object, **attributes: Attribute) -> Html:
    """Return an element.

    Args:
        name: of the element.
        children: what is in it, one after the other; texts are escaped, None is left out.
        attributes: by name, `class_` for `class` and `_` for `-`; None and False are left out, True has no value.

    Example:
        >>> tag("p", "a < b", class_="note", hidden=True)
        '<p class="note" hidden>a &lt; b</p>'
    """
    opening = "".join([f"<{name}", *(_attribute(key, value) for key, value in attributes.items()), ">"])
    return Html(opening if name in ALONE else f"{opening}{joined(children)}</{name}>")


def joined(parts: Iterable[object]) -> Html:
    """Return parts one after the other, as `tag` takes its children."""
    return Html("".join([text(part) for part in parts if part is not None]))


def table(head: Sequence[object], rows: Iterable[Sequence[object]], *, caption: str, class_: str = "numbers") -> Html:
    """Return a table in a box of its own, in which it is moved sideways where it is wider than the page.

    Args:
        head: of the columns; the first names the rows.
        rows: their cells, None for an empty one.
        caption: what it shows, for those who cannot see it.
        class_: of the table.
    """
    top = tag("tr", *(tag("th", cell, scope="col") for cell in head))
    body = [tag("tr", tag("th", first, scope="row"), *(tag("td", cell) for cell in rest)) for first, *rest in rows]
    whole = tag("table", tag("thead", top), tag("tbody", *body), class_=class_)
    return scrolled(whole, caption)


def scrolled(wide: Html, caption: str) -> Html:
    """Return something wide in a box that is moved sideways, by keys too."""
    return tag("div", wide, class_="scroll", tabindex="0", role="region", aria_label=caption)


def folded(summary: str, *children: object, is_open: bool = False) -> Html:
    """Return what is shown on demand."""
    return tag("details", tag("summary", summary), *children, open=is_open)


def note(*parts: object) -> Html:
    """Return a line on what is shown, or on why something is not."""
    return tag("p", *parts, class_="note")


def unbroken(words: object) -> Html:
    """Return words that stay on one line."""
    return tag("span", words, class_="unbroken")


def figure(caption: object, picture: Html, class_: str | None = None) -> Html:
    """Return a picture under its caption."""
    return tag("figure", tag("figcaption", caption), picture, class_=class_)


def figures(*parts: Html) -> Html:
    """Return figures side by side, as many as there is room for."""
    return tag("div", *parts, class_="figures")


def _attribute(key: str, value: Attribute) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is None or value is False:
        return ""
    if value is True:
        return f" {name}"
    return f' {name}="{html.escape(escaped(_shown(value)))}"'


def _shown(value: str | float) -> str:
    """Return coordinates in tenths of a pixel."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
