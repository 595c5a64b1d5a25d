"""A search and a comparison from the tab: started, watched in two tabs, stopped, their pages opened."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from tokenswarm.analysis.search.attainment import blocks_of
from tokenswarm.analysis.search.capacity_search import judge, next_step
from tokenswarm.analysis.search.load_levels import LoadEvidence, SearchSettings

from tests.analysis.search.test_margin_line import TARGET, line_of, margins
from tests.e2e.support import left_behind
from tests.ui.test_ui import PATIENCE_MS, Page
from tokenswarm.base.errors import Exit
from tokenswarm.contract.search_progress import BracketSoFar, LevelSoFar, new_progress

pytestmark = pytest.mark.ui
SLOW = (
    "load.warmup_s=1 load.drain_s=10 load.users=2 load.spawn_rate=2 rag.document_tokens=20000 rag.documents=400 "
    "slo.ttft_p95_ms=9000"
)
SHORT = ("--set", "load.warmup_s=1 load.drain_s=5 load.users=4 load.spawn_rate=4")


def choose(frame: Any, **fields: str) -> None:
    """Open the form of a series, which is closed at first and after each start, fill it in and start it."""
    form = frame.locator("#series-new")
    form.wait_for()
    assert form.get_attribute("open") is None
    form.locator("summary").click()
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


def states_of_a_search() -> list[BracketSoFar]:
    """What a search knows after each of its runs, up to its end."""
    asked, evidence, states = SearchSettings(32), [], []
    while (step := next_step(asked, evidence)).load is not None:
        margin = margins(line_of(0.5, 57.5)(step.load), 0.03, step.requests, len(evidence))
        at = np.arange(len(margin)) + 0.5
        evidence.append(LoadEvidence(step.load, blocks_of(at, margin, (0.0, float(len(at))), TARGET)))
        known = judge(asked, evidence)
        levels = [
            LevelSoFar(each.load, each.state, each.attainment.share, requests=each.requests) for each in known.levels
        ]
        ends = [None if end is None or np.isinf(end) else float(end) for end in (known.low, known.high)]
        states.append(
            BracketSoFar(
                sure_pass=known.sure_pass,
                sure_fail=known.sure_fail,
                estimate=known.estimate,
                ci95=ends,
                levels=levels,
            )
        )
    return states


def test_the_tab_shows_the_bracket_narrowing(ui: Callable[..., Any], browser: Any) -> None:
    """The states of a search, one after the other, as the server tells them while it goes on."""
    states = states_of_a_search()
    told = {"place": 0}

    def tell(route: Any) -> None:
        now, progress = route.fetch().json(), new_progress("capacity", "sim", "chat")
        progress.bracket, progress.runs, progress.updated_at = states[told["place"]], told["place"] + 1, time.time()
        going = {"state": "running", "stopping": False, "choices": {"kind": "capacity", "scenario": "chat"}}
        times = {"began": time.time() - 60.0, "at": time.time(), "code": None, "sentence": None, "verdict": None}
        route.fulfill(
            json=now | going | times | {"lines": [], "page": False, "progress": msgspec.to_builtins(progress)}
        )

    widths: list[float] = []
    with ui(*SHORT) as web:
        person = Page(browser, web.url)
        person.page.route("**/llm/series.json", tell)
        person.page.goto(f"{web.url}/llm")
        facts, rows = person.page.locator("#series-facts"), person.page.locator("#series-levels tbody tr")
        for place, state in enumerate(states):
            told["place"] = place
            facts.filter(has_text=f"{place + 1} run{'s' if place else ''} ").wait_for()
            shown = re.search(r"(\d+) users surely pass · (\d+) users surely fail", facts.inner_text())
            assert rows.count() == len(state.levels)
            assert bool(shown) == (state.sure_pass is not None and state.sure_fail is not None), facts.inner_text()
            if shown:
                assert (float(shown[1]), float(shown[2])) == (state.sure_pass, state.sure_fail)
                widths.append(float(shown[2]) / float(shown[1]))
        assert person.problems == []
    assert len(set(widths)) >= 3 and widths == sorted(widths, reverse=True), f"it narrows: {widths}"


def test_a_comparison_runs_to_its_end_and_the_end_of_the_ui_ends_the_next_one(
    ui: Callable[..., Any], browser: Any
) -> None:
    """Documents so long that a first token takes a second: what a busy machine adds to it spoils no run, so both are
    VALID here."""
    with ui("--engine", "sim-vllm", "--set", SLOW) as web:
        person = Page(browser, f"{web.url}/llm")
        choose(person.page, kind="compare", scenario="rag", a="this", b="sim-sglang", duration="20s", repeats="1")
        text = person.page.locator("#series-facts").filter(has_text="run 2 of 2: side ")
        text.wait_for(timeout=2 * PATIENCE_MS)  # both sides are run, and it tells where it is
        assert (
            person.page.locator("#series-title").inner_text()
            == "Comparison of vLLM-like simulator (A) and SGLang-like simulator (B): rag"
        )
        assert person.page.locator("#head").is_hidden() and person.page.locator("#series-new").is_hidden()
        person.page.locator("#series-state").filter(has_text="over").wait_for(timeout=2 * PATIENCE_MS)
        answer = person.page.request.get(f"{web.url}/llm/series/page")
        sentence = person.page.locator("#series-sentence").inner_text()
        person.page.locator("#series-page").wait_for()
        assert answer.ok and "comparison" in answer.text().lower()
        [record] = web.command.results.glob("*/comparison.json")
        assert sentence == f"It has ended. {json.loads(record.read_text())['verdict']['sentence']}"
        runs = person.page.locator("#series-runs li").all_inner_texts()
        assert [run.partition(",")[0] for run in runs] == ["side A: PASSED", "side B: PASSED"], "so VALID"
        choose(person.page, kind="compare", scenario="batch", a="sim", b="sim-sglang", duration="5m", repeats="5")
        person.page.locator("#series-stop").wait_for()
        web.command.wait_until(lambda: web.command.find("tokenswarm compare"), "the second comparison")
        assert person.problems == []
        web.command.signal(signal.SIGINT)
        assert web.command.process.wait(60) == Exit.PASSED
        assert left_behind(web.command.mark) == []
