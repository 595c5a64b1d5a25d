"""Two tabs on one UI, and a UI that is started anew under an open tab."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.ui.conftest import free_port
from tests.ui.test_ui import PATIENCE_MS, Page, wait_for_points

pytestmark = pytest.mark.ui


def run_of(frame: Any) -> str:
    """The id of the run that a tab shows."""
    return frame.evaluate("document.body.dataset.run || ''")


def test_two_tabs_show_one_run_and_neither_can_start_a_second_one(ui: Callable[..., Any], browser: Any) -> None:
    with ui("--users", "4", "--spawn-rate", "4") as web:
        first, second = Page(browser, web.url), Page(browser, web.url)
        first.page.bring_to_front()  # a tab behind another one draws nothing
        first.start(scenario="rag", warmup="1")
        shown = first.figures()
        wait_for_points(shown, 1)
        # The second tab still has the form of before: it is told what goes on, and nothing happens to the run.
        second.page.bring_to_front()
        second.start(scenario="chat", warmup="1")
        second.page.get_by_text("a run is in progress").first.wait_for()
        assert len(web.folders()) == 1
        second.page.goto(web.url)
        beside = second.figures()
        wait_for_points(beside, 1)
        assert run_of(beside) == run_of(shown) == web.folders()[0].name
        second.page.get_by_role("button", name="Stop").click()
        for person, frame in ((first, shown), (second, beside)):
            person.page.bring_to_front()
            frame.wait_for_selector("#report:visible")
            frame.wait_for_selector("#outcome:visible", timeout=2 * PATIENCE_MS)
        outcomes = {frame.inner_text("#outcome") for frame in (shown, beside)}
        assert len(outcomes) == 1
        assert first.problems == second.problems == []


def test_an_open_tab_says_that_the_ui_is_gone_then_that_it_is_new_and_follows_its_next_run(
    ui: Callable[..., Any], browser: Any
) -> None:
    port = free_port()
    form = {"user_count": "3", "spawn_rate": "3", "scenario": "rag", "warmup": "1", "host": ""}
    with ui(port=port) as web:
        person = Page(browser, f"{web.url}/llm")
        assert person.page.request.post(f"{web.url}/swarm", form=form).json()["success"]
        wait_for_points(person.page, 1)
        earlier = run_of(person.page)
        web.command.signal(signal.SIGINT)
        person.page.get_by_text("these figures are old").wait_for(timeout=2 * PATIENCE_MS)
        assert run_of(person.page) == earlier, "what was seen stays"
        web.command.process.wait(60)
    with ui(port=port) as web:
        person.page.get_by_text(f"those of an earlier run, {earlier}").wait_for(timeout=PATIENCE_MS)
        assert person.page.request.post(f"{web.url}/swarm", form=form).json()["success"]
        person.page.wait_for_function("(earlier) => document.body.dataset.run !== earlier", arg=earlier)
        wait_for_points(person.page, 1)
        assert not person.page.locator("#alert").is_visible()
        assert run_of(person.page) == json.loads(web.get("/llm/live.json"))["run"]["id"] != earlier
        points = person.page.evaluate("document.getElementById('chart-ttft').data[1].x.length")
        assert points == person.page.evaluate("points.length") < 600, "the time line is that of the new run alone"
        person.page.request.get(f"{web.url}/stop")
