"""Answers as gateways really send them: other shapes, odd fields, foreign errors, compression."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable

import brotli
import gevent
import pytest

from tests.waiting import for_ever, until
from tokenswarm.client.answer import Answer, Usage
from tokenswarm.client.client import OTHER_MODEL, LLMClient, is_other_model

from .events import ROLE, decode, delta, finish, sse, stream, text_of, usage
from .servers import END, STREAM_BODY, STREAM_HEAD, ByteServer, Peer, answering, ask, chunk, plain

Serve = Callable[..., ByteServer]
Connect = Callable[..., LLMClient]
WORDS = [delta(content="Hel"), delta(content="lo")]


def thinking(text: str) -> dict[str, object]:
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}


# ---- contents and calls in other shapes


@pytest.mark.parametrize(
    ("content", "answer", "reasoning", "odd"),
    [
        ([{"type": "text", "text": "a"}], "a", "", []),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab", "", []),
        ([thinking("why")], "", "why", []),
        ([thinking("why"), {"type": "text", "text": "a"}], "a", "why", []),
        ([{"type": "reasoning", "text": "why"}], "", "why", []),
        ([{"type": "output_text", "text": "a"}], "a", "", []),
        ({"type": "text", "text": "a"}, "a", "", []),
        (["a", "b"], "ab", "", []),
        ([], "", "", []),
        ({}, "", "", ["content is an object"]),
        (7, "7", "", ["content is a number"]),
        (True, "", "", ["content is true or false"]),
        ([{"type": "image_url", "image_url": {}}], "", "", ["content has a part without text"]),
    ],
)
def test_a_content_in_parts_is_its_texts_and_its_thoughts(
    content: object, answer: str, reasoning: str, odd: list
) -> None:
    decoder = decode(sse(ROLE), sse(delta(content=content)), sse(delta(content="!")), sse(finish()), sse("[DONE]"))
    assert (text_of(decoder.content), text_of(decoder.reasoning)) == (answer + "!", reasoning)
    assert (decoder.error, list(decoder.odd)) == (None, odd)
    assert decoder.token_stamps[0] == (2 if answer or reasoning else 3)


def test_parts_within_parts_without_end_are_no_text_and_no_hang() -> None:
    content: object = "deep"
    for _ in range(200):
        content = [content]
    decoder = decode(sse(delta(content=content)), sse(delta(content="a")))
    assert (text_of(decoder.content), decoder.error) == ("a", None)


@pytest.mark.parametrize(
    ("calls", "words"),
    [
        ([{"index": 0, "function": {"name": "f", "arguments": "{}"}}], "f{}"),
        ([{"index": 0, "function": {"name": "f", "arguments": {"a": 1}}}], 'f{"a":1}'),
        ([{"index": 0, "function": {"name": "f", "arguments": {}}}], "f"),
        ({"index": 0, "function": {"name": "f", "arguments": "{}"}}, "f{}"),
        ([{"type": "custom", "custom": {"name": "f", "input": "x"}}, {"function": {"arguments": {}}}], "fx"),
        ([{"name": "f", "arguments": {"a": 1}}], 'f{"a":1}'),
        ({}, ""),
        ("f", ""),
        ([7], ""),
        ([{"function": 7}], ""),
    ],
)
def test_calls_of_tools_in_their_variants_are_text(calls: object, words: str) -> None:
    decoder = decode(sse(delta(tool_calls=calls)), sse(finish("tool_calls")))
    assert (text_of(decoder.content), decoder.error, decoder.finish_reason) == (words, None, "tool_calls")


def test_the_older_function_call_is_text_too() -> None:
    assert text_of(decode(sse(delta(function_call={"name": "f", "arguments": "{}"}))).content) == "f{}"


@pytest.mark.parametrize(
    ("event", "odd"),
    [
        ({"choices": {}, "usage": {"prompt_tokens": 3}}, "choices is an object"),
        ({"choices": [{"delta": []}]}, "delta is a list"),
        ({"choices": [{"delta": {}, "finish_reason": {}}]}, "finish_reason is an object"),
        ({"choices": [{"delta": {}, "finish_reason": 1}]}, "finish_reason is a number"),
        ({"choices": [{"delta": {"refusal": {}}}]}, "refusal is an object"),
        ({"choices": [], "usage": []}, "usage is a list"),
        ({"choices": [], "usage": {"prompt_tokens": "many"}}, "usage.prompt_tokens is a text"),
        ({"choices": [], "usage": {"prompt_tokens": 3.5}}, "usage.prompt_tokens is a number"),
        ({"choices": [], "usage": {"prompt_tokens_details": []}}, "usage.prompt_tokens_details is a list"),
        (
            {"choices": [], "usage": {"prompt_tokens_details": {"cached_tokens": "x"}}},
            "usage.prompt_tokens_details.cached_tokens is a text",
        ),
        ({"choices": [], "timings": 7}, "timings is a number"),
    ],
)
def test_an_odd_optional_field_is_noted_once_and_fails_nothing(event: dict, odd: str) -> None:
    decoder = decode(stream(ROLE, *WORDS, event, event, finish(), usage(3, 2)))
    assert (text_of(decoder.content), decoder.error, decoder.done) == ("Hello", None, True)
    assert decoder.usage == Usage(3, None, 2, None)
    assert list(decoder.odd) == [odd]


@pytest.mark.parametrize(
    "event",
    [
        b'{"choices": [{"delta": {"content": "lo"}, "logprobs": {"content": [{"logprob": -Infinity, "x": NaN}]}}]}',
        b'{"choices": [{"delta": {"content": "lo"}}], "created": 1e400}',
        b'{"choices": [{"delta": {"content": "lo"}}], "usage": {"completion_tokens": 1e999}}',
        b'{"choices": [{"delta": {"content": "lo"}}], "took": ' + b"9" * 400 + b"}",
    ],
)
def test_a_number_that_is_none_fails_no_answer(event: bytes) -> None:
    decoder = decode(
        stream(ROLE, WORDS[0]).removesuffix(b"data: [DONE]\n\n"), b"data: " + event + b"\n\n", sse("[DONE]")
    )
    assert (text_of(decoder.content)[-2:], decoder.error, decoder.done) == ("lo", None, True)
    assert decoder.usage is None or decoder.usage.completion_tokens is None
    assert all(
        odd in ("its JSON has a number that is not finite", "usage.completion_tokens is null") for odd in decoder.odd
    )


def test_no_text_of_the_server_gets_into_what_is_noted() -> None:
    event = {"odd": ["evil"], "choices": [{"delta": {"content": {"evil": "\x1b[31m"}, "tool_calls": {"evil": 1}}}]}
    assert "evil" not in str(decode(sse(event)).odd)


# ---- usage


@pytest.mark.parametrize(
    "counts",
    [
        {"prompt_tokens_details": {"cached_tokens": 5}},
        {"cached_tokens": 5},
        {"prompt_cache_hit_tokens": 5},
        {"input_tokens_details": {"cached_tokens": 5}},
        {"cache_read_input_tokens": 5},
        {"num_cached_tokens": 5},
        {"prompt_tokens_details": {"cached_tokens": None}, "cached_tokens": 5},
    ],
)
def test_cached_tokens_are_found_under_each_name(counts: dict) -> None:
    assert decode(sse(usage(9, 2, **counts))).usage == Usage(9, 5, 2, None)


def test_cached_tokens_may_stand_beside_usage() -> None:
    event = usage(9, 2) | {"timings": {"cache_n": 5, "prompt_n": 4}}
    assert decode(sse(event)).usage == Usage(9, 5, 2, None)


def test_counts_called_input_and_output_are_the_same_counts() -> None:
    assert decode(sse({"choices": [], "usage": {"input_tokens": 9, "output_tokens": 2}})).usage == Usage(9, None, 2)


@pytest.mark.parametrize(
    "event",
    [
        {"choices": [{"delta": {}, "finish_reason": "stop", "usage": {"prompt_tokens": 9, "completion_tokens": 2}}]},
        {"choices": [], "x_groq": {"usage": {"prompt_tokens": 9, "completion_tokens": 2}}},
        {"usage": {"prompt_tokens": 9, "completion_tokens": 2}},
        {"choices": None, "usage": {"prompt_tokens": "9", "completion_tokens": 2.0}},
    ],
)
def test_usage_is_found_in_either_place(event: dict) -> None:
    assert decode(stream(*WORDS, event)).usage == Usage(9, None, 2, None)


def test_usage_that_comes_in_pieces_is_put_together() -> None:
    first = {"choices": [], "usage": {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 5}}}
    last = {"choices": [], "usage": {"completion_tokens": 2, "prompt_tokens": 0}}
    assert decode(stream(first, *WORDS, last)).usage == Usage(9, 5, 2, None)


def test_running_counts_end_with_the_last_one() -> None:
    events = [
        delta(content=text) | {"usage": {"prompt_tokens": 9, "completion_tokens": number}}
        for number, text in enumerate("abc", 1)
    ]
    decoder = decode(*(sse(event) for event in events))
    assert (decoder.usage.completion_tokens, text_of(decoder.content)) == (3, "abc")


def test_zero_tokens_for_events_with_text_is_no_count() -> None:
    answer = Answer(chunks=10, usage=Usage(100, None, 0))
    assert (answer.completion_tokens, answer.token_source) == (10, "chunks")
    assert (Answer(chunks=0, usage=Usage(1, None, 0)).completion_tokens) == 0


# ---- what is no success


def test_done_alone_is_no_success(serve: Serve, connect: Connect) -> None:
    answer = ask(connect(serve(answering(STREAM_HEAD + chunk(sse("[DONE]")) + END)).url))
    assert (answer.status, answer.error) == ("failed", "truncated")


def test_nothing_said_but_tokens_counted_is_one(serve: Serve, connect: Connect) -> None:
    body = stream(ROLE, usage(3, 2))  # such as special tokens alone
    assert ask(connect(serve(answering(STREAM_HEAD + chunk(body) + END)).url)).ok


OWN_SHAPE = {
    "id": "c",
    "choices": None,
    "usage": {"total_tokens": 0},
    "base_resp": {"status_code": 1002, "status_msg": "rate limit exceeded"},
}


@pytest.mark.parametrize(
    "document",
    [
        OWN_SHAPE,
        {"code": 429, "msg": "rate limit exceeded"},
        {"errors": [{"reason": "rate limit exceeded"}]},
        {"type": "error", "error": {"type": "x", "message": "rate limit exceeded"}},
        {"error": "rate limit exceeded"},
        {"error": {"code": 502, "message": "rate limit exceeded"}, "choices": [{"delta": {"content": ""}}]},
        {"success": False, "title": "rate limit exceeded"},
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
def test_an_error_of_a_foreign_shape_shows_what_the_server_said(
    serve: Serve, connect: Connect, document: dict, streamed: bool
) -> None:
    body = json.dumps(document).encode()
    answer = ask(connect(serve(answering(plain(body))).url), stream=streamed)
    assert answer.status == "failed"
    assert "rate limit exceeded" in answer.error_detail


@pytest.mark.parametrize(
    "event",
    [OWN_SHAPE, {"code": 429, "msg": "rate limit exceeded"}, {"success": False, "title": "rate limit exceeded"}],
)
def test_a_foreign_error_as_an_event_is_shown_too(serve: Serve, connect: Connect, event: dict) -> None:
    answer = ask(connect(serve(answering(STREAM_HEAD + chunk(stream(event, done=False)) + END)).url))
    assert answer.status == "failed"
    assert "rate limit exceeded" in answer.error_detail


def test_a_good_answer_that_says_that_it_is_good_is_no_error() -> None:
    good = [event | {"base_resp": {"status_code": 0, "status_msg": ""}, "error": None} for event in WORDS]
    assert decode(stream(*good, finish())).error is None


@pytest.mark.parametrize("ping", [{"type": "ping"}, {"id": "x"}, {}])
def test_an_event_that_says_nothing_is_no_error(ping: dict) -> None:
    decoder = decode(stream(ping, *WORDS, finish()))
    assert (text_of(decoder.content), decoder.error) == ("Hello", None)


def test_an_answer_of_something_else_shows_how_it_begins(serve: Serve, connect: Connect) -> None:
    answer = ask(connect(serve(answering(plain(b"<html>Please log in</html>"))).url))
    assert "Please log in" in answer.error_detail


# ---- compression


def _gzip_each(body: bytes) -> bytes:
    return b"".join(gzip.compress(piece + b"\n\n") for piece in body.split(b"\n\n") if piece)


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        (b"gzip", gzip.compress(STREAM_BODY)),
        (b"x-gzip", gzip.compress(STREAM_BODY)),
        (b"gzip", _gzip_each(STREAM_BODY)),
        (b"deflate", zlib.compress(STREAM_BODY)),
        (b"deflate", zlib.compress(STREAM_BODY)[2:-4]),
        (b"br", brotli.compress(STREAM_BODY)),
        (b"identity", STREAM_BODY),
        (b"GZIP", gzip.compress(STREAM_BODY)),
    ],
)
def test_a_compressed_stream_is_read_and_noted(serve: Serve, connect: Connect, coding: bytes, packed: bytes) -> None:
    head = STREAM_HEAD[:-2] + b"Content-Encoding: " + coding + b"\r\n\r\n"
    server = serve(answering(head + chunk(packed[:20]) + chunk(packed[20:]) + END))
    client = connect(server.url)
    for _ in range(2):
        answer = ask(client)
        assert (answer.status, answer.text, answer.usage.completion_tokens) == ("ok", "Hello", 2)
        assert len(answer.oddities) == (coding != b"identity")
    assert server.connections == 1


def test_a_compressed_error_is_read(serve: Serve, connect: Connect) -> None:
    body = gzip.compress(b'{"error": {"message": "no such model"}}')
    answer = ask(connect(serve(answering(plain(body, b"404 Not Found", b"Content-Encoding: gzip\r\n"))).url))
    assert (answer.error, answer.error_detail) == ("not_found", "no such model")


@pytest.mark.parametrize(
    ("coding", "body", "says"),
    [
        (b"zstd", b"abc", "compressed in a way that is not read here ('zstd')"),
        (b"gzip, br", b"abc", "'gzip, br'"),
        (b"gzip", b"not gzip at all", "says that it is gzip, but is not"),
        (b"br", b"not br at all", "says that it is br, but is not"),
        (b"gzip", gzip.compress(bytes(70_000_000)), "larger than 64 MiB when decompressed"),
    ],
)
def test_what_cannot_be_decompressed_fails_with_the_reason(
    serve: Serve, connect: Connect, coding: bytes, body: bytes, says: str
) -> None:
    server = serve(answering(plain(body, extra=b"Content-Encoding: " + coding + b"\r\n")))
    answer = ask(connect(server.url))
    assert (answer.status, answer.error) == ("failed", "malformed_http")
    assert says in answer.error_detail


def test_no_compression_is_asked_for(serve: Serve, connect: Connect) -> None:
    server = serve(answering(plain(b"{}")))
    ask(connect(server.url))
    assert b"\r\nAccept-Encoding: identity\r\n" in server.requests[0][1] + b"\r\n"


# ---- [DONE] ends an answer


BODY_OPEN = STREAM_HEAD + chunk(STREAM_BODY)


def held(
    pieces: tuple[bytes, ...], late: bytes, wait: bool = False, sent: list[bytes] | None = None
) -> Callable[[Peer], None]:
    """A script that leaves each answer open for a while behind its [DONE], then sends `late`, which is in `sent` then.
    `wait`: not before the test is over."""
    sent = [] if sent is None else sent

    def script(peer: Peer) -> None:
        while peer.request() is not None:
            peer.send_apart(*pieces, pause_s=0.02)
            if wait:
                for_ever()
            gevent.sleep(0.05)
            peer.send(late)
            sent.append(late)

    return script


@pytest.mark.parametrize(
    "pieces",
    [
        (BODY_OPEN,),
        (BODY_OPEN[:-12], BODY_OPEN[-12:]),
        (BODY_OPEN[:-5], BODY_OPEN[-5:]),
        (BODY_OPEN[:-2], BODY_OPEN[-2:]),
        (STREAM_HEAD + chunk(STREAM_BODY[:-1]), chunk(STREAM_BODY[-1:])),
        (STREAM_HEAD + chunk(STREAM_BODY[:-9]), *(chunk(bytes([byte])) for byte in STREAM_BODY[-9:])),
        (BODY_OPEN + chunk(b": a comment of many more bytes than a short read has\n\n"),),
        (b"HTTP/1.1 200 OK\r\n\r\n" + STREAM_BODY,),
    ],
)
def test_an_answer_ends_with_done_though_its_body_stays_open(
    serve: Serve, connect: Connect, pieces: tuple[bytes, ...]
) -> None:
    client = connect(serve(held(pieces, END, wait=True)).url)
    with gevent.Timeout(30, AssertionError("the user was held")):
        answer = ask(client)
    assert (answer.status, answer.text, answer.usage.completion_tokens) == ("ok", "Hello", 2)
    assert client.in_flight == 0


@pytest.mark.parametrize(("late", "connections"), [(END, 1), (chunk(b"\n") + END, 1), (chunk(sse(WORDS[0])) + END, 2)])
def test_a_connection_is_used_again_once_the_body_has_ended_unless_more_came(
    serve: Serve, connect: Connect, late: bytes, connections: int
) -> None:
    sent: list[bytes] = []
    server = serve(held((BODY_OPEN,), late, sent=sent))
    client = connect(server.url)
    for number in range(2):
        assert ask(client).text == "Hello"
        until(lambda number=number: len(sent) > number and not any(each.lingering for each in client._lingering))
    assert server.connections == connections


def test_a_connection_whose_body_never_ends_is_given_up(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenswarm.client.client.MAX_IDLE_S", 0.0)
    server = serve(held((BODY_OPEN,), b""))
    client = connect(server.url)
    assert [ask(client).text for _ in range(3)] == ["Hello"] * 3
    assert server.connections == 3
    assert len(client._lingering) <= 1


def test_done_inside_a_text_ends_nothing(serve: Serve, connect: Connect) -> None:
    text = "the end is data: [DONE]\n\ndata: [DONE]"
    body = [chunk(sse(event)) for event in (delta(content=text), delta(content="!"), finish(), "[DONE]")]

    def script(peer: Peer) -> None:
        while peer.request() is not None:
            peer.send_apart(STREAM_HEAD, *body, END)

    assert ask(connect(serve(script).url)).text == text + "!"


def test_an_event_behind_done_in_the_same_read_spoils_the_connection_alone(serve: Serve, connect: Connect) -> None:
    server = serve(answering(BODY_OPEN + chunk(sse(WORDS[0])) + END))
    client = connect(server.url)
    for _ in range(2):
        answer = ask(client)
        assert (answer.status, answer.text) == ("ok", "Hello")
        assert answer.oddities == ("an event behind [DONE]",)
    assert server.connections == 2


def test_an_answer_that_is_over_is_not_cancelled_by_the_end_of_the_run(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenswarm.client.wire._END_GRACE_S", 5.0)
    client = connect(serve(held((BODY_OPEN,), END)).url)
    asked = gevent.spawn(ask, client)
    gevent.sleep(0.2)
    client.cancel_all()
    assert (asked.get().status, asked.get().text) == ("ok", "Hello")


# ---- the model that answers


@pytest.mark.parametrize(
    ("asked", "answered", "other"),
    [
        ("llama-3-8b", "llama-3-8b", False),
        ("meta-llama/Llama-3-8B", "llama-3-8b", False),
        ("gpt-5", "gpt-5-2026-01-01", False),
        ("llama3", "llama3:latest", False),
        ("/models/tiny/", "tiny", False),
        ("llama-3-70b", "llama-3-8b", True),
        ("gpt-5", "claude-4", True),
        (None, "tiny", False),
        ("tiny", "", False),
    ],
)
def test_one_name_written_in_several_ways_is_one_model(asked: object, answered: str, other: bool) -> None:
    assert is_other_model(asked, answered) is other


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(("answered", "odd"), [("tiny", ()), ("other", (OTHER_MODEL,)), (7, ())])
def test_an_answer_that_names_another_model_says_so(
    streamed: bool, answered: object, odd: tuple[str, ...], serve: Serve, connect: Connect
) -> None:
    stream_of = [{**event, "model": answered} for event in (ROLE, delta(content="a"), finish())]
    whole = {"model": answered, "choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}
    server = serve(
        answering(STREAM_HEAD + chunk(stream(*stream_of)) + END if streamed else plain(json.dumps(whole).encode()))
    )
    answer = ask(connect(server.url), model="tiny", stream=streamed)
    assert answer.ok and answer.text == "a"
    assert answer.oddities == odd
