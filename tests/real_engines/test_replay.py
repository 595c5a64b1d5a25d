"""A Mooncake-like trace of 200 requests, replayed on real engines: exact as token ids, nearly so as text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.real_engines.real import Run, Server, run_replay
from tokenswarm.base.errors import Exit
from tokenswarm.scenario.model import Scenario
from tokenswarm.workloads import create
from tokenswarm.workloads.corpus import load_corpus

REQUESTS, BLOCK, MEAN_GAP_MS = 200, 512, 90
AT_ONCE = 32
"""As many as an engine here has under way at most. SGLang keeps what a prompt shares when it has been computed, so that
prompts in one step compute it each; how many are in one step depends on how busy the machine is. So prompts share with
ones so far before them that these have been answered. All that they need fits into SGLang's cache here."""
# However slow the machine: what is tested are lengths, hits and when requests are due.
SETTINGS = {
    "load.warmup_s": 1,
    "prompts.salt": "replayed",
    "replay.context_tokens": 4000,
    "replay.token_ids": "[300,4000]",
    "load.drain_s": 250,
    "timeouts.first_token_s": 900,
    "timeouts.gap_s": 900,
    "timeouts.total_s": 1800,
}
FINE = {Exit.PASSED, Exit.SLO_MISSED, Exit.INVALID, Exit.OVERLOADED}
"""What a busy machine may make of it; lengths and hits are the same."""
SENT: dict[tuple[str, str], str] = {}
"""Digest of all prompts by (way to send, engine): the engines are tested one after the other."""


def trace(folder: Path) -> Path:
    """Requests that go on from where earlier ones were, some by a whole block more; the last block is partial."""
    rng, wholes, fresh, at_ms = Random(5), list[list[int]](), 0, 0.0
    lines = []
    for _ in range(REQUESTS):
        before = wholes[: -AT_ONCE + 1]
        whole = list(rng.choice(before))[:4] if before else []
        for _ in range(int(rng.random() < 0.12) if before else 2):
            whole.append(fresh)
            fresh += 1
        wholes.append(whole)
        at_ms += rng.expovariate(1 / MEAN_GAP_MS)
        lines.append(
            json.dumps(
                {
                    "timestamp": round(at_ms),
                    "output_length": rng.randrange(2, 6),
                    "hash_ids": [*whole, fresh],
                    "input_length": len(whole) * BLOCK + rng.randrange(20, 200),
                }
            )
        )
        fresh += 1
    file = folder / "trace.jsonl"
    file.write_text("\n".join(lines) + "\n", "utf-8")
    return file


class Replays:
    """Replays on one server, each made when it is first looked at."""

    def __init__(self, server: Server, file: Path) -> None:
        self._server, self.file = server, file
        self._made: dict[str, Run] = {}

    def __getitem__(self, send: str) -> Run:
        if send not in self._made:
            self._made[send] = run_replay(self._server, self.file, SETTINGS | {"replay.send": send})
        return self._made[send]


@pytest.fixture(scope="module")
def replays(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replays]:
    yield Replays(server, trace(tmp_path_factory.mktemp("trace")))


def measured(run: Run) -> list[dict[str, str]]:
    rows = [row for row in run.requests if row["phase"] == "measure"]
    return sorted(rows, key=lambda row: row["conversation"])


def fidelity(run: Run) -> dict[str, Any]:
    return json.loads((run.folder / "summary.json").read_text("utf-8"))["replay"]


def asked(replays: Replays) -> list[dict[str, Any]]:
    return [json.loads(line) for line in replays.file.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("send", ["token_ids", "chat"])
def test_each_request_is_sent_once_and_due_when_the_trace_says(replays: Replays, send: str) -> None:
    run, rows = replays[send], measured(replays[send])
    assert run.code in FINE, run.output
    assert {(row["status"], row["error"]) for row in rows} == {("ok", "")}
    assert [row["conversation"] for row in rows] == [f"measure-{n:06d}" for n in range(REQUESTS)]
    start = next(phase["start"] for phase in run.manifest["phases"] if phase["name"] == "measure")
    times = [(row["timestamp"] - asked(replays)[0]["timestamp"]) / 1e3 for row in asked(replays)]
    assert [float(row["scheduled_at"]) - start for row in rows] == pytest.approx(times, abs=0.001)
    assert fidelity(run)["lateness_p99_ms"]["value"] is not None


@pytest.mark.parametrize("send", ["token_ids", "chat"])
def test_answers_are_as_long_as_on_record(replays: Replays, send: str) -> None:
    assert [int(row["completion_tokens"]) for row in measured(replays[send])] == [
        row["output_length"] for row in asked(replays)
    ]


def test_prompts_of_token_ids_are_exactly_as_long_as_on_record(replays: Replays) -> None:
    assert [int(row["prompt_tokens"]) for row in measured(replays["token_ids"])] == [
        row["input_length"] for row in asked(replays)
    ]


def test_prompts_of_text_are_within_three_hundredths(replays: Replays) -> None:
    errors = sorted(
        abs(int(row["prompt_tokens"]) / wanted["input_length"] - 1)
        for row, wanted in zip(measured(replays["chat"]), asked(replays), strict=True)
        if wanted["input_length"] >= 256
    )
    assert errors[len(errors) // 2] < 0.015 and errors[int(0.99 * len(errors))] < 0.03
    assert fidelity(replays["chat"])["prompt_error_p50"]["value"] < 0.03


def test_the_engine_finds_what_the_trace_implies_at_its_own_block_size(replays: Replays) -> None:
    rows, replay = measured(replays["token_ids"]), fidelity(replays["token_ids"])
    hit_rate = sum(int(row["cached_tokens"] or 0) for row in rows) / sum(int(row["prompt_tokens"]) for row in rows)
    assert replay["implied"]["value"] > 0.2
    assert hit_rate == pytest.approx(replay["implied"]["value"], abs=0.02), replay["sentence"]


@pytest.mark.parametrize("send", ["token_ids", "chat"])
def test_each_engine_gets_the_very_same_prompts(replays: Replays, send: str, engine_name: str) -> None:
    manifest = replays[send].manifest
    workload = create(
        Scenario.from_values(manifest["scenario"]["values"]), load_corpus(), manifest["seed"], manifest["salt"]
    )
    digest = hashlib.sha256()
    for number in range(REQUESTS):
        for prompt in workload.session("measure", number):
            digest.update(json.dumps([prompt.messages, prompt.token_ids, prompt.max_tokens]).encode())
    SENT[send, engine_name] = digest.hexdigest()
    assert len({made for (way, _), made in SENT.items() if way == send}) == 1
