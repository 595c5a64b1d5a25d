"""The truth log: right, complete, and readable."""

from __future__ import annotations

import json
import socket
import time
from itertools import pairwise

from tests.waiting import until
from tokenswarm.sim.truth import COLUMNS, Truth, TruthLog, read_truth

from .simulators import ask_events, chat, read_until, streamed

CHAT = "/v1/chat/completions"


def test_each_request_has_its_row_with_the_time_of_each_token(start, tmp_path):
    path = tmp_path / "truth.csv"
    simulator = start(
        "--profile", "flat", "--ttft-ms", "20", "--token-gap-ms", "2", "--truth-log", str(path), "--truth-tokens"
    )
    before_ns = time.monotonic_ns()
    ask_events(simulator, streamed("hello there", max_tokens=10), X_Request_Id="streamed")
    after_ns = time.monotonic_ns()
    simulator.post(CHAT, chat(max_tokens=4), X_Request_Id="plain")
    simulator.stop()
    streamed_row, plain_row = read_truth(path)
    assert (streamed_row["request_id"], streamed_row["outcome"]) == ("streamed", "ok")
    assert (streamed_row["tokens"], streamed_row["completion_tokens"], streamed_row["writes"]) == (10, 10, 10)
    writes, models = streamed_row["write_ns"], streamed_row["model_ns"]
    # the stamps are on the clock that this process reads, too
    assert before_ns < streamed_row["arrival_ns"] <= streamed_row["submitted_ns"] < writes[0]
    assert writes[-1] < after_ns
    assert [writes[0], writes[-1]] == [streamed_row["first_write_ns"], streamed_row["last_write_ns"]]
    assert writes[0] <= streamed_row["first_written_ns"] <= time.monotonic_ns()  # when it left, a busy machine decides
    assert plain_row["first_write_ns"] <= plain_row["first_written_ns"]
    assert all(write >= model for write, model in zip(writes, models, strict=True))
    gaps = [later - earlier for earlier, later in pairwise(models)]
    assert models[0] - streamed_row["submitted_ns"] - 20_000_000 in range(-10, 10)
    assert all(abs(gap - 2_000_000) < 10 for gap in gaps)
    assert streamed_row["max_gap_ns"] == max(later - earlier for earlier, later in pairwise(writes))
    assert (plain_row["writes"], plain_row["tokens"]) == (1, 4)


def test_the_log_is_there_within_about_a_second_of_the_answer(start, tmp_path):
    path = tmp_path / "truth.csv"
    simulator = start("--profile", "instant", "--truth-log", str(path))
    ask_events(simulator, streamed(max_tokens=3))
    until(lambda: read_truth(path))
    (row,) = read_truth(path)
    assert (row["tokens"], row["write_ns"]) == (3, [])


def test_broken_answers_are_told_apart(start, tmp_path):
    path = tmp_path / "truth.csv"
    simulator = start("--profile", "flat", "--truth-log", str(path))
    gone = simulator.send(CHAT, streamed(max_tokens=50), X_Request_Id="gone")
    read_until(gone, b"role")
    gone.close()
    read_until(
        simulator.send(CHAT, streamed(max_tokens=9), X_Request_Id="cut", X_Sim_Fault="truncate:2"), b"\r\n0\r\n\r\n"
    )
    kept = simulator.send(CHAT, streamed(max_tokens=5000, ignore_eos=True), X_Request_Id="kept")
    read_until(kept, b"role")
    simulator.stop()
    outcomes = {row["request_id"]: row["outcome"] for row in read_truth(path)}
    assert outcomes["gone"] == "disconnected"
    assert outcomes["cut"] == "fault"
    assert outcomes["kept"] == "interrupted"


def test_requests_sent_ahead_have_the_time_at_which_they_came(start, tmp_path):
    path = tmp_path / "truth.csv"
    simulator = start("--profile", "flat", "--ttft-ms", "20", "--truth-log", str(path))
    before_ns = time.monotonic_ns()
    body = json.dumps(chat(max_tokens=1)).encode()
    request = b"POST %b HTTP/1.1\r\nHost: sim\r\nContent-Length: %d\r\n\r\n%b" % (CHAT.encode(), len(body), body)
    client = socket.create_connection(simulator.address, timeout=20)
    client.sendall(request + request)
    first = read_until(client, b"usage")
    if first.count(b"usage") < 2:
        read_until(client, b"usage")
    simulator.stop()
    first_row, second_row = read_truth(path)
    assert before_ns < first_row["arrival_ns"] <= second_row["arrival_ns"] < first_row["first_write_ns"]


def test_a_torn_last_line_is_left_out(tmp_path):
    path = tmp_path / "truth.csv"
    log = TruthLog(path, every_token=True)
    for name in ("a", "b"):
        log.add(Truth(name, 5, 6, tokens=1, writes_ns=[10, 30], models_ns=[9, 20]))
    log.close()
    assert len(COLUMNS) == 18
    path.write_bytes(path.read_bytes()[:-3])
    (row,) = read_truth(path)
    assert (row["request_id"], row["write_ns"], row["max_late_ns"], row["max_gap_ns"]) == ("a", [10, 30], 10, 20)
