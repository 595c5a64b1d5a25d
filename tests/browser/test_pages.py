"""Every kind of page, on a screen and on a phone, light and dark: accessible, whole, and legible."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.gallery import MANY, PAGES
from tests.browser.test_dashboard import wait_until
from tests.test_walls import ROOT

pytestmark = pytest.mark.browser
GRAVE = ("serious", "critical")
SCREEN, PHONE = 1440, 390

WITHOUT_DRAWINGS = "{include: [['html']], exclude: [['.chart svg']]}"
"""What axe-core looks at: a chart has its name outside of the thousands of elements that it is drawn with."""

TOO_WIDE = """() => [...document.querySelectorAll('body *')].filter(e => {
    const box = e.getBoundingClientRect();
    if (!box.width || box.right < 0 || box.right <= document.documentElement.clientWidth + 1) return false;
    for (let p = e.parentElement; p; p = p.parentElement) if (getComputedStyle(p).overflowX !== 'visible') return false;
    return true;
}).map(e => `${e.tagName}.${e.className}`)"""
"""Elements that stand out of the page, where nothing around them scrolls."""

CUT = """() => [...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth + 1)
    .map(e => e.textContent.trim().slice(0, 60))"""
"""Tables of which a part is out of sight."""

CHART_TEXTS = """() => [...document.querySelectorAll('.chart')].flatMap(chart => {
    const room = chart.getBoundingClientRect();
    const seen = [...chart.querySelectorAll('text')].filter(t => t.textContent.trim() && !t.closest('.hoverlayer')
        && getComputedStyle(t).visibility !== 'hidden' && t.getBoundingClientRect().width)
        .map(t => [t.textContent, t.getBoundingClientRect()]);
    const bad = [];
    seen.forEach(([text, box], i) => {
        if (box.right > room.right + 2 || box.left < room.left - 2) bad.push(`${chart.id}: ${text} is cut`);
        seen.slice(i + 1).forEach(([other, its]) => {
            const wide = Math.min(box.right, its.right) - Math.max(box.left, its.left);
            const high = Math.min(box.bottom, its.bottom) - Math.max(box.top, its.top);
            if (wide > 3 && high > 4) bad.push(`${chart.id}: ${text} lies on ${other}`);
        });
    });
    return bad;
})"""
"""Words of charts that are cut, or lie on each other."""


NO_WORDS = re.compile(r"\b(?:UNSET|NaN|nan|undefined|None)\b(?! of)")
"""What a program calls a missing value. (`None of 69 requests failed.` is a sentence.)"""


@pytest.fixture(scope="module")
def axe() -> str:
    """The script that checks a page for accessibility."""
    path = next((ROOT / "build" / "axe").glob("*/axe.min.js"), None)
    if path is None:
        pytest.skip("axe-core is not there: sh tests/browser/need_axe.sh")
    return path.read_text("utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The page of a kind, made once."""
    there: dict[str, Path] = {}

    def page(kind: str) -> Path:
        if kind not in there:
            there[kind] = PAGES[kind](tmp_path_factory.mktemp(kind.replace(" ", "-")))
        return there[kind]

    return page


def opened(browser: Any, page: Path, width: int, scheme: str = "light") -> tuple[Any, list[str]]:
    """The page, drawn, in a context of its own; and what it complained about."""
    shown = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
    complaints: list[str] = []
    shown.on("console", lambda line: complaints.append(line.text) if line.type in ("error", "warning") else None)
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.goto(page.resolve().as_uri())
    if shown.locator(".chart").count():
        wait_until(shown, "Boolean(document.documentElement.dataset.drawn)")
    return shown, complaints


def grave_findings(page: Any, axe: str) -> list[tuple[str, Any]]:
    page.evaluate(axe)
    violations = page.evaluate(f"axe.run({WITHOUT_DRAWINGS}, {{resultTypes: ['violations']}})")["violations"]
    return [(each["id"], each["nodes"][0]["target"]) for each in violations if each["impact"] in GRAVE]


@pytest.mark.parametrize(("width", "scheme"), [(SCREEN, "light"), (PHONE, "dark")])
@pytest.mark.parametrize("kind", PAGES)
def test_a_page_is_accessible_whole_and_legible(
    browser: Any, axe: str, made: Callable[[str], Path], kind: str, width: int, scheme: str
) -> None:
    page, complaints = opened(browser, made(kind), width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(TOO_WIDE) == []
    assert page.evaluate(CUT) == []
    assert page.evaluate(CHART_TEXTS) == []
    assert NO_WORDS.findall(page.inner_text("body")) == []
    assert page.locator("#theme").count() == 1
    assert grave_findings(page, axe) == []
    # In the other theme only colours differ.
    page.evaluate(f"document.documentElement.dataset.theme = '{'dark' if scheme == 'light' else 'light'}'")
    contrast = page.evaluate(
        f"axe.run({WITHOUT_DRAWINGS}, {{runOnly: ['color-contrast'], resultTypes: ['violations']}})"
    )
    assert [each["nodes"][0]["target"] for each in contrast["violations"]] == []
    assert complaints == []
    page.context.close()


def test_the_checks_find_what_is_wrong(browser: Any, axe: str) -> None:
    page = browser.new_page(viewport={"width": PHONE, "height": 900})
    page.set_content(
        "<html lang=en><body><img src=x><p style='color:#aaa;background:#fff'>pale</p>"
        "<div style='width:500px'>wide</div>"
        "<div class=scroll style='overflow-x:auto'><table style='width:900px'><tr><td>cut</table></div>"
        "<div class=chart id=c style='position:relative;height:50px'><svg width=300><text x=10 y=20>one</text>"
        "<text x=12 y=20>two</text><text x=380 y=40 style='overflow:visible'>outside</text></svg></div>"
    )
    assert {"image-alt", "color-contrast"} <= {name for name, _ in grave_findings(page, axe) if name} | {
        each["id"] for each in page.evaluate("axe.run(document)")["violations"]
    }
    assert page.evaluate("document.documentElement.scrollWidth") > PHONE
    assert "DIV." in page.evaluate(TOO_WIDE) and page.evaluate(CUT) == ["cut"]
    assert "c: one lies on two" in page.evaluate(CHART_TEXTS)
    page.close()


def rows_of(page: Any) -> list[str]:
    """Scenarios of the rows of the page of results that are to be seen."""
    return page.evaluate(
        "[...document.querySelectorAll('#entries tbody tr')].filter(r => r.offsetHeight).map(r => r.dataset.scenario)"
    )


@pytest.mark.parametrize(("width", "part"), [(SCREEN, 50), (PHONE, 20)])
def test_the_page_of_results_shows_a_part_and_filters_and_sorts_over_all(
    browser: Any, made: Callable[[str], Path], width: int, part: int
) -> None:
    page, _ = opened(browser, made("results"), width)
    assert len(rows_of(page)) == part
    assert page.evaluate("document.documentElement.scrollHeight") < 12_000
    page.click("#more")
    assert len(rows_of(page)) == 2 * part
    page.select_option("#scenario", "chat")
    assert page.inner_text("#fitting") == str(MANY // 3) and rows_of(page) == ["chat"] * part
    page.select_option("#scenario", "")
    page.fill("#words", "torn")
    assert len(rows_of(page)) == 1, "the last of all is found"
    page.fill("#words", "")
    if width == SCREEN:
        page.click("#entries thead button:has-text('TTFT p95')")
    else:
        page.select_option("#order", label="TTFT p95")
        page.click("#turn")
    assert page.locator("#entries thead th[aria-sort=ascending]").inner_text().startswith("TTFT p95") or width == PHONE
    numbers = page.evaluate(
        "[...document.querySelectorAll('#entries tbody tr')].filter(r => r.offsetHeight)"
        ".map(r => Number(r.querySelector('td.num').dataset.number))"
    )
    assert numbers == sorted(numbers) and len(numbers) == part and numbers[1] <= 301.0, "the least of all comes first"
    page.click("#all")
    assert len(rows_of(page)) == MANY + 2 and page.locator("#parts").is_hidden()
    page.context.close()
