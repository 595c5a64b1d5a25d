"""Recorded texts that do not fit into memory are read from a file when sent, and give the same requests."""

from __future__ import annotations

import errno
import json
import os
import tracemalloc
from pathlib import Path

import pytest

from tokenswarm import workloads
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.traces import text_store
from tokenswarm.traces.reader import open_trace
from tokenswarm.traces.request import TraceRequest, estimated_tokens
from tokenswarm.traces.text_store import StoredMessages, with_stored_texts
from tokenswarm.workloads import dataset, replay_settings
from tokenswarm.workloads.corpus import load_corpus


@pytest.fixture(autouse=True)
def _little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_store, "IN_MEMORY_TOKENS", 20)
    replay_settings._read.cache_clear()
    dataset._pool.cache_clear()


def conversation(number: int, turns: int = 4) -> dict:
    said = [
        {"from": "human" if turn % 2 == 0 else "gpt", "value": f"{number}/{turn} " + "Grüße " * 30}
        for turn in range(2 * turns)
    ]
    return {"id": str(number), "conversations": said}


def written(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_stored_texts_are_those_of_the_file_and_their_lengths_are_known(tmp_path: Path) -> None:
    file = written(tmp_path / "t.jsonl", [conversation(number) for number in range(30)])
    plain, stored = list(open_trace(file).requests()), list(with_stored_texts(open_trace(file).requests()))
    assert sum(isinstance(each.messages, StoredMessages) for each in stored) > 100
    for one, other in zip(plain, stored, strict=True):
        assert list(one.messages or ()) == list(other.messages or ())
        assert len(one.messages or ()) == len(other.messages or ()) and (one.messages or [])[0] == other.messages[0]  # type: ignore[index]
        assert estimated_tokens(one.messages or ()) == estimated_tokens(other.messages or ())
        assert (one.session, one.turn, one.expected) == (other.session, other.turn, other.expected)


def test_a_conversation_is_written_once_however_many_turns_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    write = text_store._File.write

    def noted(self: text_store._File, messages: list) -> tuple[int, int]:
        place, size = write(self, messages)
        sizes.append(size)
        return place, size

    monkeypatch.setattr(text_store._File, "write", noted)
    file = written(tmp_path / "t.jsonl", [conversation(1, 2), conversation(2, turns=50)])
    for _ in with_stored_texts(open_trace(file).requests()):
        pass
    assert sum(sizes) < 1.5 * file.stat().st_size


def test_a_replay_and_a_data_set_ask_the_same_with_stored_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"timestamp": 100 * n, "messages": [{"role": "user", "content": f"Question {n} " * 40}], "output_length": 3}
        for n in range(40)
    ]
    file = str(written(tmp_path / "t.jsonl", rows))

    def asked(name: str) -> list:
        workload = workloads.create(load_scenario(name, {}, file), load_corpus(), 1, "salt")
        return [prompt.messages for number in range(40) for prompt in workload.session("measure", number)]

    stored = {name: asked(name) for name in ("replay", "dataset")}
    monkeypatch.setattr(text_store, "IN_MEMORY_TOKENS", 10**9)
    replay_settings._read.cache_clear()
    dataset._pool.cache_clear()
    assert {name: asked(name) for name in stored} == stored


def test_a_replay_of_much_text_takes_little_memory(tmp_path: Path) -> None:
    rows = [{"timestamp": n, "text_input": f"{n} " * 2000, "output_length": 1} for n in range(2000)]
    file = written(tmp_path / "t.jsonl", rows)
    tracemalloc.start()
    workloads.create(load_scenario("replay", {}, str(file)), load_corpus(), 1, "salt")
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < file.stat().st_size / 5 and peak < file.stat().st_size / 3


def test_what_has_no_other_form_stays_in_memory_and_equal_bodies_are_one(tmp_path: Path) -> None:
    odd = [{"role": "user", "content": "half a character: \ud800" * 50}]
    big = [{"role": "user", "content": "x" * 500, "n": 10**40}]
    tools = [{"type": "function", "function": {"name": "f"}}]
    requests = [
        TraceRequest(messages=[{"role": "user", "content": "x" * 500}], body={"tools": list(tools)}),
        TraceRequest(messages=odd, body={"tools": list(tools)}),
        TraceRequest(messages=big, body={"seed": 10**40}),
    ]
    first, second, third = with_stored_texts(requests)
    assert second.messages is odd and third.messages is big
    assert first.body is second.body and third.body == {"seed": 10**40}


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(text_store._File, "write", full)
    file = written(tmp_path / "t.jsonl", [conversation(1)])
    with pytest.raises(UserError, match=r"No space left on device\): set TMPDIR") as caught:
        list(with_stored_texts(open_trace(file).requests()))
    assert caught.value.code is Exit.RESULTS
