"""A metric is one entry: it appears everywhere once registered, and nowhere once removed."""

from __future__ import annotations

import csv
import json
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families
from tokenswarm.analysis.compare.comparison_report import compare_runs, document
from tokenswarm.analysis.run_report import report
from tokenswarm.analysis.wording import number

from docs.grafana import BOARD, completed
from tests.analysis.make_run import DRAIN_S, START, WARMUP_S, make_run, manifest
from tokenswarm.base.errors import UserError
from tokenswarm.contract.metric import HIGHER, LOWER, Latency, Metric, Rate
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.objectives import bounds_of
from tokenswarm.contract.phases import Timeline
from tokenswarm.contract.tables import (
    DASHBOARD_HTML,
    JUNIT_XML,
    REQUEST_COLUMNS,
    REQUESTS_CSV,
    SUMMARY_JSON,
    SUMMARY_MD,
)
from tokenswarm.live.aggregate import RELATIVE_ERROR, Delta
from tokenswarm.live.live_stats import LiveStats
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.ui.tab import LlmTab

SECONDS = 60.0
NUMBERS = {"int": int, "ms": float, "unix_s": float, "float": float, "bool": lambda cell: cell == "true"}


def _streaming_ms(row: Any) -> float | None:
    first, last = row["ttft_ms"], row["last_token_ms"]
    return None if first is None or last is None else last - first


STREAMING = Latency(
    name="streaming",
    title="First chunk to last",
    meaning="how long an answer streams",
    formula="last token − TTFT",
    source="the client's clock",
    columns=("ttft_ms", "last_token_ms"),
    of_row=_streaming_ms,
)
THINKING = Rate(
    name="thinking_share",
    title="Share of thinking",
    unit="share",
    better=LOWER,
    ratio=False,
    meaning="of the output tokens",
    formula="reasoning tokens / output tokens",
    source="the engine's `usage`",
    columns=("reasoning_tokens",),
    sums={"thinking_tokens": lambda row: row["reasoning_tokens"]},
    of_sums=lambda sums: sums["thinking_tokens"] / sums["completion_tokens"] if sums["completion_tokens"] else None,
)
ANSWERED = Rate(
    name="tokens_per_answer",
    title="Tokens per answer",
    unit="tokens",
    better=HIGHER,
    meaning="of every request sent",
    formula="output tokens / successes",
    source="the engine's `usage`",
    columns=("completion_tokens",),
    of_sums=lambda sums: sums["completion_tokens"] / sums["ok"] if sums["ok"] else None,
)


def reasoning_run(folder: Path, slo: dict[str, float], seed: int = 1) -> Path:
    scenario = manifest("reasoning")["scenario"] | {"values": {"slo": slo}}
    engine = manifest()["engine"] | {"version": str(seed)}
    return make_run(
        folder, "reasoning", seconds=SECONDS, seed=seed, scenario=scenario, run_id=folder.name, engine=engine
    )


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of requests.csv as the load generator had them."""
    kinds = {column.name: NUMBERS.get(column.kind, str) for column in REQUEST_COLUMNS}
    with (folder / REQUESTS_CSV).open(newline="", encoding="utf-8") as file:
        return [
            {name: kinds[name](cell) if cell else None for name, cell in row.items()} for row in csv.DictReader(file)
        ]


class _Hook(list):
    """One of Locust's events."""

    def add_listener(self, listener: Any) -> None:
        self.append(listener)


def served(folder: Path, slo: dict[str, float]) -> Any:
    """Locust's web UI with the tab, at the end of the run in this folder: a Flask client."""
    timeline = Timeline(START - WARMUP_S)
    timeline.set_window(START, SECONDS, DRAIN_S)
    bounds = bounds_of(slo)
    live = LiveStats(timeline, bounded=lambda _: bool(bounds), open_loop=False)
    part = Delta()
    for row in rows_of(folder):
        part.add(row, bounds, timeline)
    live.merge(Delta.unpacked(json.loads(json.dumps(part.packed()))))
    scenario = load_scenario("reasoning", {f"slo.{key}": str(limit) for key, limit in slo.items()})
    app = Flask("locust")
    environment = SimpleNamespace(
        events=SimpleNamespace(test_start=_Hook(), quitting=_Hook()),
        user_classes=[],
        runner=SimpleNamespace(user_count=4),
        web_ui=SimpleNamespace(app=app, web_login=False, template_args={}, auth_required_if_enabled=lambda view: view),
    )
    LlmTab(
        environment,
        SimpleNamespace(
            environment=environment,
            plan=SimpleNamespace(folder=folder, run_id=folder.name, scenario=scenario, model="m", controlled=True),
            live=live,
            manifest=None,
            going_on=False,
            timeline=timeline,
            process=None,
            engine_samples=[],
            in_flight=Counter,
            director=None,
        ),
    )
    return app.test_client()


def samples(page: str) -> dict[str, float]:
    """Of a page for Prometheus what the measure phase has, by name."""
    return {
        sample.name + sample.labels.get("le", ""): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.labels.get("phase", "measure") == "measure"
    }


def tables_of(page: Path) -> list[list[str]]:
    """The table rows of a dashboard, as texts of their cells."""
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", page.read_text("utf-8"), re.DOTALL)
    return [
        [
            " ".join(unescape(re.sub(r"<[^>]+>", " ", cell)).split())
            for cell in re.findall(r"<t[dh][^>]*>(.*?)(?:</t[dh]>|(?=<t[dh]))", row, re.DOTALL)
        ]
        for row in rows
    ]


def two_classes(folder: Path, slo: dict[str, float]) -> list[list[str]]:
    """The dashboard's table of user classes, heads first, of a run in which every second request is of another."""
    reasoning_run(folder, slo)
    with (folder / REQUESTS_CSV).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with (folder / REQUESTS_CSV).open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(row | {"user_class": ("ReasoningUser", "Other")[i % 2]} for i, row in enumerate(rows))
    report(folder)
    lines = tables_of(folder / DASHBOARD_HTML)
    heads = next(place for place, line in enumerate(lines) if line[:2] == ["Class", "sent"])
    return lines[heads : heads + 3]


def charts_of(folder: Path) -> dict[str, dict[str, Any]]:
    """The charts of a dashboard by id."""
    page = (folder / DASHBOARD_HTML).read_text("utf-8")
    found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', page, re.DOTALL)
    return {chart["id"]: chart for chart in json.loads(found[1])}


def grafana_queries() -> list[str]:
    panels = completed(json.loads(BOARD.read_text("utf-8")))["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def junit_cases(folder: Path) -> dict[str, str]:
    cases = ElementTree.parse(folder / JUNIT_XML).getroot().iter("testcase")
    return {case.get("name"): "failed" if case.find("failure") is not None else "passed" for case in cases}


def everything(folder: Path) -> Any:
    """What there is of metrics, wherever they show."""
    reasoning_run(folder, {"ttft_p95_ms": 500})
    summary = report(folder)
    client = served(folder, {"ttft_p95_ms": 500})
    page = client.get("/metrics").get_data(as_text=True)
    return (
        list(METRICS),
        summary.latency.keys(),
        summary.rates.keys(),
        summary.drift.keys(),
        charts_of(folder).keys(),
        tables_of(folder / DASHBOARD_HTML),
        grafana_queries(),
        (folder / SUMMARY_MD).read_text(),
        client.get("/llm/live.json").get_json()["layout"],
        re.findall("^# .*", page, re.MULTILINE),
    )


@pytest.fixture(scope="module")
def at_first(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What there is before the first of these tests."""
    return everything(tmp_path_factory.mktemp("first") / "plain")


@pytest.fixture
def before(at_first: Any, tmp_path: Path) -> Iterator[None]:
    """What is there without the metric of a test is there afterwards, and no more."""
    yield
    assert everything(tmp_path / "plain") == at_first


@pytest.mark.usefixtures("before")
def test_a_latency_is_one_entry(tmp_path: Path) -> None:
    slo = {"streaming_p95_ms": 1.0, "streaming_p999_ms": 1e9, "ttft_p95_ms": 1e9}
    with pytest.raises(UserError, match="streaming_p95_ms"):
        load_scenario("rag", {"slo.streaming_p95_ms": "1"})
    with METRICS.registered(STREAMING):
        assert load_scenario("rag", {"slo.streaming_p999_ms": "900"}).slo["streaming_p999_ms"] == 900

        folder = reasoning_run(tmp_path / "a", slo)
        summary = report(folder)
        streamed = sorted(
            row["last_token_ms"] - row["ttft_ms"]
            for row in rows_of(folder)
            if row["phase"] == "measure" and row["status"] == "ok"
        )
        figure = summary.latency["streaming_ms"]["p95"]
        written = json.loads((folder / SUMMARY_JSON).read_text())["latency"]["streaming_ms"]["p95"]
        assert written["value"] == figure.value and written["unit"] == "ms"
        assert streamed[0] < figure.value < streamed[-1] and figure.n == len(streamed) and figure.ci95
        assert sum(value <= figure.value for value in streamed) == pytest.approx(0.95 * len(streamed), abs=1)

        rows = {row[0]: row[1:] for row in tables_of(folder / DASHBOARD_HTML)}
        assert [cell.split()[0] for cell in rows[f"First chunk to last n={len(streamed)}"]] == [
            number(summary.latency["streaming_ms"][q].value, "ms") for q in ("p50", "p95", "p99")
        ]
        assert junit_cases(folder)["slo.streaming_p95_ms"] == "failed"
        titles = {gate.key: gate.title for gate in summary.slo}
        assert titles["streaming_p999_ms"] == "First chunk to last p99.9"
        assert summary.goodput.bounds["streaming_ms"] == 1e9, "it bounds single requests too"

        assert summary.drift["streaming_p95"].title == "First chunk to last p95"
        assert "First chunk to last (ms)" in (folder / SUMMARY_MD).read_text()
        assert charts_of(folder)["streaming"]["layout"]["yaxis"]["title"]["text"] == "First chunk to last (ms)"
        classes = two_classes(tmp_path / "classes", slo)
        at = classes[0].index("First chunk to last p95 (ms)")
        assert all(float(row[at].split()[0].replace(",", "")) > 0 for row in classes[1:])
        assert any("tokenswarm_streaming_seconds_bucket" in query for query in grafana_queries())

        other = reasoning_run(tmp_path / "b", slo, seed=2)
        compared = document(compare_runs(a=[folder], b=[other]))["figures"]
        assert {"streaming_p50_ms", "streaming_p95_ms", "streaming_p99_ms"} <= {each["key"] for each in compared}
        assert next(each for each in compared if each["key"] == "streaming_p95_ms")["ratio"]["value"] > 0

        client = served(folder, slo)
        page = samples(client.get("/metrics").get_data(as_text=True))
        assert page["tokenswarm_streaming_seconds_count"] == len(streamed)
        assert page["tokenswarm_streaming_seconds_sum"] == pytest.approx(sum(streamed) / 1e3)

        tab = client.get("/llm/live.json").get_json()
        shown = {column["key"]: (column["title"], column["form"]) for column in tab["layout"]["columns"]}
        assert shown["streaming_p50_ms"] == ("First chunk to last p50", "number")
        assert tab["since_start"]["total"]["streaming_p95_ms"] == pytest.approx(figure.value, rel=2 * RELATIVE_ERROR)


@pytest.mark.usefixtures("before")
@pytest.mark.parametrize(
    ("metric", "slo_key", "title"),
    [(THINKING, "thinking_share", "Share of thinking"), (ANSWERED, "tokens_per_answer_min", "Tokens per answer")],
)
def test_a_rate_without_percentiles_is_one_entry(tmp_path: Path, metric: Rate, slo_key: str, title: str) -> None:
    slo = {slo_key: 0.001, "ttft_p95_ms": 1e9}
    with pytest.raises(UserError, match=slo_key):
        load_scenario("rag", {f"slo.{slo_key}": "0.001"})
    with METRICS.registered(metric):
        assert load_scenario("rag", {f"slo.{slo_key}": "0.001"}).slo[slo_key] == 0.001

        folder = reasoning_run(tmp_path / "a", slo)
        summary = report(folder)
        rows = [row for row in rows_of(folder) if row["phase"] == "measure"]
        output, thought = (sum(row[name] or 0 for row in rows) for name in ("completion_tokens", "reasoning_tokens"))
        exact = thought / output if metric is THINKING else output / sum(row["status"] == "ok" for row in rows)
        figure = summary.rates[metric.name]
        assert json.loads((folder / SUMMARY_JSON).read_text())["rates"][metric.name]["value"] == figure.value
        assert figure.value == pytest.approx(exact) and figure.unit == metric.unit
        low, high = figure.ci95
        assert 0 < low < exact < high < 2 * exact

        assert f"{title} {metric.meaning}" in [row[0] for row in tables_of(folder / DASHBOARD_HTML)]
        assert junit_cases(folder)[f"slo.{slo_key}"] == ("failed" if metric.better == LOWER else "passed")

        drift = summary.drift[metric.name]
        assert (drift.title, drift.unit) == (title, metric.unit) and drift.level == pytest.approx(exact, rel=0.5)
        assert f"- {title}: " in (folder / SUMMARY_MD).read_text()
        drawn = [value for value in charts_of(folder)[f"{metric.name}-time"]["data"][0]["y"] if value is not None]
        assert min(drawn) <= exact * (100 if metric.unit == "share" else 1) <= max(drawn)
        classes = two_classes(tmp_path / "classes", slo)
        at = next(place for place, head in enumerate(classes[0]) if head.startswith(title))
        assert [row[at].split()[0] for row in classes[1:]] != ["–", "–"]
        assert any(f"tokenswarm_{metric.name}{{" in query for query in grafana_queries())

        other = reasoning_run(tmp_path / "b", slo, seed=2)
        compared = {each["key"]: each for each in document(compare_runs(a=[folder], b=[other]))["figures"]}
        assert compared[metric.name]["better"] == metric.better
        assert ("ratio" in compared[metric.name]) == metric.ratio

        client = served(folder, slo)
        page = samples(client.get("/metrics").get_data(as_text=True))
        assert page[f"tokenswarm_{metric.name}"] == pytest.approx(exact)

        tab = client.get("/llm/live.json").get_json()
        assert title in [column["title"] for column in tab["layout"]["columns"]]
        assert tab["since_start"]["total"][metric.name] == pytest.approx(exact)
        assert tab["since_start"]["classes"]["ReasoningUser"][metric.name] == pytest.approx(exact)


@pytest.mark.parametrize(
    "metric",
    [
        Latency(name="ttft", title="", meaning="", formula="", of_row=_streaming_ms),
        Latency(name="First Chunk", title="", meaning="", formula="", of_row=_streaming_ms),
        Latency(name="streaming", title="", meaning="", formula="", of_row=_streaming_ms, percentiles=(50, 90)),
        Latency(name="streaming", title="", meaning="", formula="", of_row=_streaming_ms, columns=("last_chunk_ms",)),
        Rate(name="rate", title="", unit="", better=LOWER, meaning="", formula="", sums={"ok": lambda row: 1}),
        Rate(name="seconds", title="", unit="", better=LOWER, meaning="", formula=""),
    ],
)
def test_what_would_shadow_another_is_refused(metric: Metric) -> None:
    known = list(METRICS)
    with pytest.raises(ValueError):
        METRICS.register(metric)
    assert list(METRICS) == known
