"""Load levels: what a plan or a list of wishes comes to."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from tokenswarm.contract.levels import BEGAN, LevelRecord, levels_of_users, number_at, planned_levels
from tokenswarm.contract.manifest import LoadRecord, Manifest, manifest_json, manifest_of
from tokenswarm.contract.phases import Timeline
from tokenswarm.scenario.load_settings import Load


def spans(levels: list[LevelRecord]) -> list[tuple[int, float, float | None]]:
    return [(level.number, level.start, level.end) for level in levels]


def test_one_load_is_one_level() -> None:
    assert planned_levels(Load(rate=4.0), 100.0, 130.0) == [LevelRecord(1, 100.0, 130.0, "start", rate=4.0)]
    assert planned_levels(Load(users=8), 100.0, 130.0) == [LevelRecord(1, 100.0, 130.0, "start", users=8)]


def test_steps_fill_the_planned_time_and_the_last_goes_on() -> None:
    levels = planned_levels(Load(rate_steps=(2.0, 4.0, 8.0), duration_s=30.0), 100.0, 135.0)
    assert spans(levels) == [(1, 100.0, 110.0), (2, 110.0, 120.0), (3, 120.0, 135.0)]
    assert [level.rate for level in levels] == [2.0, 4.0, 8.0]
    assert [level.began for level in levels] == ["start", "step", "step"]


def test_a_run_that_ended_early_has_the_levels_that_began() -> None:
    levels = planned_levels(Load(users_steps=(2, 4, 8), duration_s=30.0), 100.0, 115.0)
    assert spans(levels) == [(1, 100.0, 110.0), (2, 110.0, 115.0)]
    assert [level.users for level in levels] == [2, 4]


@pytest.mark.parametrize(("duration_s", "pieces"), [(5.0, 2), (30.0, 3), (60.0, 6), (3600.0, 8)])
def test_a_ramp_is_cut_into_pieces_that_join(duration_s: float, pieces: int) -> None:
    levels = planned_levels(Load(rate=2.0, rate_end=10.0, duration_s=duration_s), 100.0, 100.0 + duration_s)
    assert len(levels) == pieces
    assert (levels[0].rate, levels[-1].rate_end, levels[-1].end) == (2.0, 10.0, 100.0 + duration_s)
    assert all(a.end == b.start and a.rate_end == b.rate for a, b in pairwise(levels))
    assert {level.began for level in levels} == {"ramp"}


def test_a_ramp_of_users_has_whole_users() -> None:
    levels = planned_levels(Load(users=1, users_end=10, duration_s=40.0), 0.0, 40.0)
    assert [(level.users, level.users_end) for level in levels] == [(1, 3), (3, 6), (6, 8), (8, 10)]


def test_a_phase_without_a_planned_end_has_a_last_level_without_one() -> None:
    levels = planned_levels(Load(rate_steps=(2.0, 4.0), duration_s=30.0), 100.0, math.inf)
    assert spans(levels) == [(1, 100.0, 115.0), (2, 115.0, None)]


def test_the_record_of_run_json_plans_the_same_levels() -> None:
    load = Load(rate_steps=(2.0, 4.0, 8.0), duration_s=30.0)
    record = LoadRecord(mode="open", rate=2.0, rate_steps=[2.0, 4.0, 8.0], duration_s=30.0)
    assert planned_levels(record, 100.0, 130.0) == planned_levels(load, 100.0, 130.0)


def test_changed_users_begin_a_level_and_the_same_number_again_none() -> None:
    asked = [(90.0, 16), (95.0, 32), (110.0, 48), (112.0, 48), (120.0, 8)]
    levels = levels_of_users(asked, 100.0, 130.0, "changed")
    assert spans(levels) == [(1, 100.0, 110.0), (2, 110.0, 120.0), (3, 120.0, 130.0)]
    assert [level.users for level in levels] == [32, 48, 8]
    assert [level.began for level in levels] == ["start", "changed", "changed"]


def test_users_that_were_changed_after_the_phase_begin_no_level() -> None:
    assert spans(levels_of_users([(90.0, 16), (131.0, 4)], 100.0, 130.0, "changed")) == [(1, 100.0, 130.0)]


def test_a_level_begins_with_its_border() -> None:
    starts = [110.0, 120.0]
    assert [number_at(starts, at) for at in (100.0, 109.999, 110.0, 119.999, 120.0, 999.0)] == [1, 1, 2, 2, 3, 3]


def test_only_the_measured_phase_has_levels() -> None:
    timeline = Timeline(90.0, level_starts=[110.0])
    assert [timeline.level_of(phase, 115.0) for phase in ("warmup", "measure", "drain")] == [None, 2, None]


def test_levels_follow_a_clock_that_is_ahead() -> None:
    assert Timeline(90.0, level_starts=[110.0]).shifted(5.0).level_starts == [115.0]


def test_levels_come_back_from_run_json() -> None:
    levels = planned_levels(Load(rate_steps=(2.0, 4.0), duration_s=30.0), 100.0, math.inf)
    assert manifest_of(manifest_json(Manifest(levels=levels))).levels == levels


def test_what_is_no_level_is_left_out() -> None:
    levels = manifest_of({"levels": [{"number": 1, "start": 5.0, "rate": "many"}, {"number": "x"}, 7]}).levels
    assert levels == [LevelRecord(1, 5.0)]


def test_every_way_to_begin_has_a_meaning() -> None:
    plans = (Load(rate_steps=(2.0, 4.0)), Load(rate=1.0, rate_end=2.0), Load())
    began = {level.began for load in plans for level in planned_levels(load, 0.0, 30.0)}
    assert began | {"changed"} == set(BEGAN)
