"""Whether a replay is faithful: lengths, times and sharing of the trace and the run agree within stated limits."""

from __future__ import annotations

import base64
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenswarm.analysis.cache.hit_curve import HitCurve
from tokenswarm.analysis.read.replay_table import read_replay_plan
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.summary import summarise
from tokenswarm.analysis.traffic.fidelity import implied_curve

from tests.analysis.make_run import START, manifest, row, write_run
from tests.examples import examples
from tests.mutations import changed, mutate_csv
from tokenswarm.contract.summary.replay_records import Fidelity
from tokenswarm.contract.tables import REPLAY_COLUMNS, REPLAY_CSV, names


def written(folder: Path, rows: list[tuple[float, int, int, list[int]]], block: int = 64) -> Path:
    """A replay.csv of (at_s, prompt tokens, output tokens, blocks)."""
    lines = [",".join(names(REPLAY_COLUMNS))]
    for number, (at_s, prompt, output, ids) in enumerate(rows):
        cell = base64.b64encode(np.array(ids, dtype="<u4").tobytes()).decode()
        lines.append(f"measure-{number:06d},1,{at_s},{prompt},{output},{block if ids else ''},{cell}")
    (folder / REPLAY_CSV).write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def curve_of(folder: Path, block: int) -> HitCurve:
    plan = read_replay_plan(folder)
    assert plan is not None
    curve = implied_curve(plan, block)
    assert curve is not None
    return curve


@pytest.mark.parametrize(("engine_block", "found"), [(16, 160 + 64), (32, 160 + 64), (64, 128 + 64), (128, 128)])
def test_the_trace_s_own_hits_are_counted_in_the_engine_s_blocks(tmp_path: Path, engine_block: int, found: int) -> None:
    # The second prompt has the first one's blocks 0 and 1 and half of 2; the third one its block 0 alone.
    rows = [(0.0, 200, 5, [0, 1, 2, 3]), (1.0, 161, 5, [0, 1, 2]), (2.0, 128, 5, [0, 9])]
    curve = curve_of(written(tmp_path, rows), engine_block)
    assert curve.unbounded == pytest.approx(found / (200 + 161 + 128))


def test_what_no_id_covers_is_found_by_nobody(tmp_path: Path) -> None:
    rows = [(0.0, 256, 5, [0]), (1.0, 256, 5, [0])]
    assert curve_of(written(tmp_path, rows), 16).unbounded == pytest.approx(64 / 512)


def test_requests_are_taken_in_the_order_of_their_times(tmp_path: Path) -> None:
    rows = [(5.0, 65, 1, [0, 1]), (0.0, 65, 1, [0, 2]), (1.0, 65, 1, [3, 4])]
    plan = read_replay_plan(written(tmp_path, rows))
    assert plan is not None
    assert list(plan.requests["conversation"]) == ["measure-000001", "measure-000002", "measure-000000"]
    assert list(plan.ids) == [0, 2, 3, 4, 0, 1]


def test_a_damaged_table_is_none(tmp_path: Path) -> None:
    (tmp_path / REPLAY_CSV).write_text("a,b\n1,2\n")
    assert read_replay_plan(tmp_path) is None
    assert read_replay_plan(tmp_path / "none") is None


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a replay."""
    folder = tmp_path_factory.mktemp("replay")
    replayed(folder)
    return folder


@settings(max_examples=examples(60), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_plan_with_any_cells_is_read_or_none_and_the_run_is_summarised(replay: Path, data: st.DataObject) -> None:
    content = data.draw(changed((replay / REPLAY_CSV).read_bytes(), mutate_csv))
    with tempfile.TemporaryDirectory() as under:
        folder = Path(under) / "run"
        shutil.copytree(replay, folder)
        (folder / REPLAY_CSV).unlink()
        if content is not None:
            (folder / REPLAY_CSV).write_bytes(content)
        plan, summary = read_replay_plan(folder), summarise(read_run(folder))
        assert (plan is None) is (summary.replay is None)


def replayed(folder: Path, **changed: object) -> Fidelity:
    """A run of ten requests, each a second after the other, as the trace asks; `changed`: cells of its rows."""
    written(folder, [(float(n), 100, 20, [n]) for n in range(10)])

    def cells(n: int) -> dict:
        plain = {
            "conversation": f"measure-{n:06d}",
            "turn": 1,
            "attempt": 1,
            "request_id": f"r-{n}",
            "scheduled_at": START + n,
            "sent_at": START + n + 0.001,
            "lateness_ms": 1.0,
            "prompt_tokens": 100,
            "completion_tokens": 20,
        }
        return plain | {name: value(n) if callable(value) else value for name, value in changed.items()}

    rows = [row(**cells(n)) for n in range(10)]
    found = summarise(read_run(write_run(folder, rows, manifest(seconds=12.0)))).replay
    assert found is not None
    return found


def test_a_run_that_does_what_the_trace_asks_is_a_replay(tmp_path: Path) -> None:
    found = replayed(tmp_path)
    assert found.faithful and "no replay" not in found.sentence
    assert found.sent == found.requests == 10
    assert (found.made_p50.value, found.asked_p50.value, found.prompt_error_p99.value) == (100, 100, 0)
    assert found.slip_p99_ms.value == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"prompt_tokens": 110}, "difference of prompt lengths, p50 is 10%, limit 3%"),
        (
            {"prompt_tokens": lambda n: 60 if n < 2 else 100},  # as prompts that were cut to fit
            "difference of all prompts' length is 8%, limit 3%",
        ),
        ({"completion_tokens": 10}, "difference of all answers' length is 50%, limit 2%"),
        (
            {"scheduled_at": lambda n: START + n + 3, "sent_at": lambda n: START + n + 3},
            "slip from the trace, p99 is 3,000 ms, limit 1,000 ms",
        ),
        ({"lateness_ms": 500.0}, "lateness, p99 is 500 ms, limit 100 ms"),
        (
            {"conversation": lambda n: f"measure-{min(n, 7):06d}", "attempt": lambda n: max(1, n - 6)},
            "requests that were not sent is 20%, limit 1%",
        ),
    ],
)
def test_outside_of_its_limits_a_run_says_that_it_is_no_replay(tmp_path: Path, changed: dict, said: str) -> None:
    found = replayed(tmp_path, **changed)
    assert not found.faithful
    assert f"This is no replay of the trace: {said}" in found.sentence


def test_slip_is_told_apart_from_lateness(tmp_path: Path) -> None:
    found = replayed(
        tmp_path, scheduled_at=lambda n: START + n + 0.4, sent_at=lambda n: START + n + 0.402, lateness_ms=2.0
    )
    assert found.slip_p50_ms.value == pytest.approx(400, abs=1)
    assert found.lateness_p99_ms.value == 2.0 and found.faithful


def test_a_run_that_is_no_replay_has_nothing_of_it(tmp_path: Path) -> None:
    assert summarise(read_run(write_run(tmp_path, [row()], manifest()))).replay is None
