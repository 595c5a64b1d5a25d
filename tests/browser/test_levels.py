"""A run whose users were changed by hand, in a real browser: header, table and curve of levels, bands in charts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from tokenswarm.analysis.run_report import report

from tests.analysis.test_load_levels import made
from tokenswarm.contract.tables import DASHBOARD_HTML

pytestmark = pytest.mark.browser

LEVELS = ["32 users", "48 users", "8 users"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reported run of 32, then 48, then 8 users."""
    made_run = made(tmp_path_factory.mktemp("levels"))
    report(made_run)
    return made_run


@pytest.fixture(scope="module", params=[1440, 390])
def page(request: pytest.FixtureRequest, browser: Any, folder: Path) -> Any:
    """Its dashboard, drawn, on a screen and on a phone."""
    context = browser.new_context(viewport={"width": request.param, "height": 900})
    opened = context.new_page()
    opened.goto((folder / DASHBOARD_HTML).resolve().as_uri())
    end = time.monotonic() + 60.0
    while not opened.evaluate("Boolean(document.documentElement.dataset.drawn)"):
        assert time.monotonic() < end, "the page was never drawn"
        opened.wait_for_timeout(50)
    yield opened
    context.close()


def test_the_header_names_the_loads_in_their_order(page: Any) -> None:
    assert "32 → 48 → 8 users" in page.locator("header").inner_text()


def test_each_level_has_a_row_with_figures_of_its_own(page: Any) -> None:
    table = page.locator("#load-levels ~ * table").first
    heads = table.locator("tbody th").all_inner_texts()
    assert [head.split("\n")[0] for head in heads] == [f"{number}: {name}" for number, name in enumerate(LEVELS, 1)]
    figures = [row.locator("td b").all_inner_texts() for row in table.locator("tbody tr").all()]
    assert len({tuple(each) for each in figures}) == 3 and all(all(each) for each in figures)


def test_the_curves_have_a_point_a_level(page: Any) -> None:
    points = page.evaluate("document.getElementById('chart-levels-latency').data.map(trace => trace.x.length)")
    assert points and set(points) == {3}
    assert page.locator("#chart-levels-latency .scatterlayer path").count() > 0


def test_time_charts_have_a_named_band_a_level(page: Any) -> None:
    """Where there is room for the names: on a phone the bands alone are there."""
    room = page.viewport_size["width"] > 400
    bands = page.evaluate(
        "[...document.querySelectorAll('.chart')].map(chart => (chart.layout?.annotations ?? [])"
        ".filter(note => note.name === 'band').map(note => note.text))"
    )
    assert any(set(LEVELS) <= set(names) for names in bands) == room
    shaded = page.evaluate(
        "[...document.querySelectorAll('.chart')].map(chart => chart.querySelectorAll('.shapelayer path').length)"
    )
    assert max(shaded) >= 2


def test_nothing_of_it_makes_the_page_scroll_sideways(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
