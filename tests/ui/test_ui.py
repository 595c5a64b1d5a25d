"""A run in the browser: started from the form, watched, stopped, its dashboard downloaded."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tokenswarm.base.errors import Exit
from tokenswarm.live.aggregate import RELATIVE_ERROR

pytestmark = pytest.mark.ui
PATIENCE_MS = 180_000


class Page:
    """A browser page on the UI, with everything that went wrong on it."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.page = browser.new_page(viewport={"width": 1400, "height": 1000}, **options)
        self.page.set_default_timeout(PATIENCE_MS)
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda line: self.problems.append(line.text) if line.type == "error" else None)
        self.page.goto(url)

    def start(self, **fields: str) -> None:
        """Fill in the form and start."""
        self.page.get_by_text("Custom parameters").click()
        for name, value in fields.items():
            field = self.page.locator(f'[name="{name}"]')
            if name == "scenario":
                field.select_option(value)
            else:
                field.fill(value)
        self.page.get_by_role("button", name="Start", exact=True).click()

    def figures(self) -> Any:
        """The frame with our figures, in its tab, to which the page goes by itself when a run begins."""
        handle = self.page.wait_for_selector("iframe[title='LLM figures']", state="visible")
        return handle.content_frame()


def texts(frame: Any, selector: str) -> list[str]:
    return [one.inner_text() for one in frame.query_selector_all(selector)]


def drawn(frame: Any) -> int:
    """Points of the first chart's last line that are there to see."""
    return frame.evaluate("""() => { const box = document.getElementById('chart-ttft');
        return box && box.data ? box.data[1].y.filter((y) => y !== null).length : 0; }""")


def wait_for_points(frame: Any, more_than: int) -> None:
    frame.wait_for_function(
        """(least) => { const box = document.getElementById('chart-ttft');
        return box && box.data && box.data[1].y.filter((y) => y !== null).length > least; }""",
        arg=more_than,
        timeout=PATIENCE_MS,
    )


def test_a_run_from_the_form_to_the_dashboard(ui: Callable[..., Any], browser: Any, tmp_path: Path) -> None:
    with ui("--users", "6", "--spawn-rate", "6", "--workers", "2") as web:
        person = Page(browser, web.url, accept_downloads=True)
        person.start(scenario="chat", warmup="1")
        frame = person.figures()
        wait_for_points(frame, 2)
        seen = drawn(frame)
        wait_for_points(frame, seen + 1)  # the charts move
        assert frame.query_selector("#title").inner_text() == "Multi-turn chat"
        assert frame.is_visible("#simulated")
        assert "MultiTurnChatter" in texts(frame, "#classes tbody th")
        tiles = dict(zip(texts(frame, ".tile .name"), texts(frame, ".tile .big"), strict=True))
        assert tiles["TTFT p95"] != "–" and tiles["KV cache in use"] != "–"
        assert frame.query_selector("#trust").get_attribute("class").split()[-1] in ("green", "amber", "red")
        for box in frame.query_selector_all("#charts .chart"):
            assert box.query_selector("svg.main-svg"), "every chart is drawn"

        person.page.evaluate("localStorage.theme = 'dark'")
        frame.wait_for_function("document.documentElement.dataset.theme === 'dark'")
        person.page.set_viewport_size({"width": 390, "height": 844})
        frame.wait_for_function("document.documentElement.scrollWidth <= window.innerWidth && innerWidth < 400")
        person.page.set_viewport_size({"width": 1400, "height": 1000})

        person.page.get_by_role("button", name="Stop").click()
        frame.wait_for_selector("#report:visible")
        later = Page(browser, f"{web.url}/llm").page  # opened when all is over
        later.locator("#classes tbody th", has_text="MultiTurnChatter").wait_for()
        assert later.get_attribute("#since", "aria-pressed") == "true" and later.locator("#trust").is_hidden()
        with person.page.expect_download() as download:
            person.page.evaluate("""() => { const link = document.createElement('a');
                link.href = './llm/report?download'; document.body.append(link); link.click(); }""")
        saved = tmp_path / "dashboard.html"
        download.value.save_as(saved)
        assert "SIMULATED" in saved.read_text()
        assert person.problems == []

        (folder,) = web.folders()
        agree(json.loads(web.get("/llm/live.json")), json.loads((folder / "summary.json").read_text()))
        rows = (folder / "requests.csv").read_text().splitlines()
        assert web.get("/llm/requests.csv").splitlines() == rows
        assert {line.split(",")[1] for line in rows[1:]} == {"0", "1"}, "both workers sent rows"
        web.command.signal(signal.SIGINT)
        finished = web.command.process.wait(60)
        assert finished == Exit.PASSED


def agree(live: dict[str, Any], summary: dict[str, Any]) -> None:
    """Live figures of a run that was stopped are those of its summary, within the sketch's error."""
    total = live["since_start"]["total"]
    measured = summary["counts"]["measured"]
    assert {name: total[name] for name in ("ok", "failed", "cancelled")} == {
        name: measured[name] for name in ("ok", "failed", "cancelled")
    }
    low, high = 1 - 2 * RELATIVE_ERROR, 1 + 2 * RELATIVE_ERROR
    p50, live_p50 = summary["latency"]["ttft_ms"]["p50"]["value"], total["ttft_p50_ms"]
    if p50 is not None and live_p50 is not None:  # a busy machine has either withheld
        assert p50 * low - 0.5 <= live_p50 <= p50 * high + 0.5
    for name in ("output_tok_s", "total_tok_s", "requests_s"):
        assert total[name] == pytest.approx(summary["rates"][name]["value"], rel=0.02), name
    assert total["goodput_rps"] == pytest.approx(summary["goodput"]["goodput_rps"]["value"], rel=0.02)


def test_runs_one_after_another_are_runs_of_their_own(ui: Callable[..., Any], browser: Any) -> None:
    with ui("--users", "4", "--spawn-rate", "4") as web:
        person = Page(browser, web.url)
        person.start(scenario="batch", warmup="1")
        frame = person.figures()
        frame.wait_for_function("document.querySelectorAll('#classes tbody tr').length > 1", timeout=PATIENCE_MS)
        person.page.get_by_role("button", name="Stop").click()
        frame.wait_for_selector("#report:visible")
        person.page.get_by_role("button", name="New").click()
        person.start(scenario="rag", rate="8", warmup="1")
        frame = person.figures()
        frame.wait_for_function(
            "document.getElementById('about').textContent.includes('open loop')", timeout=PATIENCE_MS
        )
        wait_for_points(frame, 1)
        web_edit = {"user_count": "50", "spawn_rate": "50", "host": ""}
        assert person.page.request.post(f"{web.url}/swarm", form=web_edit).json()["success"]
        person.page.get_by_role("button", name="Stop").click()
        frame.wait_for_selector("#report:visible")
        web.get("/llm/report")
        first, second = web.folders()
        kinds = {}
        for folder in (first, second):
            manifest = json.loads((folder / "run.json").read_text())
            rows = (folder / "requests.csv").read_text().splitlines()[1:]
            assert {row.split(",")[0] for row in rows} == {manifest["run_id"]}
            assert manifest["counts"]["sent"] == manifest["counts"]["rows"] == len(rows) > 0
            assert manifest["telemetry"]["scrapes"] > 0 and (folder / "engine_metrics.csv").exists()
            kinds[manifest["scenario"]["name"]] = manifest["load"]["mode"]
        assert any("was set to 50 by hand" in note for note in manifest["notes"]), "of the second run"
        assert kinds == {"batch": "closed", "rag": "open"}
        assert person.problems == []


def test_a_form_that_asks_for_nonsense_is_refused_in_words(ui: Callable[..., Any], browser: Any) -> None:
    with ui() as web:
        person = Page(browser, web.url)
        person.start(rate="-3")
        person.page.get_by_text("load.rate is -3, but should be above 0").wait_for()
        refused = person.page.request.post(
            f"{web.url}/swarm", form={"user_count": "1", "spawn_rate": "1", "host": "http://127.0.0.1:1"}
        )
        assert "start it with HOST=" in refused.json()["message"]
        foreign = person.page.request.post(
            f"{web.url}/swarm",
            form={"user_count": "1", "spawn_rate": "1"},
            headers={"Origin": "http://elsewhere.example"},
        )
        assert foreign.status == 403
        seen = person.page.request.get(f"{web.url}/llm/live.json", headers={"Origin": "http://elsewhere.example"})
        assert "access-control-allow-origin" not in seen.headers
        assert web.folders() == []


def test_a_run_that_is_stopped_at_once_leaves_the_next_one_in_peace(ui: Callable[..., Any], browser: Any) -> None:
    form = {"user_count": "4", "spawn_rate": "4", "scenario": "batch", "warmup": "1", "host": ""}
    with ui() as web:
        person = Page(browser, web.url)
        post = person.page.request.post

        def live() -> dict[str, Any]:
            return json.loads(web.get("/llm/live.json"))

        for _ in range(2):
            assert post(f"{web.url}/swarm", form=form).json()["success"]
            post(f"{web.url}/stop")
            web.command.wait_until(lambda: live()["state"] != "running", "the run to end")
        assert post(f"{web.url}/swarm", form=form).json()["success"]
        web.command.wait_until(lambda: live()["state"] == "running" and live()["last"]["total"]["ok"], "answers")
        post(f"{web.url}/stop")
        web.command.wait_until(lambda: live()["state"] == "stopped", "the end")
        web.get("/llm/report")
        manifests = {folder.name: json.loads((folder / "run.json").read_text()) for folder in web.folders()}
        # Names of runs that began in the same second are in no order; the command line names them as they begin.
        last = re.findall(r"^run (\S+) \.\.\.", web.command._texts()[0], re.MULTILINE)[-1]
        assert manifests[last]["counts"]["workers_lost"] == 0
        assert manifests[last]["counts"]["sent"] == manifests[last]["counts"]["rows"] > 0
        assert {manifest["status"] for manifest in manifests.values()} <= {"complete", "interrupted"}


def test_elsewhere_than_on_this_machine_it_asks_for_the_password(ui: Callable[..., Any], browser: Any) -> None:
    with ui(host="127.0.0.2", UI_PASSWORD="open-sesame-42") as web:
        person = Page(browser, web.url)
        person.page.locator('[name="username"]').fill("tokenswarm")
        person.page.locator('[name="password"]').fill("wrong")
        person.page.get_by_role("button", name="Login").click()
        person.page.get_by_text("This user or password is not known.").wait_for()
        for path in ("/llm", "/llm/live.json", "/llm/report", "/llm/requests.csv", "/llm/history.json"):
            assert person.page.request.get(web.url + path, max_redirects=0).status == 302, path
        person.page.locator('[name="username"]').fill("tokenswarm")
        person.page.locator('[name="password"]').fill("open-sesame-42")
        person.page.get_by_role("button", name="Login").click()
        person.page.get_by_text("Start new load test").wait_for()
        assert person.page.request.get(web.url + "/llm/live.json").status == 200
        told = "".join(path.read_text() for path in web.command.results.rglob("*") if path.is_file())
        assert "open-sesame-42" not in told + "".join(web.command._texts())


def test_without_a_password_it_does_not_listen_elsewhere(tmp_path: Path) -> None:
    from tests.e2e.support import CLI, started

    with started([*CLI, "ui", "--web-host", "127.0.0.2"], tmp_path / "results") as run:
        finished = run.finish()
    assert finished.code == Exit.USAGE
    assert "UI_PASSWORD" in finished.err and "Traceback" not in finished.err
