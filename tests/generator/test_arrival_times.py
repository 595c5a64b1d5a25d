"""Arrivals from a list of times, and by a law of the user's."""

from __future__ import annotations

import json
from pathlib import Path

import gevent
import pytest

from tests.generator.moved_clock import MovedClock
from tokenswarm.base.config_text import parse_set
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.manifest import CorpusRecord, EngineRecord, LoadRecord, Manifest, ScenarioRecord
from tokenswarm.contract.phases import Timeline
from tokenswarm.generator.arrivals import RateProfile, arrival_times
from tokenswarm.generator.dispatch import Dispatcher
from tokenswarm.generator.plan import plan_from
from tokenswarm.generator.session_stream import Share
from tokenswarm.scenario.arrival_times import read_times
from tokenswarm.scenario.load_settings import Load
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.scenario.model import Scenario
from tokenswarm.workloads.corpus import load_corpus

RECORDED = {
    ("poisson", 1.0): [1.4699741063671163, 2.783329608350114, 2.851739932550711, 3.522722121368862],
    ("constant", 1.0): [0.5, 1.0, 1.5, 2.0],
    ("gamma", 3.0): [5.8996001920205276e-08, 0.9399774629636627, 0.9444726133904858, 0.9452095165656307],
    ("gamma", 0.3): [0.9354230369515925, 1.2650139088559542, 1.7419724255552689, 2.185227080901567],
}


@pytest.mark.parametrize(("law", "cv"), RECORDED)
def test_a_seed_gives_the_arrivals_that_it_always_gave(law: str, cv: float) -> None:
    times = arrival_times(law, RateProfile.steady(2.0), 7, cv)
    assert [next(times) for _ in range(4)] == RECORDED[law, cv]


def refused(overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load_scenario("rag", parse_set(overrides))
    return str(caught.value)


def test_a_list_opens_the_loop_and_gives_the_measured_phase_its_length_and_the_warm_up_its_rate() -> None:
    load = Load(arrivals="times", arrival_times=[0.0, 0.5, 2.0, 4.0])
    assert (load.rate, load.duration_s) == (1.0, 5.0)
    assert load_scenario("rag", parse_set("load.arrivals=times load.arrival_times=[0,1]")).open_loop
    shorter = Load(arrivals="times", arrival_times=[0.0, 0.5, 2.0, 4.0], duration_s=3.0, rate=7.0)
    assert (shorter.rate, shorter.duration_s) == (7.0, 3.0)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ("load.arrivals=times", "needs one of arrival_times and arrival_times_file"),
        ("load.arrival_times=[1,2]", 'arrival_times needs arrivals = "times"'),
        ("load.arrivals=times load.arrival_times=[2,1]", "should be in ascending order, but 1 comes after 2"),
        ("load.arrivals=times load.arrival_times=[-1]", "should be 0 to 3.1536e+08 s, but one is -1"),
        ("load.arrivals=times load.arrival_times=[1,inf]", "should be 0 to 3.1536e+08 s, but one is inf"),
        ("load.arrivals=times load.arrival_times=[]", "should hold at least one"),
        ("load.arrivals=times load.arrival_times=['a']", "should be a number"),
        ("load.arrivals=times load.arrival_times=[1] load.rate=1 load.rate_end=2", "go with a law of arrivals"),
        ("load.arrivals=times load.arrival_times_file=none.txt", "arrival_times_file cannot be read"),
    ],
)
def test_what_is_no_list_of_times_is_refused(overrides: str, sentence: str) -> None:
    assert sentence in refused(overrides)


def test_a_file_of_times_is_found_beside_the_scenario_and_named_whole(tmp_path: Path) -> None:
    (tmp_path / "times.txt").write_text("# from the access log\n0.25\n\n1.5  # lunch\n")
    (tmp_path / "mine.toml").write_text(
        'locustfile = "rag.py"\nworkload = "rag"\n[load]\narrivals = "times"\narrival_times_file = "times.txt"\n'
    )
    scenario = load_scenario(str(tmp_path / "mine.toml"))
    assert scenario.load.times() == (0.25, 1.5)
    assert scenario.load.arrival_times_file == str(tmp_path / "times.txt")
    assert Scenario.from_values(json.loads(json.dumps(scenario.values()))) == scenario
    (tmp_path / "times.txt").write_text("0.25\nnoon\n")
    (tmp_path / "bad.txt").write_text("0.25\nnoon\n")
    with pytest.raises(UserError, match="line 2: 'noon' is not a number"):
        load_scenario(str(tmp_path / "mine.toml"), {"load.arrival_times_file": "bad.txt"})


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_each_time_is_handed_out_once_whatever_the_number_of_workers(workers: int) -> None:
    wanted = [0.0, 0.02, 0.02, 0.05, 0.08, 5.0]
    load = Load(arrivals="times", arrival_times=wanted, duration_s=0.4, warmup_s=0)
    clock = MovedClock()
    timeline = Timeline(clock.time())
    begin = clock.time() + 0.05
    timeline.set_window(begin, 0.4, 1.0)
    dispatchers = [Dispatcher(load, 1, Share(worker, workers), timeline, clock=clock) for worker in range(workers)]
    due: list[float] = []

    def user(dispatcher: Dispatcher) -> None:
        while True:
            due.append(dispatcher.next_arrival().due)

    users = [gevent.spawn(user, dispatcher) for dispatcher in dispatchers for _ in range(6)]
    clock.sleep(0.8)
    gevent.killall(users)
    for dispatcher in dispatchers:
        dispatcher.stop()
    measured = sorted(each - begin for each in due if each >= begin)
    assert measured == pytest.approx([0.0, 0.02, 0.02, 0.05, 0.08], abs=1e-3)  # the last one is after the phase
    assert sum(dispatcher.unsent for dispatcher in dispatchers) == 0


def test_a_law_of_one_s_own_is_a_function_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "pairs.py").write_text("def gaps(rng, cv):\n    while True:\n        yield 0.0\n        yield 2.0\n")
    (tmp_path / "mine.toml").write_text(
        'locustfile = "rag.py"\nworkload = "rag"\n[load]\nrate = 4.0\narrivals = "pairs.py"\n'
    )
    load = load_scenario(str(tmp_path / "mine.toml")).load
    times = arrival_times(load.arrivals, RateProfile.steady(load.rate), 1)
    assert [next(times) for _ in range(4)] == [0.0, 0.5, 0.5, 1.0]


def test_a_machine_with_another_file_of_times_does_not_take_part(tmp_path: Path) -> None:
    (tmp_path / "times.txt").write_text("0.25\n1.5\n")
    (tmp_path / "mine.toml").write_text(
        'locustfile = "rag.py"\nworkload = "rag"\n[load]\narrivals = "times"\narrival_times_file = "times.txt"\n'
    )
    scenario = load_scenario(str(tmp_path / "mine.toml"))
    manifest = Manifest(
        run_id="r",
        engine=EngineRecord(base_url="http://127.0.0.1:1"),
        model="m",
        seed=1,
        salt="",
        scenario=ScenarioRecord(values=scenario.values()),
        load=LoadRecord(workers=2),
        corpus=CorpusRecord(**load_corpus().identity()),
    )
    assert plan_from(manifest, tmp_path, controlled=True).scenario.load.times() == (0.25, 1.5)
    read_times.cache_clear()
    (tmp_path / "times.txt").write_text("0.25\n1.75\n")
    with pytest.raises(UserError, match=r"times\.txt is not the one that the run was planned with") as refused:
        plan_from(manifest, tmp_path, controlled=True)
    assert refused.value.code == Exit.DATA
