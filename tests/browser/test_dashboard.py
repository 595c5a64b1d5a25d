"""The dashboard in a real browser: charts are drawn, nothing complains, nothing of an engine's text runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tokenswarm.analysis.run_report import report

from tests.analysis.make_run import START, make_run, manifest, row, write_run
from tokenswarm.contract.tables import DASHBOARD_HTML

pytestmark = pytest.mark.browser

HOSTILE = (
    "</script><script>window.owned=1</script><img src=x onerror='window.owned=1'>"
    "<a href='javascript:window.owned=1'>x</a>{{ 7 * 7 }}\"\u2028"
)


@dataclass
class Opened:
    """A page with what it complained about and asked the network for."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


def wait_until(page: Any, condition: str, seconds: float = 60.0) -> None:
    """Wait for a JavaScript condition. Asked from outside: the page's own policy forbids it to evaluate text."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"still not true after {seconds} s: {condition}"
        page.wait_for_timeout(50)


@pytest.fixture(scope="module")
def open_page(browser: Any) -> Iterator[Callable[..., Opened]]:
    """Opens a run's dashboard, drawn, at a width and in a colour scheme."""
    contexts = []

    def opened(folder: Path, width: int = 1280, scheme: str = "light") -> Opened:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        found = Opened(context.new_page())
        found.page.on("console", lambda m: found.complaints.append(m.text) if m.type in ("error", "warning") else None)
        found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
        found.page.on("request", lambda r: found.requests.append(r.url) if r.url.startswith("http") else None)
        found.page.goto((folder / DASHBOARD_HTML).resolve().as_uri())
        wait_until(found.page, "Boolean(document.documentElement.dataset.drawn)")
        return found

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture(scope="module", params=["rag", "chat", "batch", "reasoning"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reported run of each workload."""
    made = make_run(tmp_path_factory.mktemp("run") / request.param, request.param, seconds=30, failures=0.05)
    report(made)
    return made


@pytest.fixture(scope="module")
def seen(folder: Path, open_page: Callable[..., Opened]) -> Opened:
    """The dashboard of each workload, open on a screen; tests only look at it."""
    return open_page(folder)


@pytest.fixture(scope="module")
def rag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reported run to play with."""
    made = make_run(tmp_path_factory.mktemp("rag"), "rag", seconds=30)
    report(made)
    return made


def test_every_chart_is_drawn_without_a_complaint(seen: Opened) -> None:
    places = seen.page.locator(".chart").count()
    assert places >= 9
    assert seen.page.locator(".chart .main-svg").count() >= places
    # A chart that is drawn has marks: lines, points, bars, boxes, or the image of a heat map.
    marks = seen.page.evaluate(
        "[...document.querySelectorAll('.chart')].filter(c => !c.querySelector("
        "'.scatterlayer path, .barlayer path, .boxlayer path, .heatmaplayer image')).map(c => c.id)"
    )
    assert marks == []
    assert seen.complaints == []
    assert seen.requests == []


def resize(page: Any, width: int) -> None:
    """Make the window this wide, and wait until every chart has followed."""
    page.set_viewport_size({"width": width, "height": 900})
    wait_until(
        page,
        "[...document.querySelectorAll('.chart')].every(c => c._fullLayout?.width === c.clientWidth)"
        f" && window.innerWidth === {width} && Boolean(document.documentElement.dataset.drawn)",
    )


@pytest.mark.parametrize("width", [390, 1280])
def test_page_does_not_scroll_sideways(seen: Opened, width: int) -> None:
    resize(seen.page, width)
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width


def test_legends_do_not_cover_data(seen: Opened) -> None:
    resize(seen.page, 1280)
    covering = seen.page.evaluate("""[...document.querySelectorAll('.chart')].filter(c => {
        const legend = c.querySelector('.legend .bg');
        const top = c.getBoundingClientRect().top + c._fullLayout._size.t;
        return legend && legend.getBoundingClientRect().bottom > top + 2;
    }).map(c => c.id)""")
    assert covering == []
    assert seen.page.locator(".legend").count() > 0


def test_theme_follows_the_system_and_the_button(rag: Path, open_page: Callable[..., Opened]) -> None:
    page = open_page(rag, scheme="dark").page
    background = "getComputedStyle(document.body).backgroundColor"
    stroke = "document.querySelector('#chart-output-time .js-line').style.stroke"
    dark = page.evaluate(background), page.evaluate(stroke)
    page.click("#theme")
    wait_until(page, f"{stroke} !== '{dark[1]}'")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    assert page.evaluate(background) != dark[0]


def test_charts_of_the_time_line_zoom_together(rag: Path, open_page: Callable[..., Opened]) -> None:
    page = open_page(rag).page
    page.evaluate("Plotly.relayout('chart-latency-time', {'xaxis.range': [5, 15]})")
    wait_until(page, "JSON.stringify(document.getElementById('chart-flight-time').layout.xaxis.range) === '[5,15]'")


def test_two_buttons_show_the_whole_run_or_what_was_measured_in_all_charts_over_time(
    rag: Path, open_page: Callable[..., Opened]
) -> None:
    page = open_page(rag).page
    of_one = "document.getElementById('chart-flight-time').layout.xaxis.range"
    shown = (
        "JSON.stringify([...document.querySelectorAll('.chart')].filter(c => c.id.endsWith('-time'))"
        ".map(c => c.layout.xaxis.range).filter((r, i, all) => String(r) !== String(all[0])))"
    )
    whole = page.evaluate(of_one)
    page.click("[data-zoom=measured]")
    wait_until(page, "document.querySelector('[data-zoom=measured]').getAttribute('aria-pressed') === 'true'")
    assert page.evaluate(shown) == "[]"
    assert page.evaluate(of_one) != whole
    page.click("[data-zoom=whole]")
    wait_until(page, f"String({of_one}) === '{whole[0]},{whole[1]}'")


def test_sections_can_be_jumped_to(rag: Path, open_page: Callable[..., Opened]) -> None:
    page = open_page(rag).page
    heads = page.evaluate("[...document.querySelectorAll('main h2[id]')].map(h => h.dataset.nav || h.textContent)")
    assert page.locator("#contents a").all_inner_texts() == heads and len(heads) > 5
    page.click("#contents a:last-child")
    wait_until(page, "document.querySelector('#contents a:last-child').hasAttribute('aria-current')")


def test_nothing_that_an_engine_says_runs_in_the_page(tmp_path: Path, open_page: Callable[..., Opened]) -> None:
    told = manifest(
        model=HOSTILE,
        simulated=False,
        engine={
            "name": HOSTILE,
            "title": HOSTILE,
            "version": HOSTILE,
            "base_url": HOSTILE,
            "image_digest": HOSTILE,
            "effective": {HOSTILE: HOSTILE, "context_length": HOSTILE, "prefix_cache": [HOSTILE]},
        },
        notes=[HOSTILE],
        gpus=[HOSTILE, {"name": HOSTILE}],
        host={HOSTILE: HOSTILE},
        cache_reset={"done": False, "detail": HOSTILE},
    )
    told["scenario"] |= {"title": HOSTILE, "description": HOSTILE, "overrides": {HOSTILE: HOSTILE}}
    told["scenario"]["values"] = {"slo": {HOSTILE: 1, "ttft_p95_ms": 400}}
    rows = [
        row(
            user_class=f"{HOSTILE}{i % 2}",
            request_id=HOSTILE,
            conversation=HOSTILE,
            document=HOSTILE,
            finish_reason=HOSTILE,
            sent_at=START + i,
            turn=i % 3 + 1,
        )
        for i in range(30)
    ]
    rows += [row(status="failed", error=HOSTILE, error_detail=HOSTILE, request_id=HOSTILE, user_class=HOSTILE)] * 3
    host = [
        {"at": START + i, "source": f"{kind} {HOSTILE}", "cpu_share": 0.2, "gpu_util": 0.5, "rss_mb": 1.0}
        for i in range(5)
        for kind in ("worker", "gpu", "engine")
    ]
    report(write_run(tmp_path, rows, told, [], host))
    opened = open_page(tmp_path)
    assert opened.page.evaluate("window.owned") is None
    assert opened.page.locator("img, iframe, a[href]:not([href^='#'])").count() == 0
    # Theme, data, plotly packed and unpacked, page: and none of theirs.
    assert opened.page.locator("script").count() == 5
    assert opened.complaints == []
    assert opened.requests == []
    assert "<img src=x" in opened.page.inner_text("h1")
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_run_without_a_request_still_opens(tmp_path: Path, open_page: Callable[..., Opened]) -> None:
    report(write_run(tmp_path, []))
    opened = open_page(tmp_path)
    assert opened.complaints == []
    assert "INCOMPLETE" in opened.page.inner_text("header")
