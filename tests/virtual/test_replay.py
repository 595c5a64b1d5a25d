"""A trace replayed on the simulator in virtual time: its times, its lengths, its sharing, each request once."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from tokenswarm.base.config_text import parse_set
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.virtual.engine import simulated
from tokenswarm.virtual.run import VirtualRun, run
from tokenswarm.workloads.corpus import load_corpus

CORPUS = load_corpus()
TEMPLATE_TOKENS = 7
"""What the simulator's chat template puts around one user message."""
BLOCK = 512


def write(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def mooncake(count: int, seed: int = 1) -> list[dict]:
    """Rows as Mooncake has them: prompts go on from where earlier ones were, the last block is partial."""
    rng, known, rows, fresh = Random(seed), [[0]], [], 1
    for number in range(count):
        ids = list(rng.choice(known))
        for _ in range(rng.randrange(1, 4)):
            ids.append(fresh)
            fresh += 1
        known.append(ids[:-1])
        rows.append(
            {
                "timestamp": number * 250 + rng.randrange(200),
                "output_length": rng.randrange(4, 30),
                "input_length": (len(ids) - 1) * BLOCK + rng.randrange(1, BLOCK),
                "hash_ids": ids,
            }
        )
    return rows


def replayed(file: str, settings: str = "", *flags: str) -> VirtualRun:
    scenario = load_scenario(
        "replay", parse_set(f"load.warmup_s=2 replay.template_tokens={TEMPLATE_TOKENS} {settings}"), file
    )
    return run(scenario, simulated(*flags), CORPUS)


def by_number(found: VirtualRun) -> list[dict]:
    return sorted(found.measured(), key=lambda row: (row["conversation"], row["turn"]))


@pytest.mark.parametrize("send", ["chat", "token_ids"])
def test_a_trace_of_lengths_and_ids_has_its_times_its_lengths_and_its_sharing(tmp_path: Path, send: str) -> None:
    rows = mooncake(120)
    found = replayed(write(tmp_path / "t.jsonl", rows), f"replay.send={send}")
    measured, start = by_number(found), found.timeline.measure_start
    assert len(measured) == len(rows)
    assert found.timeline.phase_at(max(row["sent_at"] for row in measured) + 1) == "measure" or found.unsent == 0
    first = rows[0]["timestamp"]
    seen: set[tuple[int, ...]] = set()
    wanted = cached = 0
    for row, answer in zip(rows, measured, strict=True):
        assert answer["scheduled_at"] == pytest.approx(start + (row["timestamp"] - first) / 1e3)
        assert answer["lateness_ms"] == pytest.approx(0, abs=1e-3)
        assert answer["prompt_tokens"] == row["input_length"]
        assert answer["completion_tokens"] == row["output_length"]
        whole = row["input_length"] // BLOCK
        wanted += BLOCK * max(n for n in range(whole + 1) if tuple(row["hash_ids"][:n]) in seen or not n)
        seen |= {tuple(row["hash_ids"][:n]) for n in range(len(row["hash_ids"]) + 1)}
        cached += answer["cached_tokens"]
    # Blocks of the engine's that are whole in the trace's; with a chat template they begin two tokens later.
    prompt_tokens = sum(row["input_length"] for row in rows)
    assert cached / prompt_tokens == pytest.approx(wanted / prompt_tokens, abs=0.02 if send == "chat" else 0.005)
    assert wanted / prompt_tokens > 0.3


def test_the_run_ends_when_the_trace_does(tmp_path: Path) -> None:
    found = replayed(write(tmp_path / "t.jsonl", mooncake(20)))
    last = max(row["sent_at"] + row["e2e_ms"] / 1e3 for row in found.measured())
    assert found.timeline.measure_end == pytest.approx(last, abs=0.01)


def test_a_turn_waits_for_its_time_and_for_the_answer_before_it_and_the_pause(tmp_path: Path) -> None:
    rows = [
        {"timestamp": 0, "session_id": "a", "input_length": 400, "output_length": 200},
        {"timestamp": 100, "session_id": "a", "input_length": 800, "output_length": 5, "delay": 3000},
        {"timestamp": 90_000, "session_id": "a", "input_length": 900, "output_length": 5, "delay": 500},
        {"timestamp": 50, "session_id": "b", "input_length": 300, "output_length": 4},
    ]
    found = replayed(write(tmp_path / "t.jsonl", rows), "replay.bad_rows=0")
    start = found.timeline.measure_start
    one, two, three, other = by_number(found)
    assert one["scheduled_at"] == pytest.approx(start)
    assert two["scheduled_at"] == pytest.approx(one["sent_at"] + one["e2e_ms"] / 1e3 + 3)
    assert three["scheduled_at"] == pytest.approx(start + 90)
    assert other["scheduled_at"] == pytest.approx(start + 0.05)
    assert all(row["lateness_ms"] == pytest.approx(0, abs=1e-3) for row in found.measured())


def test_a_mean_rate_keeps_the_shape_and_speed_divides_all_times(tmp_path: Path) -> None:
    file = write(tmp_path / "t.jsonl", mooncake(60))
    plain = [row["scheduled_at"] for row in by_number(replayed(file))]
    for settings, factor in (("replay.speed=2", 0.5), ("load.rate=40", 60 / 40 / (plain[-1] - plain[0]))):
        found = [row["scheduled_at"] for row in by_number(replayed(file, settings))]
        assert [at - found[0] for at in found] == pytest.approx([(at - plain[0]) * factor for at in plain], abs=1e-5)


def test_as_a_pool_the_scenario_s_own_load_sends_the_trace_s_prompts(tmp_path: Path) -> None:
    file = write(tmp_path / "t.jsonl", mooncake(50))
    found = replayed(file, "replay.pacing=load load.users=4 load.duration_s=4")
    assert len(list(found.measured())) > 4
    assert {row["scheduled_at"] for row in found.measured()} == {None}


def test_each_line_of_a_data_set_is_sent_once_and_then_the_run_ends(tmp_path: Path) -> None:
    file = write(
        tmp_path / "d.jsonl", [{"prompt": f"Question {n}", "session_id": n // 2, "max_tokens": 3} for n in range(60)]
    )
    scenario = load_scenario("dataset", parse_set("dataset.order=once load.users=4 load.warmup_s=1"), file)
    found = run(scenario, simulated(), CORPUS)
    measured = sorted(found.measured(), key=lambda row: row["sent_at"])
    assert sorted((row["conversation"], row["turn"]) for row in measured) == [
        (f"measure-{n:06d}", turn) for n in range(30) for turn in (1, 2)
    ]
    begun = [row["conversation"] for row in measured if row["turn"] == 1]
    assert begun == sorted(begun)
    assert found.timeline.measure_end < found.timeline.measure_start + 60


def test_a_trace_without_times_of_arrival_keeps_its_pauses_and_lets_agents_wait_for_sub_agents(tmp_path: Path) -> None:
    session = {
        "block_size": 64,
        "hash_id_scope": "local",
        "requests": [
            {"t": 0.0, "type": "n", "in": 192, "out": 21, "hash_ids": [0, 1, 2], "api_time": 1.0},
            {
                "t": 1.0,
                "type": "subagent",
                "agent_id": "a1",
                "duration_ms": 4000,
                "requests": [
                    {"t": 1.0, "type": "n", "in": 64, "out": 2, "hash_ids": [9], "api_time": 1.0},
                    {"t": 3.5, "type": "n", "in": 80, "out": 3, "hash_ids": [9, 10], "api_time": 1.0},
                ],
            },
            {"t": 7.0, "type": "n", "in": 200, "out": 4, "hash_ids": [0, 1, 2, 3], "api_time": 1.0},
        ],
    }
    file = write(tmp_path / "t.jsonl", [{"id": f"s{n}", **session} for n in range(40)])
    found = replayed(file, "replay.pacing=load load.users=1 load.duration_s=12")
    one = [row for row in by_number(found) if row["conversation"] == "measure-000000"]
    assert [row["completion_tokens"] for row in one] == [21, 2, 3, 4]
    ends = [row["sent_at"] + row["e2e_ms"] / 1e3 for row in one]
    assert [round(later["sent_at"] - end, 3) for end, later in zip(ends, one[1:], strict=False)] == [0, 1.5, 2.0]
