"""A search from the tab: started, watched in two tabs, stopped, its page opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.ui.test_ui import PATIENCE_MS, Page

pytestmark = pytest.mark.ui
SHORT = ("--set", "load.warmup_s=1 load.drain_s=5 load.users=4 load.spawn_rate=4")


def choose(frame: Any, **fields: str) -> None:
    """Fill in the form of a series and start it."""
    frame.locator("#series-new summary").click()
    for name, value in fields.items():
        frame.locator(f'#series-form [name="{name}"]').select_option(value)
    frame.locator("#series-form button").click()


def test_a_search_is_watched_in_two_tabs_stopped_in_one_and_its_page_is_there(
    ui: Callable[..., Any], browser: Any
) -> None:
    with ui(*SHORT) as web:
        person = Page(browser, web.url)
        person.page.get_by_role("link", name="Find the capacity").click()  # under the start form, before any run
        person.page.locator("#charts").wait_for(state="hidden")  # of no run
        choose(person.page, kind="capacity", scenario="chat", budget="30m")
        other = Page(browser, f"{web.url}/llm")
        for tab in (person.page, other.page):
            tab.bring_to_front()
            tab.locator("#series-levels tbody tr").first.wait_for(timeout=2 * PATIENCE_MS)
            assert "spent" in tab.locator("#series-facts").inner_text()
            assert tab.locator("#chart-series svg.main-svg").first.is_visible()
            assert tab.locator("#series-new").is_hidden(), "one at a time"
        refused = person.page.request.post(
            f"{web.url}/swarm", form={"user_count": "1", "spawn_rate": "1", "scenario": "batch", "host": ""}
        )
        assert "search or comparison is in progress" in refused.json()["message"]
        other.page.locator("#series-stop").click()
        person.page.bring_to_front()
        person.page.locator("#series-page").wait_for(timeout=2 * PATIENCE_MS)
        assert "was stopped" in person.page.locator("#series-sentence").inner_text()
        page = person.page.request.get(f"{web.url}/llm/series/page")
        assert page.ok and "capacity" in page.text().lower()
        assert person.problems == other.problems == []
