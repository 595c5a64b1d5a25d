"""The phases of a run on the wall clock."""

from __future__ import annotations

import math

from tokenswarm.contract.manifest import PhaseRecord
from tokenswarm.contract.phases import Timeline
from tokenswarm.contract.tables import PHASES


def test_until_the_window_is_known_it_is_warm_up() -> None:
    timeline = Timeline(100.0)
    assert [timeline.phase_at(now) for now in (100.0, 1e12)] == ["warmup", "warmup"]
    assert timeline.phases(105.0) == [PhaseRecord("warmup", 100.0, 105.0)]


def test_the_window_is_half_open() -> None:
    timeline = Timeline(100.0)
    timeline.set_window(105.0, 30.0, 10.0)
    moments = [104.999, 105.0, 134.999, 135.0, 200.0]
    assert [timeline.phase_at(now) for now in moments] == ["warmup", "measure", "measure", "drain", "drain"]
    assert timeline.stop_by == 145.0


def test_the_phases_of_a_whole_run_join_without_a_gap() -> None:
    timeline = Timeline(100.0)
    timeline.set_window(105.0, 30.0, 10.0)
    phases = timeline.phases(140.0)
    assert [phase.name for phase in phases] == list(PHASES)
    assert [(phase.start, phase.end) for phase in phases] == [(100.0, 105.0), (105.0, 135.0), (135.0, 140.0)]


def test_a_run_without_warm_up_has_no_warm_up() -> None:
    timeline = Timeline(100.0)
    timeline.set_window(100.0, 30.0, 10.0)
    assert [phase.name for phase in timeline.phases(110.0)] == ["measure"]


def test_a_run_stopped_in_the_measured_phase_measured_until_then() -> None:
    timeline = Timeline(100.0)
    timeline.set_window(105.0, 30.0, 10.0)
    timeline.end_now(120.0)
    assert timeline.phase_at(120.0) == "drain"
    assert timeline.phases(120.5)[1] == PhaseRecord("measure", 105.0, 120.0)
    assert timeline.stop_by == 120.0


def test_a_run_stopped_in_the_warm_up_sends_no_more() -> None:
    timeline = Timeline(100.0)
    timeline.end_now(103.0)
    assert [timeline.phase_at(now) for now in (102.9, 103.0)] == ["warmup", "drain"]
    assert timeline.phases(104.0) == [PhaseRecord("warmup", 100.0, 103.0), PhaseRecord("drain", 103.0, 104.0)]


def test_a_run_stopped_in_the_drain_keeps_its_window() -> None:
    timeline = Timeline(100.0)
    timeline.set_window(105.0, 30.0, 10.0)
    timeline.end_now(138.0)
    assert (timeline.measure_end, timeline.stop_by) == (135.0, 138.0)


def test_a_run_stopped_in_the_warm_up_measured_nothing() -> None:
    timeline = Timeline(100.0)
    timeline.end_now(103.0)
    assert [phase.name for phase in timeline.phases(103.0)] == ["warmup"]
    assert timeline.phase_at(104.0) != "measure"


def test_a_window_without_end_is_ended_by_somebody() -> None:
    timeline = Timeline(100.0)
    timeline.set_window(105.0, math.inf, 10.0)
    assert timeline.phase_at(1e9) == "measure"
    timeline.end_now(200.0)
    assert timeline.phases(201.0)[1].end == 200.0
