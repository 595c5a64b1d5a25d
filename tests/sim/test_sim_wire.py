"""What goes over the wire: both dialects, plain and streamed, and the rest of the API."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.waiting import until
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.sim.__main__ import build
from tokenswarm.sim.command_line import parser

from .simulators import Simulator, ask_events, chat, read_all, read_until, streamed, unchunk

CHAT = "/v1/chat/completions"


def deltas(stream: list) -> list[dict]:
    return [event["choices"][0]["delta"] for event in stream if event != "[DONE]" and event["choices"]]


def test_vllm_stream_role_text_usage_done(vllm):
    stream = ask_events(vllm, streamed(max_tokens=5))
    assert deltas(stream)[0] == {"role": "assistant", "content": ""}
    assert all(delta.keys() == {"content"} and delta["content"] for delta in deltas(stream)[1:])
    assert len(deltas(stream)) == 6
    reasons = [event["choices"][0]["finish_reason"] for event in stream[:6]]
    assert reasons == [None] * 5 + ["length"]  # on the last text event
    assert stream[6]["choices"] == []
    assert stream[6]["usage"]["completion_tokens"] == 5
    assert stream[6]["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}
    assert stream[7:] == ["[DONE]"]


def test_sglang_stream_has_a_finish_event_of_its_own(sglang):
    stream = ask_events(sglang, streamed(max_tokens=5))
    first, *texts, last = deltas(stream)
    assert first == {"role": "assistant", "content": "", "reasoning_content": None, "tool_calls": None}
    assert len(texts) == 5 and all(delta["content"] for delta in texts)
    assert last["content"] is None
    assert [event["choices"][0]["finish_reason"] for event in stream[:7]] == [None] * 6 + ["length"]
    assert stream[7]["usage"]["reasoning_tokens"] == 0
    assert stream[8:] == ["[DONE]"]


@pytest.mark.parametrize(("style", "field"), [("vllm", "reasoning"), ("sglang", "reasoning_content")])
def test_reasoning_comes_under_the_field_of_the_dialect(request, style, field):
    simulator: Simulator = request.getfixturevalue(style)
    body = streamed(max_tokens=4000, chat_template_kwargs={"enable_thinking": True})
    stream = ask_events(simulator, body)
    channels = [field if delta.get(field) else "content" for delta in deltas(stream)[1:] if any(delta.values())]
    thoughts = channels.count(field)
    assert channels == [field] * thoughts + ["content"] * (len(channels) - thoughts)
    usage = stream[-2]["usage"]
    assert 0.6 < thoughts / usage["completion_tokens"] < 0.8
    if style == "sglang":
        assert usage["reasoning_tokens"] == thoughts
    plain = simulator.post(CHAT, {**body, "stream": False})["choices"][0]["message"]
    assert plain[field] == "".join(delta.get(field) or "" for delta in deltas(stream))
    assert plain["content"] == "".join(delta.get("content") or "" for delta in deltas(stream))


def test_usage_comes_only_when_asked_for(vllm):
    stream = ask_events(vllm, chat(stream=True, max_tokens=3))
    assert all("usage" not in event for event in stream if event != "[DONE]")
    assert len(stream) == 5


@pytest.mark.parametrize("style", ["vllm", "sglang"])
def test_completions_stream_and_plain_agree(request, style):
    simulator: Simulator = request.getfixturevalue(style)
    body = {"model": "sim-8b", "prompt": "Once upon a time", "max_tokens": 6}
    plain = simulator.post("/v1/completions", body)
    assert plain["object"] == "text_completion"
    stream = ask_events(simulator, {**body, "stream": True}, "/v1/completions")
    texts = [event["choices"][0]["text"] for event in stream if event != "[DONE]"]
    assert "".join(texts) == plain["choices"][0]["text"]
    assert [text for text in texts if text] == texts[:6]


def test_ids_are_those_of_the_client(vllm):
    raw = read_until(vllm.send(CHAT, streamed(max_tokens=2), X_Request_Id="my-id-7"), b"0\r\n\r\n")
    head, body, _ = unchunk(raw)
    assert b"X-Request-Id: my-id-7" in head
    assert body.count(b'"id":"chatcmpl-my-id-7"') == 4


def test_a_hostile_request_id_cannot_break_out(vllm):
    raw = read_until(vllm.send(CHAT, chat(max_tokens=1), X_Request_Id='a"},{<x>\tb'), b"usage")
    assert b'"id":"chatcmpl-axb"' in raw


def test_everything_says_that_it_is_simulated(vllm, sglang):
    for path in ("/v1/models", "/health", "/metrics", "/version", "/nowhere"):
        raw = vllm.send(path, b"", method="GET")
        assert b"X-Simulated: true\r\n" in read_until(raw, b"\r\n\r\n")
    assert json.loads(vllm.get("/v1/models"))["data"][0]["owned_by"] == "tokenswarm-simulator"
    assert json.loads(vllm.get("/version"))["simulated"] is True
    assert json.loads(sglang.get("/server_info"))["simulated"] is True
    assert json.loads(sglang.get("/get_server_info"))["page_size"] == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", CHAT, b"{", 400),
        ("POST", CHAT, chat(model="other"), 404),
        ("POST", CHAT, chat(max_tokens=10**9), 400),
        ("GET", CHAT, b"", 405),
        ("GET", "/nowhere", b"", 404),
        ("POST", CHAT, b"\xff\xfe", 400),
    ],
)
def test_refusals_are_whole_answers_and_the_connection_lives(vllm, method, path, body, status):
    client = vllm.send(path, body, method=method)
    head = read_until(client, b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    length = int(re.search(rb"Content-Length: (\d+)", head)[1])
    rest = head.partition(b"\r\n\r\n")[2]
    while len(rest) < length:
        rest += client.recv(1000)
    json.loads(rest)
    client.sendall(b"GET /health HTTP/1.1\r\nHost: sim\r\n\r\n")
    assert read_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 200 OK")


def test_requests_sent_ahead_are_answered_in_order(vllm):
    client = vllm.send(CHAT, chat(max_tokens=3))
    client.sendall(b"GET /v1/models HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\r\n")
    answers = read_all(client)
    assert answers.index(b"chat.completion") < answers.index(b'tokenswarm-simulator",')


def test_a_request_may_come_in_pieces(vllm):
    body = json.dumps(chat(max_tokens=2)).encode()
    data = b"POST %b HTTP/1.1\r\nHost: sim\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (
        CHAT.encode(),
        len(body),
        body,
    )
    client = socket.create_connection(vllm.address, timeout=20)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for start in range(0, len(data), 40):
        client.sendall(data[start : start + 40])
    assert b'"completion_tokens":2' in read_all(client)


def test_what_is_not_http_is_refused(vllm):
    client = socket.create_connection(vllm.address, timeout=20)
    client.sendall(b"\x16\x03\x01\x02\x00hello there\r\n\r\n")
    assert read_all(client).startswith(b"HTTP/1.1 400 ")


def wait_for(simulator: Simulator, metric: str, value: float) -> None:
    """Until a gauge has a value."""
    until(lambda: simulator.metric(metric) == value)


def test_a_client_that_leaves_frees_its_place_and_memory(start):
    simulator = start()
    client = simulator.send(CHAT, streamed("x" * 4000, max_tokens=5000, ignore_eos=True))
    wait_for(simulator, "vllm:num_requests_running", 1)
    assert simulator.metric("vllm:kv_cache_usage_perc") > 0
    client.close()
    wait_for(simulator, "vllm:num_requests_running", 0)
    assert simulator.metric("vllm:kv_cache_usage_perc") == 0


def test_usage_adds_up_to_the_counters(h100):
    names = ("prompt_tokens", "generation_tokens", "prefix_cache_hits", "prefix_cache_queries")

    def counters() -> list[float]:
        return [h100.metric(f"vllm:{name}_total") for name in names]

    before, usages = counters(), []
    for number in range(6):
        body = chat("A document that several readers share. " * 20 + f"Question {number % 2}?", max_tokens=20)
        usages.append(h100.post(CHAT, body)["usage"])
        usages.append(
            ask_events(h100, {**body, "stream": True, "stream_options": {"include_usage": True}})[-2]["usage"]
        )
    cached = [usage["prompt_tokens_details"]["cached_tokens"] for usage in usages]
    sums = [sum(usage[key] for usage in usages) for key in ("prompt_tokens", "completion_tokens")]
    sums += [sum(cached), sums[0]]
    assert [after - earlier for after, earlier in zip(counters(), before, strict=True)] == sums
    assert cached[0] == 0 and all(count > 150 and count % 16 == 0 for count in cached[1:])


@pytest.mark.parametrize("style", ["vllm", "sglang"])
def test_metrics_are_prometheus_text_with_the_engines_names(request, style):
    simulator: Simulator = request.getfixturevalue(style)
    simulator.post(CHAT, chat(max_tokens=3))
    families = {family.name: family for family in text_string_to_metric_families(simulator.get("/metrics").decode())}
    ttft = families[f"{style}:time_to_first_token_seconds"]
    samples = {sample.name.rsplit("_", 1)[1]: sample.value for sample in ttft.samples}
    assert samples["count"] >= 1
    assert samples["sum"] == pytest.approx(0.005 * samples["count"])
    assert families[f"{style}:generation_tokens"].samples[0].value >= 3


def test_the_cache_is_reset_only_when_idle(start):
    simulator = start("--time-scale", "5")
    path = "/reset_prefix_cache"
    body = chat("A text of some length. " * 20, max_tokens=4)
    for cached in (0, 112, 0):
        usage = simulator.post(CHAT, body)["usage"]
        assert usage["prompt_tokens_details"]["cached_tokens"] == cached
        if cached:
            assert simulator.post(path, {}) == {"success": True}
    client = simulator.send(CHAT, streamed(max_tokens=4000, ignore_eos=True))
    read_until(client, b'"content":"')
    assert simulator.post(path, {}) == {"success": False}
    client.close()


def test_sglang_refuses_to_flush_when_busy_and_can_wait(start):
    simulator = start("--style", "sglang", "--profile", "flat")
    client = simulator.send(CHAT, streamed(max_tokens=20))
    read_until(client, b"role")
    assert read_until(simulator.send("/flush_cache", b""), b"}").startswith(b"HTTP/1.1 400 ")
    assert simulator.post("/flush_cache?timeout=20", {}) == {"success": True}


def test_a_key_is_asked_for_and_read_from_the_environment(start, monkeypatch):
    monkeypatch.setenv("SIM_TEST_KEY", "planted-key")
    simulator = start("--api-key-env", "SIM_TEST_KEY", "--profile", "instant")
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert b" 401 " in read_until(simulator.send("/v1/models", b"", "GET", **headers), b"\r\n\r\n")
    assert simulator.post(CHAT, chat(max_tokens=1), Authorization="Bearer planted-key")["usage"]
    assert simulator.get("/health") == b""
    command_line = Path(f"/proc/{simulator.process.pid}/cmdline").read_bytes()
    assert b"planted-key" not in command_line


def test_settings_show_in_what_the_server_reports(start):
    simulator = start(
        "--style", "sglang", "--kv-tokens", "5000", "--max-num-seqs", "3", "--block-size", "2", "--no-prefix-cache"
    )  # fmt: skip
    info = json.loads(simulator.get("/server_info"))
    wanted = {"max_total_num_tokens": 5000, "context_length": 5000, "max_running_requests": 3, "page_size": 2}
    assert wanted.items() <= info.items()
    assert info["disable_radix_cache"] is True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_silently_also_with_streams_open(start, number):
    simulator = start("--profile", "flat")
    client = simulator.send(CHAT, streamed(max_tokens=500))
    read_until(client, b"role")
    simulator.process.send_signal(number)
    out, err = simulator.process.communicate(timeout=20)
    assert (simulator.process.returncode, out, err) == (0, "", "")


def run_sim(*flags: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "tokenswarm.sim", *flags], capture_output=True, text=True, timeout=30)


def test_a_taken_port_is_one_sentence_and_its_exit_code(vllm):
    done = run_sim("--port", str(vllm.address[1]))
    assert done.returncode == 14
    assert re.fullmatch(r"tokenswarm\.sim: the port .* is taken: .*\n", done.stderr)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--profile", "tpu"], "unknown simulator profile 'tpu'"),
        (["--fault", "earthquake"], "unknown fault 'earthquake'"),
        (["--fault", "truncate@2"], "between 0 and 1"),
        (["--api-key-env", "NOT_SET_ANYWHERE"], "NOT_SET_ANYWHERE is empty or not set"),
        (["--ttft-ms", "5"], "need a flat profile"),
        (["--truth-log", "/nowhere/at/all.csv"], "cannot be written"),
        (["--kv-tokens", "8"], "--block-size 16 is more"),
    ],
)
def test_bad_flags_are_one_sentence(flags, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        build(parser().parse_args(flags))
    assert caught.value.code == Exit.USAGE
    assert "\n" not in str(caught.value)


def test_the_table_of_descriptors_has_its_size_from_the_start(vllm):
    status = Path(f"/proc/{vllm.process.pid}/status").read_text()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert int(re.search(r"FDSize:\s+(\d+)", status)[1]) >= min(hard, 16_384)


def test_nothing_is_left_of_clients_that_leave(vllm):
    descriptors = f"/proc/{vllm.process.pid}/fd"
    before = len(os.listdir(descriptors))
    for _ in range(200):
        vllm.send(CHAT, streamed(max_tokens=50)).close()
    wait_for(vllm, "vllm:num_requests_running", 0)
    until(lambda: len(os.listdir(descriptors)) <= before + 2)
