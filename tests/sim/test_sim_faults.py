"""Each fault, byte by byte, and when it strikes."""

from __future__ import annotations

import json
import re
import select
import socket
from pathlib import Path

import pytest

from tokenswarm.base.errors import UserError
from tokenswarm.sim.faults import KINDS, Chaos, Fault, parse

from .simulators import Simulator, ask_events, chat, events, read_all, read_until, streamed, unchunk

CHAT = "/v1/chat/completions"
TOKENS = 6


def strike(simulator: Simulator, fault: str, **fields: object) -> socket.socket:
    """A connection on which a streamed request with a fault was sent."""
    return simulator.send(CHAT, streamed(max_tokens=TOKENS, **fields), X_Sim_Fault=fault)


def whole(simulator: Simulator, fault: str) -> bytes:
    """The body of a faulty stream whose chunked body is complete."""
    _, body, complete = unchunk(read_until(strike(simulator, fault), b"\r\n0\r\n\r\n"))
    assert complete
    return body


def texts(stream: list) -> list[str]:
    return [
        event["choices"][0]["delta"].get("content") or "" for event in stream if event != "[DONE]" and event["choices"]
    ]


@pytest.fixture
def good(vllm) -> list[str]:
    """The texts of the same answer without a fault."""
    return texts(ask_events(vllm, streamed(max_tokens=TOKENS)))


def test_a_reset_before_headers_sends_nothing(vllm):
    with pytest.raises(ConnectionResetError):
        read_all(strike(vllm, "reset_before_headers"))


def test_a_close_before_headers_sends_nothing_and_is_no_reset(vllm):
    assert read_all(strike(vllm, "close_before_headers")) == b""


def test_a_reset_mid_stream_comes_after_as_many_tokens_as_asked_for(vllm, good):
    client = strike(vllm, "reset_mid_stream:2")
    data = b""
    with pytest.raises(ConnectionResetError):
        while more := client.recv(1 << 16):
            data += more
    assert texts(events(unchunk(data)[1]))[1:] == good[1:3]


def test_close_mid_stream_ends_inside_a_chunk(vllm):
    raw = read_all(strike(vllm, "close_mid_stream:2"))
    assert raw.endswith(b'ffff\r\ndata: {"id":')


def test_a_bad_chunk_has_a_length_that_is_no_hexadecimal_number(vllm):
    assert b"\r\nnot-hex\r\n" in read_all(strike(vllm, "bad_chunk"))


def test_invalid_http_is_no_status_line(vllm):
    assert read_all(strike(vllm, "invalid_http")).startswith(b"HTP/banana")


def test_truncate_ends_the_body_but_not_the_answer(vllm, good):
    stream = events(whole(vllm, "truncate:2"))
    assert texts(stream) == good[:3]
    assert "[DONE]" not in stream
    assert all(event["choices"][0]["finish_reason"] is None for event in stream)


@pytest.mark.parametrize("fault", ["truncate:0", "error_event:0"])
def test_a_stream_may_fail_before_its_first_token(vllm, fault):
    stream = events(whole(vllm, fault))
    assert texts([event for event in stream if "choices" in event]) == [""]


def test_error_event_comes_after_200_and_is_followed_by_done(vllm):
    stream = events(whole(vllm, "error_event:2"))
    assert stream[-1] == "[DONE]"
    assert stream[-2]["error"]["code"] == 500
    assert len(stream) == 5


def test_malformed_json_is_one_event_of_a_stream_that_goes_on(vllm):
    parts = [part.removeprefix(b"data: ") for part in whole(vllm, "malformed_json:2").split(b"\n\n") if part]
    broken = []
    for number, part in enumerate(parts):
        try:
            json.loads(part)
        except ValueError:
            broken.append(number)
    assert broken == [3, len(parts) - 1]  # role, two tokens, the broken one ...; [DONE] is no JSON either


@pytest.mark.parametrize("status", [401, 403, 404, 422, 429, 500, 503])
def test_a_status_fault_answers_with_that_status_and_says_when_to_try_again(vllm, status):
    raw = read_until(strike(vllm, f"status:{status},3"), b'"code"')
    assert raw.startswith(b"HTTP/1.1 %d " % status)
    assert (b"Retry-After: 3\r\n" in raw) is (status in (429, 503))


def silent(client: socket.socket) -> bool:
    """Whether nothing comes for a while: the other tokens would be there after 10 ms."""
    return not select.select([client], [], [], 0.15)[0]


def test_no_headers_is_silence_and_with_seconds_a_delay(vllm):
    assert silent(strike(vllm, "no_headers"))
    assert b"[DONE]" in read_until(strike(vllm, "no_headers:0.05"), b"0\r\n\r\n")


def test_no_first_token_sends_headers_and_role_only(vllm):
    client = strike(vllm, "no_first_token")
    assert read_until(client, b'"role"').startswith(b"HTTP/1.1 200 OK")
    assert silent(client)


def test_stall_falls_silent_after_the_first_token(vllm, good):
    client = strike(vllm, "stall")
    data = read_until(client, b'"content":"' + good[1].encode())
    assert silent(client)
    assert texts(events(unchunk(data)[1]))[1:] == good[1:2]
    assert texts(events(whole(vllm, "stall:1,0.05"))) == good


def test_endless_tokens_never_finish_and_end_with_the_client(vllm, good):
    client = strike(vllm, "endless_tokens:0.001")
    data = b""
    while data.count(b"data: ") < 40:
        data += client.recv(1 << 16)
    client.close()
    assert b'"finish_reason":"' not in data


def test_endless_pings_never_end_the_body(vllm):
    client = strike(vllm, "endless_pings:0.001")
    data = b""
    while data.count(b"\r\n: ping\n\n\r\n") < 10:
        data += client.recv(1 << 16)
    assert b"[DONE]" not in data


@pytest.mark.parametrize(
    ("fault", "left_out"),
    [("no_usage", '"usage":'), ("no_done", "[DONE]"), ("no_finish_reason", '"finish_reason":"')],
)
@pytest.mark.parametrize("style", ["vllm", "sglang"])
def test_what_is_left_out_is_left_out_alone(request, style, fault, left_out):
    simulator: Simulator = request.getfixturevalue(style)
    body = whole(simulator, fault).replace(b',"usage":null', b"").decode()
    marks = {'"usage":', "[DONE]", '"finish_reason":"'}
    assert {mark for mark in marks if mark in body} == marks - {left_out}


def test_a_huge_event_is_larger_than_eight_megabytes_and_sent_whole(vllm):
    body = whole(vllm, "huge_event")
    assert max(len(part) for part in body.split(b"\n\n")) > 8_000_000
    assert texts(events(body))[2].startswith("huge huge")


def test_split_utf8_breaks_inside_a_character(vllm):
    client = strike(vllm, "split_utf8")
    packets = []
    while not packets or not packets[-1].endswith(b"0\r\n\r\n"):
        packets.append(client.recv(1 << 16))
    assert texts(events(unchunk(b"".join(packets))[1]))[1:] == ["né漢🙂"] * TOKENS
    # the kernel may join packets if this process is late, but not the cuts of all of them
    assert any(packet.endswith("🙂".encode()[:2]) for packet in packets)


def test_dribble_and_coalesce_change_packets_and_not_the_stream(vllm, good):
    assert texts(events(whole(vllm, "dribble:40"))) == good
    assert texts(events(whole(vllm, "coalesce:3"))) == good


def test_coalesce_writes_several_events_at_once(vllm):
    client = strike(vllm, "coalesce:100")
    with_head = read_until(client, b"\r\n\r\n").partition(b"\r\n\r\n")[2]  # one read may bring the head and the events
    assert (with_head or client.recv(1 << 20)).count(b"data: ") == TOKENS + 3


def test_merge_tokens_puts_several_into_an_event_and_usage_tells(vllm, good):
    stream = events(whole(vllm, "merge_tokens:4"))
    assert texts(stream)[1:] == ["".join(good[1:5]), "".join(good[5:])]
    assert stream[-2]["usage"]["completion_tokens"] == TOKENS


def test_merged_tokens_never_mix_reasoning_and_answer(vllm):
    body = streamed(max_tokens=4000, chat_template_kwargs={"enable_thinking": True})
    plain, merged = (ask_events(vllm, body, **headers) for headers in ({}, {"X_Sim_Fault": "merge_tokens:7"}))

    def joined(stream: list, field: str) -> str:
        return "".join(event["choices"][0]["delta"].get(field) or "" for event in stream[:-2])

    assert len(merged) < len(plain) / 5
    for field in ("reasoning", "content"):
        assert joined(merged, field) == joined(plain, field)


def test_lines_that_end_in_crlf_hold_the_same_events(vllm, good):
    body = whole(vllm, "crlf")
    assert body.count(b"\r\n\r\n") == TOKENS + 3
    assert texts(events(body.replace(b"\r\n", b"\n"))) == good


def test_comments_and_pings_between_events_change_none_of_them(vllm, good):
    body = whole(vllm, "comments")
    assert body.count(b": ping\n\n") == TOKENS + 3
    lines = [line for line in body.split(b"\n") if line.startswith(b"data: ")]
    assert texts(events(b"\n\n".join(lines))) == good


def test_multi_line_events_are_joined_by_a_line_break(vllm, good):
    body = whole(vllm, "multi_line")
    assert body.count(b"\ndata: ") >= TOKENS
    assert texts(events(re.sub(rb",\ndata: ", b",", body))) == good


def test_events_without_the_space_after_data_hold_the_same_tokens(vllm, good):
    body = whole(vllm, "no_space")
    assert b"data: " not in body
    assert texts(events(body.replace(b"data:", b"data: "))) == good


def test_close_delimited_has_neither_length_nor_chunks(vllm, good):
    head, _, body = read_all(strike(vllm, "close_delimited")).partition(b"\r\n\r\n")
    assert b"Content-Length" not in head and b"Transfer-Encoding" not in head
    assert texts(events(body)) == good


def plain(simulator: Simulator, fault: str) -> socket.socket:
    return simulator.send(CHAT, chat(max_tokens=TOKENS), X_Sim_Fault=fault)


def test_plain_answers_can_fail_too(vllm):
    with pytest.raises(ConnectionResetError):
        read_all(plain(vllm, "reset_mid_stream"))
    head, _, body = read_all(plain(vllm, "close_mid_stream")).partition(b"\r\n\r\n")
    assert 0 < len(body) < int(re.search(rb"Content-Length: (\d+)", head)[1])
    assert b'"error"' in read_until(plain(vllm, "error_event"), b"}}")
    assert b'"usage"' not in read_until(plain(vllm, "no_usage"), b'"finish_reason":"length"')
    assert b'"finish_reason":null' in read_until(plain(vllm, "truncate"), b"usage")
    assert silent(plain(vllm, "no_headers"))
    assert b"usage" in read_all(plain(vllm, "close_delimited"))


def test_a_fault_leaves_other_requests_and_the_next_one_alone(vllm, good):
    client = strike(vllm, "truncate:2")
    read_until(client, b"\r\n0\r\n\r\n")
    body = json.dumps(streamed(max_tokens=TOKENS)).encode()
    client.sendall(b"POST %b HTTP/1.1\r\nHost: sim\r\nContent-Length: %d\r\n\r\n%b" % (CHAT.encode(), len(body), body))
    assert texts(events(unchunk(read_until(client, b"\r\n0\r\n\r\n"))[1])) == good


def test_an_unknown_fault_is_refused_with_the_known_ones(vllm):
    raw = read_until(strike(vllm, "earthquake"), b"}}")
    assert raw.startswith(b"HTTP/1.1 400 ") and b"reset_mid_stream" in raw


@pytest.mark.parametrize("text", ["stall:x", "truncate:1,2", "stall:-1", "status:99", "", "stall:nan"])
def test_bad_parameters_are_refused(text):
    with pytest.raises(ValueError, match="fault"):
        parse(text)


def test_parameters_have_defaults():
    assert parse("stall") == Fault("stall")
    assert (parse("stall").value("tokens"), parse("stall").value("seconds")) == (1, None)
    assert parse("stall:4,2.5").value("seconds") == 2.5


def test_chaos_strikes_as_often_as_asked_and_the_same_way_each_time():
    rules = ["truncate@0.2", "status:503@0.1"]
    first, again, other = (
        [chaos.draw() for _ in range(5000)] for chaos in (Chaos(rules, 1), Chaos(rules, 1), Chaos(rules, 2))
    )
    assert first == again != other
    kinds = [fault.kind for fault in first if fault]
    assert kinds.count("truncate") / 5000 == pytest.approx(0.2, abs=0.02)
    assert kinds.count("status") / 5000 == pytest.approx(0.08, abs=0.015)  # where truncate did not strike


def test_chaos_without_a_probability_is_always():
    assert Chaos(["crlf"], 0).draw() == Fault("crlf")
    with pytest.raises(UserError, match="not a probability"):
        Chaos(["crlf@often"], 0)


def test_server_wide_faults_strike(start):
    simulator = start("--profile", "instant", "--fault", "status:503@0.5", "--seed", "3")
    statuses = [read_until(simulator.send(CHAT, chat(max_tokens=1)), b"\r\n")[9:12] for _ in range(40)]
    assert 10 < statuses.count(b"503") < 30


def test_the_manual_has_each_fault():
    manual = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")
    missing = [kind for kind in KINDS if f"| `{kind}" not in manual]
    assert missing == []
