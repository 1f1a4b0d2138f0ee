"""The page in a real browser: nothing fetched, no message, all drawn, readable, by keyboard, in the dark."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import reuse

CONTRAST = 4.5  # of text: https://www.w3.org/TR/WCAG22/#contrast-minimum

DRAWN = """() => ({
  pictures: [...document.images].filter(i => !(i.complete && i.naturalWidth > 0)).map(i => i.alt),
  empty: [...document.querySelectorAll('svg')].filter(s => {
    const box = s.getBBox(), seen = s.getBoundingClientRect();
    const flat = s.matches('.swatch') ? Math.max(box.width, box.height) : Math.min(box.width, box.height);
    return !(flat > 0 && seen.width > 0 && seen.height > 0);
  }).map(s => s.outerHTML.slice(0, 90)),
  count: document.images.length + document.querySelectorAll('svg').length,
})"""

# Every text with its colour, and the colours behind it, laid over each other; an SVG's letters have a fill.
TEXTS = """() => {
  const pixel = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = colour => {
    pixel.clearRect(0, 0, 1, 1); pixel.fillStyle = colour; pixel.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pixel.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
  };
  const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3]));
  const linear = v => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; };
  const light = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
  const behind = e => {
    const layers = [];
    for (; e; e = e.parentElement) layers.push(rgba(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || e.closest('title') || !e.getClientRects().length) continue;
    const style = getComputedStyle(e), ground = behind(e);
    const ink = over(rgba(e instanceof SVGElement ? style.fill : style.color), ground);
    const [dark, bright] = [light(ink), light(ground)].sort((a, b) => a - b);
    found.push([(bright + .05) / (dark + .05), walk.currentNode.data.trim().slice(0, 40)]);
  }
  return found;
}"""

OVERFLOWING = """() => [...document.querySelectorAll('body *')].filter(e => {
  if (e.closest('.scroll') || e.closest('svg') || e.matches('.skip, .unseen')) return false;
  return e.getBoundingClientRect().right > innerWidth + 1;
}).map(e => e.outerHTML.slice(0, 90))"""


@pytest.fixture(scope="module")
def pages(runs: Path, numbers: Path, labels: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports on a run of each kind, and on several."""
    folder = tmp_path_factory.mktemp("pages")
    shown = {
        "one": [runs / "frozen"],
        "pretraining": [runs / "pre"],
        "odd": [runs / "odd <b>"],
        "several": [runs / "frozen", runs / "free", runs / "pre"],
        "numbers": [numbers],
        "labels": [labels],
    }
    return {name: reuse.report(paths, out=folder / f"{name} & <b>.html") for name, paths in shown.items()}


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    """Open a page as a function of its file, the window's width and the colours; whatever it says or asks for fails."""
    contexts, troubles = [], []

    def open_page(path: Path, width: int = 1200, colours: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=colours)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: request.url.startswith("data:") or asked.append(request.url))
        asked: list[str] = []
        page.goto(path.resolve().as_uri())
        assert asked == [path.resolve().as_uri()]
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


KINDS = ["one", "pretraining", "odd", "several", "numbers", "labels"]


@pytest.mark.parametrize("kind", KINDS)
def test_all_is_drawn_and_nothing_fetched(kind: str, pages: dict[str, Path], opened: Any) -> None:
    drawn = opened(pages[kind]).evaluate(DRAWN)
    assert (drawn["pictures"], drawn["empty"]) == ([], [])
    assert drawn["count"] > 5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [390, 320])
def test_it_can_be_read_on_a_telephone(kind: str, width: int, pages: dict[str, Path], opened: Any) -> None:
    page = opened(pages[kind], width)
    for _ in range(2):  # as it opens, and with all that can be unfolded
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(OVERFLOWING) == []
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    smallest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('svg text')].map(t => t.getBoundingClientRect().height))"
    )
    assert smallest > 8


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(kind: str, colours: str, pages: dict[str, Path], opened: Any) -> None:
    page = opened(pages[kind], colours=colours)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    texts = page.evaluate(TEXTS)
    assert len(texts) > 50
    assert [text for text in texts if text[0] < CONTRAST] == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(ground.split("(")[1].split(",")[0]) < 60) == (colours == "dark")


def test_the_check_of_contrast_sees_grey_on_grey(pages: dict[str, Path], opened: Any) -> None:
    page = opened(pages["one"])
    page.evaluate("document.querySelector('h1').style.color = '#aaa'")
    assert [words for ratio, words in page.evaluate(TEXTS) if ratio < CONTRAST] == ["frozen"]


def test_it_is_worked_by_keyboard(pages: dict[str, Path], opened: Any) -> None:
    page = opened(pages["one"])
    focused = "document.activeElement"
    page.keyboard.press("Tab")
    assert page.evaluate(f"{focused}.textContent") == "Skip to the content"
    assert page.evaluate(f"{focused}.getBoundingClientRect().left") >= 0  # it comes into view
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#content"
    page.keyboard.press("Tab")
    assert page.evaluate(f"document.querySelector('main').contains({focused})")  # past the contents
    reached = set()
    for _ in range(200):
        label = page.evaluate(f"{focused}.ariaLabel ?? {focused}.textContent")
        tag, outline = page.evaluate(f"[{focused}.tagName, getComputedStyle({focused}).outlineStyle]")
        if tag == "BODY":
            break
        assert outline != "none", label
        reached.add((tag, label))
        if (tag, label) == ("SUMMARY", "All settings"):
            page.keyboard.press("Space")
            assert page.evaluate(f"{focused}.parentElement.open")
        page.keyboard.press("Tab")
    summaries = page.evaluate("[...document.querySelectorAll('summary')].map(s => s.textContent)")
    assert {("SUMMARY", name) for name in summaries} <= reached
    assert ("DIV", "Confusion matrix") in reached


def test_wide_things_scroll_in_their_own_box_by_keys(pages: dict[str, Path], opened: Any) -> None:
    page = opened(pages["one"], 390)
    box = page.locator("[aria-label='Confusion matrix']")
    assert box.evaluate("e => e.scrollWidth > e.clientWidth")
    box.focus()
    page.keyboard.press("ArrowRight")
    for _ in range(100):  # it moves smoothly
        if box.evaluate("e => e.scrollLeft") > 0:
            return
        page.wait_for_timeout(20)
    pytest.fail("the box does not move")


REACHABLE = """() => [...document.querySelectorAll('a[href], summary, [tabindex]')]
  .filter(e => e.checkVisibility()).map(e => [...document.querySelectorAll('*')].indexOf(e))"""
SCROLLING = """() => [...document.querySelectorAll('body *')].filter(e => {
  const way = getComputedStyle(e).overflowX;
  return ['auto', 'scroll'].includes(way) && e.scrollWidth > e.clientWidth + 1;
}).map(e => [e.tabIndex, e.ariaLabel])"""
FOCUSED = """() => {
  const e = document.activeElement, box = e.getBoundingClientRect();
  const seen = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
  return [[...document.querySelectorAll('*')].indexOf(e), seen && getComputedStyle(e).outlineStyle !== 'none'];
}"""


def walked(page: Any, key: str, steps: int) -> list[int]:
    """Return the places in the document of what is focused by a key pressed so often, each time in view and marked."""
    places = []
    for _ in range(steps):
        page.keyboard.press(key)
        place, is_seen = page.evaluate(FOCUSED)
        assert is_seen, page.evaluate("document.activeElement.outerHTML.slice(0, 90)")
        places.append(place)
    return places


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [1200, 390])
def test_tab_goes_through_all_in_order_and_back(kind: str, width: int, pages: dict[str, Path], opened: Any) -> None:
    page = opened(pages[kind], width)
    page.emulate_media(reduced_motion="reduce")
    expected = page.evaluate(REACHABLE)
    assert len(expected) > 5
    assert walked(page, "Tab", len(expected)) == expected == sorted(expected)
    assert walked(page, "Shift+Tab", len(expected) - 1) == expected[-2::-1]


@pytest.mark.parametrize("kind", KINDS)
def test_enter_unfolds_and_folds_each_part(kind: str, pages: dict[str, Path], opened: Any) -> None:
    page = opened(pages[kind])
    parts = page.locator("summary")
    assert parts.count() > 0
    for number in range(parts.count()):
        parts.nth(number).focus()
        for is_open in (True, False):
            page.keyboard.press("Enter")
            assert parts.nth(number).evaluate("e => e.parentElement.open") == is_open


@pytest.mark.parametrize("kind", KINDS)
def test_enter_follows_each_link_and_tab_goes_on_from_there(kind: str, pages: dict[str, Path], opened: Any) -> None:
    page = opened(pages[kind])
    page.emulate_media(reduced_motion="reduce")
    links = page.locator("nav a")
    for number in range(links.count()):
        links.nth(number).focus()
        page.keyboard.press("Enter")
        target = page.evaluate("location.hash")
        assert target == links.nth(number).get_attribute("href")
        top = page.evaluate("document.querySelector(location.hash).getBoundingClientRect().top")
        assert top < 800, target
        begun = page.evaluate("[...document.querySelectorAll('*')].indexOf(document.querySelector(location.hash))")
        behind = [place for place in page.evaluate(REACHABLE) if place > begun]
        if behind:  # else it goes on with the browser's own buttons
            assert walked(page, "Tab", 1) == behind[:1], target


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_scrolls_is_reached_by_tab(kind: str, pages: dict[str, Path], opened: Any) -> None:
    page = opened(pages[kind], 320)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    boxes = page.evaluate(SCROLLING)
    assert boxes
    assert all(index == 0 and name for index, name in boxes), boxes


PAPER = 718  # pixels between the margins of a sheet of A4
BEYOND = """width => [...document.querySelectorAll('body *')].filter(e => {
  if (e.closest('svg') || e.matches('.skip, .unseen')) return false;
  const box = e.getBoundingClientRect();
  return box.width > 0 && box.right > width + 1;
}).map(e => e.outerHTML.slice(0, 90))"""


@pytest.mark.parametrize("kind", KINDS)
def test_it_prints_light_and_whole_from_a_dark_screen(kind: str, pages: dict[str, Path], opened: Any) -> None:
    page = opened(pages[kind], PAPER, "dark")
    page.emulate_media(media="print")
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert [text for text in page.evaluate(TEXTS) if text[0] < CONTRAST] == []
    assert int(page.evaluate("getComputedStyle(document.body).backgroundColor").split("(")[1].split(",")[0]) > 200
    assert page.evaluate(BEYOND, PAPER) == []


def test_each_link_leads_somewhere(pages: dict[str, Path], opened: Any) -> None:
    page = opened(pages["several"])
    assert (
        page.evaluate(
            "[...document.links].filter(a => !document.querySelector(a.getAttribute('href'))).map(a => a.href)"
        )
        == []
    )
    assert page.evaluate("document.querySelectorAll('h1').length") == 1


def test_a_script_that_slipped_through_would_not_run(pages: dict[str, Path], browser: Any, tmp_path: Path) -> None:
    """The page forbids what it does not do."""
    bad = tmp_path / "bad.html"
    bad.write_text(pages["odd"].read_text().replace("</h1>", "<script>window.ran = 1</script></h1>"))
    page = browser.new_page()
    page.goto(bad.as_uri())
    assert page.evaluate("window.ran ?? null") is None
    page.close()
