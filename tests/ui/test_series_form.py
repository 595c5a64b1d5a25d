"""Searches and comparisons from the tab: a command takes nothing but what is offered, and one goes on at a time."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.waiting import until
from tokenswarm.base.environment import SESSION_VARIABLE
from tokenswarm.base.errors import UserError
from tokenswarm.cli import _parser
from tokenswarm.contract.manifest import EngineRecord
from tokenswarm.contract.search_progress import new_progress, write_progress
from tokenswarm.generator.ui_session import UiSession
from tokenswarm.ui.series_child import SeriesChild
from tokenswarm.ui.series_form import command_of, offered
from tokenswarm.ui.series_view import SeriesView

ENGINE = EngineRecord(name="sim", title="Simulator", base_url="http://127.0.0.1:9000")
CAPACITY = {"kind": "capacity", "scenario": "chat", "budget": "15m"}
COMPARE = {
    "kind": "compare",
    "scenario": "rag",
    "budget": "none",
    "a": "this",
    "b": "sim-sglang",
    "duration": "20s",
    "repeats": "2",
}


def session(**more: object) -> UiSession:
    return UiSession(ENGINE, "sim-8b", "rag", ["rag", "chat"], "results", engines=["sim", "sim-sglang"], **more)


@pytest.mark.parametrize("form", [CAPACITY, COMPARE, {**COMPARE, "a": "sim", "b": "this", "duration": "scenario"}])
def test_the_command_is_one_that_the_command_line_takes(form: dict[str, str]) -> None:
    by_hand = {"slo.ttft_p95_ms": "300", "load.users": "9", "prompts.chars_per_token": "4.1"}
    options = _parser().parse_args(command_of(form, session(corpus="/texts", overrides=by_hand))[3:])
    assert (options.scenario, options.settings) == (form["scenario"], "slo.ttft_p95_ms=300 load.users=9")
    assert options.corpus == "/texts" and options.workers == 1


def test_a_search_loads_the_engine_of_the_page() -> None:
    options = _parser().parse_args(command_of(CAPACITY, session(workers=2))[3:])
    assert (options.engine, options.host, options.model) == ("sim", "http://127.0.0.1:9000", "sim-8b")
    assert (options.budget, options.workers) == (900.0, 2)


def test_settings_of_the_engine_are_for_one_that_is_started_and_the_form_says_how_long() -> None:
    by_hand = {"engine.prefix_cache": "false", "load.duration_s": "60"}
    capacity = _parser().parse_args(command_of(CAPACITY, session(overrides=by_hand))[3:])
    compare = _parser().parse_args(command_of(COMPARE, session(overrides=by_hand))[3:])
    assert (capacity.settings, compare.settings) == ("load.duration_s=60", "engine.prefix_cache=false")
    assert compare.duration == "20s"


def test_a_comparison_starts_only_the_other_engine() -> None:
    options = _parser().parse_args(command_of(COMPARE, session(asked_model="m/7b"))[3:])
    assert (options.engines, options.a_host, options.b_host) == ("sim,sim-sglang", "http://127.0.0.1:9000", None)
    assert (options.a_model, options.b_model, options.repeats) == ("sim-8b", "m/7b", 2)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({**CAPACITY, "scenario": "/etc/passwd"}, "scenario should be one of rag, chat"),
        ({**CAPACITY, "scenario": "rag --host http://elsewhere"}, "scenario should be one of"),
        ({**CAPACITY, "kind": "engine"}, "kind should be one of capacity, compare"),
        ({**CAPACITY, "budget": "-1"}, "budget should be one of"),
        ({"kind": "capacity", "budget": "5m"}, "scenario should be one of"),
        ({**COMPARE, "b": "./mine.toml"}, "b should be one of this, sim, sim-sglang"),
        ({**COMPARE, "b": "this"}, "both sides are the same"),
        ({**COMPARE, "repeats": "1000"}, "repeats should be one of"),
        ({**COMPARE, "duration": "9h"}, "duration should be one of"),
    ],
)
def test_what_is_not_offered_is_refused(form: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        command_of(form, session())


@pytest.mark.parametrize(
    ("name", "engines", "other"),
    [
        ("sim", ["llamacpp", "sim", "sim-sglang", "sglang"], "sim-sglang"),
        ("vllm", ["vllm", "sglang"], "sglang"),
        ("external", [], None),
    ],
)
def test_the_other_side_is_one_of_the_same_kind_unless_one_chooses(
    name: str, engines: list[str], other: str | None
) -> None:
    of = UiSession(EngineRecord(name=name), "m", "rag", ["rag"], "results", engines=engines)
    assert offered(of)["other"] == other


def test_everything_that_is_offered_is_taken() -> None:
    choices = offered(session())
    for budget in choices["budget"]:
        for scenario in choices["scenario"]:
            command_of({**CAPACITY, "budget": budget, "scenario": scenario}, session())
    for duration in choices["duration"]:
        for repeats in choices["repeats"]:
            _parser().parse_args(command_of({**COMPARE, "duration": duration, "repeats": repeats}, session())[3:])


@pytest.mark.parametrize("value", ["two words", "a b=c"])
def test_a_setting_that_would_become_two_is_not_handed_on(value: str) -> None:
    with pytest.raises(UserError, match="cannot be handed on"):
        command_of(CAPACITY, session(overrides={"prompts.salt": value}))


# ---- the child

LONG = """import signal, sys, time
def end(*_):
    print('good order', flush=True)
    sys.exit(130)
signal.signal(signal.SIGTERM, end)
print('begun', flush=True)
time.sleep(600)
"""


def python(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_a_child_is_stopped_in_good_order_and_its_words_stay(tmp_path: Path) -> None:
    child = SeriesChild(tmp_path, lambda: None)
    assert child.snapshot() == {"state": "none"} and not child.stop()
    child.start(python(LONG), CAPACITY)
    until(lambda: child.snapshot()["lines"] == ["begun"])
    assert child.running
    with pytest.raises(UserError, match="in progress"):
        child.start(python(LONG), CAPACITY)
    assert child.stop()
    until(lambda: not child.running and "good order" in child.snapshot()["lines"])
    shown = child.snapshot()
    assert (shown["state"], shown["code"], shown["choices"]) == ("ended", 130, CAPACITY)
    assert "was stopped" in shown["sentence"] and not shown["page"]
    until(lambda: child.snapshot()["at"] == child.snapshot()["at"])  # what it took stands still


def test_the_end_of_the_ui_ends_a_child_that_heeds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenswarm.ui.series_child._END_S", 0.2)
    monkeypatch.setattr("tokenswarm.ui.series_child._HARD_END_S", 0.2)
    deaf = (
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\ntime.sleep(600)"
    )
    child = SeriesChild(tmp_path, lambda: None)
    child.start(python(deaf), CAPACITY)
    until(lambda: child.snapshot()["lines"] == ["deaf"])
    child.end()
    until(lambda: not child.running)


def test_progress_of_this_child_alone_is_shown_and_its_page_when_it_has_ended(tmp_path: Path) -> None:
    folder, other = tmp_path / "capacity-1", tmp_path / "capacity-0"
    for each in (folder, other):
        each.mkdir()
    page = folder / "capacity.html"
    page.write_text("<p>42 users</p>", "utf-8")
    child = SeriesChild(tmp_path, lambda: None)
    child.start(python(f"print('report: {page}', flush=True); import time; time.sleep(600)"), CAPACITY)
    until(lambda: child.snapshot()["lines"])
    assert child.page is None, "as long as it goes on"
    progress = new_progress("capacity", "sim", "chat")
    write_progress(other, progress)
    assert child.snapshot()["progress"] is None, "of another process"
    progress.pid, progress.sentence = child._process.pid, "bracket: 8 users"
    write_progress(folder, progress)
    assert child.snapshot()["progress"]["sentence"] == "bracket: 8 users"
    child.stop()
    until(lambda: not child.running)
    assert child.page == page


def test_secrets_in_what_it_prints_are_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "sk-very-secret-0123456789")
    child = SeriesChild(tmp_path, lambda: None)
    child.start(python("import os; print('key', os.environ['API_KEY'])"), CAPACITY)
    until(lambda: not child.running and child.snapshot()["lines"])
    assert "sk-very-secret" not in str(child.snapshot())


def test_it_knows_nothing_of_the_session_of_the_ui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SESSION_VARIABLE, "{}")
    child = SeriesChild(tmp_path, lambda: None)
    child.start(python(f"import os; print({SESSION_VARIABLE!r} in os.environ)"), CAPACITY)
    until(lambda: child.snapshot()["lines"])
    assert child.snapshot()["lines"] == ["False"]


# ---- the routes


def client(view: SeriesView) -> FlaskClient:
    app = Flask(__name__)
    view.add_routes(app, lambda each: each)
    return app.test_client()


def test_a_run_and_a_series_exclude_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    loading = True
    view = SeriesView(session(), lambda: loading)
    page = client(view)
    assert "a run is in progress" in page.post("/llm/series/start", data=CAPACITY).json["message"]
    assert page.get("/llm/series.json").json["why_not"] == "a run is in progress: stop it first"
    loading = False
    monkeypatch.setattr("tokenswarm.ui.series_view.command_of", lambda form, session: python(LONG))
    assert view.why_no_run() is None
    assert page.post("/llm/series/start", data=CAPACITY).json["success"]
    assert "in progress" in view.why_no_run()
    assert "stop it first" in page.post("/llm/series/start", data=CAPACITY).json["message"]
    until(lambda: page.get("/llm/series.json").json["lines"])
    assert page.post("/llm/series/stop").json["success"]
    until(lambda: not view.child.running)
    assert view.why_no_run() is None and page.get("/llm/series/page").status_code == 404


def test_nothing_is_started_by_a_link() -> None:
    page = client(SeriesView(session(), lambda: False))
    assert page.get("/llm/series/start").status_code == page.get("/llm/series/stop").status_code == 405


def test_under_plain_locust_nothing_is_offered() -> None:
    page = client(SeriesView(None, lambda: False))
    assert page.get("/llm/series.json").json == {"state": "none", "offered": None, "why_not": None}
    assert not page.post("/llm/series/start", data=CAPACITY).json["success"]
