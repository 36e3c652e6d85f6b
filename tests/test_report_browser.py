"""The report in headless Chromium: sorting, filter, links, keyboard, phone, dark, print, scale."""

import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from bench.report import build
from tests.report_runs import changed_records, floor_run, large_run, learner
from tests.test_report import HOSTILE

pytestmark = pytest.mark.extras

CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip(
        "no `chromium` on the path; Debian's package brings it: apt-get install chromium",
        allow_module_level=True,
    )
api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

NONE = "\N{EN DASH}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A page that notes whatever it should not do."""

    def __init__(self, browser: Any, **options: Any) -> None:
        self.page = browser.new_context(**options).new_page()
        self.faults: list[str] = []
        page = self.page
        page.on("console", lambda message: self.faults.append(message.text))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("dialog", self._dialog)
        page.on("requestfailed", lambda request: self.faults.append(request.url))
        page.on("request", self._request)

    def _dialog(self, dialog: Any) -> None:
        self.faults.append(dialog.message)
        dialog.dismiss()

    def _request(self, request: Any) -> None:
        if not request.url.startswith(("file://", "data:")):
            self.faults.append(request.url)

    def open(self, path: Path, state: str = "") -> Any:
        self.page.goto(path.as_uri() + state)
        return self.page


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    made = Visit(browser)
    yield made
    assert made.faults == []
    made.page.context.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs") / "run"
    floor_run(root, suites=["translation", "writing"], shots=[4, 8], baselines=["copy", "nearest"])
    learner(root, "learner", "nearest", [4.0, 2.0, 1.0])
    learner(root, "slow", "copy", [4.0] + [1.0] * 200)
    build([root], root.parent / "site")
    return root.parent / "site"


def baselines(page: Any, block: int = 0) -> list[str]:
    rows = page.locator("section.block").nth(block).locator("table.sortable tbody tr:visible")
    return [text.split(" ", 1)[1] for text in rows.locator("th").all_inner_texts()]


def numbers(page: Any, column: int) -> list[float | None]:
    cells = page.locator("section.block").first.locator(
        f"table.sortable tbody tr td:nth-child({column})"
    )
    texts = [text.split(" ")[0].replace(",", "") for text in cells.all_inner_texts()]
    return [None if text == NONE else float(text) for text in texts]


def test_sorting_by_mouse(visit: Visit, site: Path) -> None:
    page = visit.open(site / "index.html")
    table = page.locator("section.block table.sortable").first
    head = table.get_by_role("columnheader", name="adapt ms")
    column = 1 + [text.strip() for text in table.locator("thead th").all_inner_texts()].index(
        "adapt ms"
    )
    before = numbers(page, column)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert numbers(page, column) == [4020.0, 60.0, None, None]
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert numbers(page, column) == [60.0, 4020.0, None, None]
    assert page.locator("th[aria-sort]").count() == 4  # one a block
    head.get_by_role("button").click()
    assert page.locator("th[aria-sort]").count() == 0
    assert numbers(page, column) == before


def test_what_is_over_suites_sorts_and_leads_to_tasks(visit: Visit, site: Path) -> None:
    page = visit.open(site / "index.html")
    over = page.locator("#over-2")

    def column(place: int) -> list[float]:
        cells = over.locator(f"table.sortable tbody tr td:nth-child({place})").all_inner_texts()
        return [float(text.split(" ")[0]) for text in cells]

    for name, place in (("over suites (IQM)", 6), ("translation (chrF)", 4)):
        head = over.get_by_role("columnheader", name=name)
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == "descending"
        assert column(place) == sorted(column(place), reverse=True)
        assert len(set(column(place))) > 1
        head.get_by_role("button").click()
        assert column(place) == sorted(column(place))
    over.locator("td.number a").first.click()
    page.wait_for_url(re.compile(r"/2-translation-k8/index.html#line-\d$"))
    assert page.locator("th:target").count() == 1
    page = visit.open(site / "index.html", "#suite=writing")
    assert page.locator("#over-2").is_hidden()
    page = visit.open(site / "index.html", "#shots=8")
    assert [page.locator(f"#over-{i}").is_hidden() for i in (1, 2)] == [True, False]


def test_keyboard_alone_sorts_and_follows_a_score_to_the_texts(visit: Visit, site: Path) -> None:
    page = visit.open(site / "index.html")

    def press_until(wanted: str) -> None:
        for _ in range(200):
            page.keyboard.press("Tab")
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none"
            if page.evaluate(f"document.activeElement.matches({wanted!r})"):
                return
        raise AssertionError(wanted)

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    press_until("th[data-key='baseline'] button")
    page.keyboard.press("Enter")
    assert baselines(page) == ["copy", "learner", "nearest", "slow"]
    page.keyboard.press("Space")
    assert baselines(page) == ["slow", "nearest", "learner", "copy"]
    for level in ("tbody td a", "tbody td a", "tbody td a"):
        press_until(level)
        with page.expect_navigation():
            page.keyboard.press("Enter")
    assert re.search(r"/episodes/s0-\d\.html$", page.url)
    assert page.get_by_role("heading", name="Support").is_visible()
    for text in ("Input", "Reference"):
        assert page.locator("dt", has_text=text).count() == 2
    outputs = page.locator("#query-1 tbody th").all_inner_texts()
    assert sorted(text.split(" ")[1] for text in outputs) == ["copy", "learner", "nearest", "slow"]
    page.get_by_role("link", name="Report").click()
    assert page.url.endswith("index.html#block-1")


def test_filter_and_selects(visit: Visit, site: Path) -> None:
    page = visit.open(site / "index.html")
    status = page.locator("output")
    assert status.inner_text() == "24 of 24 rows"
    page.get_by_label("Filter", exact=True).fill("LEARN")
    api.expect(status).to_have_text("6 of 24 rows")
    assert baselines(page) == ["learner"]
    page.get_by_role("combobox", name="Suite").select_option("writing")
    api.expect(status).to_have_text("2 of 24 rows")
    assert page.locator("section.block:visible").count() == 2
    page.get_by_role("combobox", name="Shots").select_option("8")
    api.expect(status).to_have_text("1 of 24 rows")
    page.get_by_label("Filter", exact=True).fill("no such row")
    api.expect(status).to_have_text("0 of 24 rows")
    page.get_by_role("button", name="Clear").click()
    api.expect(status).to_have_text("24 of 24 rows")
    assert page.locator("section.block:visible").count() == 6
    assert "#" not in page.url


def test_a_link_restores_what_was_chosen(visit: Visit, browser: Any, site: Path) -> None:
    page = visit.open(site / "index.html")
    page.locator("th[data-key='adapt ms'] button").first.click()
    page.get_by_role("combobox", name="Baseline").select_option("slow")
    page.get_by_label("Filter", exact=True).fill("none & so")
    page.wait_for_function("location.hash.includes('so')")
    other = Visit(browser)
    other.page.goto(page.url)
    assert other.page.get_by_label("Filter", exact=True).input_value() == "none & so"
    assert other.page.get_by_role("combobox", name="Baseline").input_value() == "slow"
    assert other.page.locator("th[aria-sort='descending']").count() == 4
    assert other.page.locator("output").inner_text() == page.locator("output").inner_text()
    assert other.faults == []
    other.page.context.close()
    page = visit.open(site / "index.html", "#suite=writing&shots=4")
    assert page.locator("section.block:visible").count() == 1
    page = visit.open(site / "index.html", "#suite=gone&sort=nothing&order=up&x==&%E0%A4%A=1")
    assert page.locator("th[aria-sort]").count() == 0
    assert page.locator("section.block:visible").count() == 6


PAGES = ["index.html", "1-translation-k4/index.html", "1-translation-k4/task-0.html"]
PAGES.append("1-translation-k4/episodes/s0-0.html")


@pytest.mark.parametrize("path", PAGES)
def test_a_phone_scrolls_tables_and_not_the_page(browser: Any, site: Path, path: str) -> None:
    visit = Visit(browser, viewport={"width": 375, "height": 812}, has_touch=True)
    page = visit.open(site / path)
    for _ in range(2):
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    box = page.locator("main input, main select, main button[type=reset]")
    for place in range(box.count()):
        size = box.nth(place).bounding_box()
        assert size["height"] >= 24
        assert size["x"] + size["width"] <= 375
    assert visit.faults == []
    page.context.close()


CONTRAST = """() => {
  const channel = (v) => (v /= 255, v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (c) => .2126 * channel(c[0]) + .7152 * channel(c[1]) + .0722 * channel(c[2]);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const c = parse(getComputedStyle(node).backgroundColor);
      if (c.length < 4 || c[3] === 1) return c;
    }
    throw new Error("nothing behind");
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.checkVisibility()) continue;
    const style = getComputedStyle(node);
    const ink = parse(node.closest("svg") ? style.fill : style.color);
    const [a, b] = [light(ink), light(behind(node))].sort((x, y) => y - x);
    found.push([(a + .05) / (b + .05), walker.currentNode.data.trim()]);
  }
  return found.sort((x, y) => x[0] - y[0]);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_texts_stand_out_in_both_schemes(browser: Any, site: Path, scheme: str, path: str) -> None:
    """4.5 to 1 and more, as WCAG 2.2 asks of text (success criterion 1.4.3)."""
    visit = Visit(browser, color_scheme=scheme)
    page = visit.open(site / path)
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    found = page.evaluate(CONTRAST)
    assert len(found) > 20
    assert found[0][0] >= 4.5, found[:3]
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    assert visit.faults == []
    page.context.close()


@pytest.mark.parametrize("path", PAGES)
def test_print_holds_whole_tables_in_dark_on_white(browser: Any, site: Path, path: str) -> None:
    visit = Visit(browser, color_scheme="dark", viewport={"width": 700, "height": 1000})
    page = visit.open(site / path)
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("form.tools:visible").count() == 0
    wide = "[...document.querySelectorAll('.scroll')].filter((b) => b.scrollWidth > b.clientWidth)"
    assert page.evaluate(f"{wide}.length") == 0
    page.context.close()


def test_names_of_what_is_shown(visit: Visit, site: Path) -> None:
    """Landmarks, one first heading, no level left out, every control, box and figure named."""
    for path in PAGES:
        page = visit.open(site / path)
        for role in ("banner", "main", "contentinfo"):
            assert page.get_by_role(role).count() == 1, (path, role)
        levels = page.evaluate(
            "[...document.querySelectorAll('h1,h2,h3,h4')].map((h) => Number(h.tagName[1]))"
        )
        assert levels.count(1) == 1
        assert levels[0] == 1
        assert all(b - a <= 1 for a, b in pairwise(levels))
        for role in ("textbox", "combobox", "searchbox", "button", "img", "region", "link"):
            found = page.get_by_role(role)
            named = page.get_by_role(role, name=re.compile(r"\S"))
            assert named.count() == found.count(), (path, role)
    page = visit.open(site / "index.html")
    assert page.get_by_role("img").count() == page.locator("svg.plot").count() == 12
    assert page.locator("figure details table").count() == 12


def test_pages_serve_without_scripts(browser: Any, site: Path) -> None:
    page = Visit(browser, java_script_enabled=False).open(site / "index.html")
    assert page.locator("form.tools:visible").count() == 0
    assert page.locator("table.sortable tbody tr:visible").count() == 24
    page.locator("table.sortable td a").first.click()
    page.locator("table.sortable td a").first.click()
    page.locator("table.sortable td a").first.click()
    assert "/episodes/" in page.url
    page.context.close()


def test_hostile_texts_are_shown_as_texts(visit: Visit, tmp_path: Path) -> None:
    root = floor_run(tmp_path / "run", episodes=len(HOSTILE))
    learner(root, "learner", "copy", [2.0, 1.0])
    changed_records(
        root,
        lambda record: {
            **record,
            "task": HOSTILE[record["index"]],
            "predictions": [HOSTILE[record["index"]], "".join(HOSTILE)],
            "query_ids": [HOSTILE[1], HOSTILE[0]],
            "support_part": HOSTILE[2],
        },
        suffix="".join(HOSTILE),
        device=HOSTILE[0],
        changed={HOSTILE[1]: HOSTILE[2]},
        options={HOSTILE[1]: HOSTILE[2]},
        revision=HOSTILE[0],
    )
    build([root], tmp_path / "site")
    pages = sorted((tmp_path / "site").rglob("*.html"))
    for path in pages:
        page = visit.open(path)
        assert page.locator("script").count() == 1
        assert page.locator("img, iframe, object, embed, base, svg[onload], [onerror]").count() == 0
        links = page.locator("a").evaluate_all("links => links.map((link) => link.protocol)")
        assert set(links) <= {"file:"}
    page = visit.open(next(path for path in pages if path.name == "s0-0.html"))
    assert page.locator("h1").inner_text().startswith(HOSTILE[0])
    shown = page.locator("#query-1 .said").all_inner_texts()
    assert HOSTILE[0] in shown
    page = visit.open(tmp_path / "site" / "index.html")
    page.get_by_label("Filter", exact=True).fill('"><img')
    page.locator("table.sortable th button").first.click()
    page.wait_for_function("location.hash.includes('img')")


def test_ten_thousand_episodes_are_usable(visit: Visit, tmp_path: Path) -> None:
    site = tmp_path / "site"
    assert build([large_run(tmp_path / "run", 10_000, 4)], site) > 10_000
    assert (site / "index.html").stat().st_size < 500_000
    assert max(path.stat().st_size for path in site.rglob("*.html")) < 1_000_000
    start = perf_counter()
    page = visit.open(site / "index.html")
    page.locator("table.sortable td a").first.click()
    assert page.locator("tbody tr").count() > 40
    page.locator("th[data-key='floor-1'] button").click()
    scores = page.locator("tbody td:nth-child(4)").evaluate_all(
        "cells => cells.map((cell) => Number(cell.dataset.value))"
    )
    assert scores == sorted(scores, reverse=True)
    page.locator("table.sortable td a").first.click()
    rows = page.locator("table.sortable tbody tr")
    kept = rows.filter(has_text="seed 0, 9").count()
    assert 0 < kept < rows.count()
    page.get_by_label("Filter", exact=True).fill("seed 0, 9")
    # The filter waits for a pause in typing; until then hidden links can still be clicked.
    api.expect(page.locator("output")).to_have_text(f"{kept} of {rows.count()} rows")
    page.locator("tbody tr:visible td a").first.click()
    assert page.locator(".notice").count() == 0
    assert page.locator(".said").count() > 16
    assert perf_counter() - start < 60
