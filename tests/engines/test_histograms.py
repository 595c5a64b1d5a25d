"""Two readings of an engine's latency histograms, and what was observed in between."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.engines.helpers import fake_description, recorded
from tests.waiting import until
from tokenswarm.contract.manifest import HistogramRecord, ServerLatencyRecord
from tokenswarm.engines.engine_protocol import Engine
from tokenswarm.engines.spec.engine_spec import HistogramSource, load_description
from tokenswarm.engines.watch.histograms import Histogram, HistogramReading, between, growth, read
from tokenswarm.engines.watch.telemetry import Telemetry

SOURCES = {"ttft": HistogramSource(names=["x:ttft"])}


def page(counts: dict[str, float], total: float = 1.0, labels: str = "", started: float | None = None) -> str:
    """A /metrics text with one histogram; `counts` are cumulative, by upper end."""
    lines = [f'x:ttft_bucket{{{labels}le="{bound}"}} {count}' for bound, count in counts.items()]
    lines += [f"x:ttft_sum{{{labels}}} {total}"]
    return "\n".join([*lines, *([f"process_start_time_seconds {started}"] if started else []), ""])


@pytest.mark.parametrize(("engine", "count"), [("vllm", 4), ("sglang", 4)])
def test_real_engines_histograms_are_read(engine: str, count: int) -> None:
    found = read(recorded(f"{engine}_metrics.txt"), load_description(engine).histograms, 1.0).histograms
    assert found["ttft"].count == count
    assert list(found["ttft"].bounds_s) == sorted(found["ttft"].bounds_s)
    assert 0 < found["ttft"].sum_s < 60


def test_buckets_are_told_apart_and_series_added_up() -> None:
    text = page({"0.1": 2, "0.5": 3, "+Inf": 4}, 5.0, 'engine="0",') + page(
        {"0.1": 0, "0.5": 7, "+Inf": 7}, 1.5, 'engine="1",'
    )
    histogram = read(text, SOURCES, 1.0).histograms["ttft"]
    assert histogram == Histogram((0.1, 0.5), (2, 8, 1), 6.5)
    assert histogram.record() == HistogramRecord([0.1, 0.5], [2, 8, 1], 6.5, 11)


@pytest.mark.parametrize("counts", [{}, {"+Inf": 3}, {"0.1": 1}, {"0.1": 5, "+Inf": 3}, {"many": 1, "+Inf": 3}])
def test_what_is_no_histogram_is_left_out(counts: dict[str, float]) -> None:
    assert read(page(counts), SOURCES, 1.0).histograms == {}


def test_growth_is_what_came_in_between() -> None:
    before, after = Histogram((0.1,), (2, 1), 1.0), Histogram((0.1,), (5, 1), 1.25)
    assert growth(before, after) == Histogram((0.1,), (3, 0), 0.25)
    assert growth(None, after) == after


@pytest.mark.parametrize(
    "after", [Histogram((0.1,), (1, 9), 5.0), Histogram((0.1,), (2, 1), 0.5), Histogram((0.2,), (5, 5), 5.0)]
)
def test_a_counter_that_began_anew_gives_no_growth(after: Histogram) -> None:
    assert growth(Histogram((0.1,), (2, 1), 1.0), after) is None


def test_what_was_observed_between_two_readings_is_their_difference() -> None:
    start = read(page({"0.1": 1, "+Inf": 1}, 0.05, started=7), SOURCES, 10.0)
    end = read(page({"0.1": 4, "+Inf": 5}, 1.05, started=7), SOURCES, 40.0)
    facts = between(start, end)
    assert (facts.start_at, facts.end_at, facts.why) == (10.0, 40.0, None)
    assert facts.histograms["ttft"] == HistogramRecord([0.1], [3, 1], 1.0, 4)


def test_a_restarted_engine_gives_no_number_even_where_its_counters_are_larger() -> None:
    start = read(page({"0.1": 1, "+Inf": 1}, started=7), SOURCES, 10.0)
    end = read(page({"0.1": 4, "+Inf": 5}, 9.0, started=30), SOURCES, 40.0)
    assert between(start, end).histograms == {}
    assert "restarted" in between(start, end).why


def test_a_missing_reading_and_a_missing_histogram_are_told() -> None:
    reading = HistogramReading(1.0, {})
    assert "at the start" in between(None, reading).why
    assert "at the end" in between(reading, None).why
    assert "no histogram" in between(reading, reading).why


class Scripted(Engine):
    """An engine whose /metrics grow with each reading, and that is deaf for the first few."""

    def __init__(self, deaf: int = 0) -> None:
        super().__init__("http://127.0.0.1:1", fake_description().model_copy(update={"histograms": SOURCES}))
        self.read_at: list[float] = []
        self._deaf = deaf

    def metrics_text(self, timeout_s: float = 2.0) -> str | None:
        self.read_at.append(time.time())
        count = len(self.read_at)
        return None if count <= self._deaf else page({"0.1": count, "+Inf": count}, count / 10) + "fake:running 1\n"


@pytest.fixture
def telemetry(tmp_path: Path) -> Iterator[Telemetry]:
    running = Telemetry(Scripted(), tmp_path, interval_s=3600)
    running.start()
    yield running
    running.stop()


def wait_for_reading(telemetry: Telemetry, side: str) -> None:
    until(lambda: side in telemetry._readings)


def test_marks_wake_the_telemetry_and_are_read_not_before_their_moment(telemetry: Telemetry) -> None:
    start = time.time() + 0.2
    telemetry.mark("start", start)
    wait_for_reading(telemetry, "start")
    telemetry.mark("end", time.time())
    wait_for_reading(telemetry, "end")
    facts = telemetry.server_latency()
    assert start <= facts.start_at < facts.end_at
    assert facts.histograms["ttft"].count == 1
    assert msgspec.json.decode(msgspec.json.encode(facts), type=ServerLatencyRecord) == facts


def test_a_mark_is_kept_where_the_run_ends_at_once(tmp_path: Path) -> None:
    running = Telemetry(Scripted(), tmp_path, interval_s=3600)
    running.start()
    running.mark("start", time.time())
    running.mark("end", time.time())
    running.mark("end", time.time() + 3600)  # the first one counts
    running.stop()
    assert running.server_latency().why is None


def test_a_reading_that_fails_is_tried_again_and_counted(tmp_path: Path) -> None:
    running = Telemetry(Scripted(deaf=2), tmp_path, interval_s=3600)
    running.start()
    running.mark("start", time.time())
    wait_for_reading(running, "start")
    running.stop()
    assert running.failed == 2
    assert "at the end" in running.server_latency().why


def test_without_histograms_or_marks_there_is_nothing_to_tell(tmp_path: Path) -> None:
    plain = Telemetry(Engine("http://127.0.0.1:1", fake_description()), tmp_path)
    plain.mark("start", time.time())
    assert plain.server_latency() is None
    assert Telemetry(Scripted(), tmp_path).server_latency() is None
