"""Good answers in unusual forms that other clients accept: HTTP, events, characters."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.client.events import ROLE, decode, delta, finish, sse, stream, text_of, usage
from tests.client.servers import END, STREAM, STREAM_BODY, STREAM_HEAD, answering, ask, chunk, plain
from tokenswarm.client.client import LLMClient

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
BODY = chunk(STREAM_BODY) + END


@pytest.mark.parametrize(
    "answer",
    [
        STREAM_HEAD + b"0000%X  \r\n%b\r\n" % (len(STREAM_BODY), STREAM_BODY) + END,
        HEAD + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n" + BODY,
        HEAD + b"X-A: 1\r\n folded\r\n" + CHUNKED + b"\r\n" + BODY,
        (HEAD + CHUNKED + b"\r\n").replace(b"\r\n", b"\n") + BODY,
        STREAM_HEAD.replace(b"200 OK", b"201 Created") + BODY,
        STREAM_HEAD.replace(b"200 OK", b"200") + BODY,
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + STREAM,
        STREAM_HEAD + chunk(STREAM_BODY) + b"0\r\nServer-Timing: x\r\n\r\n",
        STREAM_HEAD.replace(b"text/event-stream", b"application/json; charset=utf-8") + BODY,
        STREAM_HEAD + chunk(b": still working\n\n" * 500 + b"retry: 3000\nid: 1\n\n" + STREAM_BODY) + END,
    ],
    ids=[
        "blanks behind the size of a chunk",
        "a length beside chunks",
        "a folded header",
        "a head whose lines end with LF",
        "status 201",
        "no words behind the status",
        "early hints",
        "a trailer",
        "another content type",
        "comments, ids and retries",
    ],
)
def test_an_answer_in_odd_http_is_read_and_its_connection_used_again(
    serve: Callable, connect: Callable[..., LLMClient], answer: bytes
) -> None:
    server = serve(answering(answer))
    client = connect(server.url)
    assert [(each.status, each.text) for each in (ask(client), ask(client))] == [("ok", "Hello")] * 2
    assert server.connections == 1


@pytest.mark.parametrize("status", [b"204 No Content", b"205 Reset Content", b"304 Not Modified"])
def test_a_status_without_an_answer_is_none(serve: Callable, connect: Callable[..., LLMClient], status: bytes) -> None:
    assert ask(connect(serve(answering(plain(b"", status))).url)).error == "unexpected_status"


def test_a_port_for_grpc_is_named(serve: Callable, connect: Callable[..., LLMClient]) -> None:
    settings = b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64"
    answer = ask(connect(serve(answering(settings)).url))
    assert answer.error == "malformed_http" and "HTTP/2 alone" in str(answer.error_detail)


# ---- characters


@pytest.mark.parametrize(
    ("inside", "text", "odd"),
    [
        (b"\xff", "\ufffd", "its text is not UTF-8"),
        (b"\x01", "\x01", "its JSON has a control character in a text"),
        (b"\\ud83d", "\ufffd", "its text has half a character"),
        (b"\\ud83d\\ude00", "\U0001f600", None),
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
def test_a_text_with_characters_that_are_none_is_a_text(
    serve: Callable, connect: Callable[..., LLMClient], inside: bytes, text: str, odd: str | None, streamed: bool
) -> None:
    said = b'"content": "H%blo"}, "finish_reason": "stop"}]}' % inside
    if streamed:
        body = chunk(b'data: {"choices": [{"delta": {' + said + b"\n\ndata: [DONE]\n\n") + END
        raw = STREAM_HEAD + body
    else:
        raw = plain(b'{"choices": [{"message": {' + said)
    answer = ask(connect(serve(answering(raw)).url), stream=streamed)
    assert (answer.status, answer.text) == ("ok", f"H{text}lo")
    assert answer.oddities == (() if odd is None else (odd,))
    answer.text.encode()


def test_halves_of_a_character_in_two_events_become_one() -> None:
    """As servers do that cut their texts in UTF-16."""
    first, second = (
        b'data: {"choices": [{"delta": {"content": "%b"}}]}\n\n' % half for half in (b"a\\ud83d", b"\\ude00b")
    )
    decoder = decode(first, second, sse(finish()), sse("[DONE]"))
    assert text_of(decoder.content) == "a\U0001f600b" and decoder.error is None
    assert decoder.token_stamps == [1, 2], "each event counts"


def test_half_a_character_at_the_very_end_is_left_out() -> None:
    decoder = decode(b'data: {"choices": [{"delta": {"content": "a\\ud83d"}}]}\n\n', sse(finish()), sse("[DONE]"))
    assert text_of(decoder.content) == "a" and decoder.error is None


def test_half_a_character_in_a_call_can_be_written() -> None:
    call = b'{"index": 0, "function": {"name": "f", "arguments": "{\\"a\\": \\"\\ud83d\\"}"}}'
    decoder = decode(b'data: {"choices": [{"delta": {"tool_calls": [' + call + b"]}}]}\n\n", sse(finish("tool_calls")))
    [one] = decoder.calls.whole()
    repr(one).encode()


# ---- ends


@pytest.mark.parametrize("done", ["[done]", '"[DONE]"', " [DONE] "])
def test_an_end_that_is_written_otherwise_is_one(done: str) -> None:
    decoder = decode(stream(ROLE, delta(content="a"), usage(1, 1), done=False), sse(done))
    assert decoder.done and decoder.error is None


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b'error: {"code": 500, "message": "out of memory"}\n\n', "engine_error"),
        (b'error: {"message": "rate limit"}\n', "rate_limited"),
        (b"error: out of memory\n\n", "engine_error"),
    ],
)
def test_a_failure_told_in_a_field_of_its_own_is_one(line: bytes, kind: str) -> None:
    decoder = decode(sse(delta(content="a")), line)
    assert decoder.error is not None and decoder.error[0] == kind
    assert decoder.error[1] in ("out of memory", "rate limit")


def test_of_a_stream_that_breaks_off_the_line_that_says_why_is_shown(
    serve: Callable, connect: Callable[..., LLMClient]
) -> None:
    body = sse(delta(content="a")) + b'{"error": {"message": "CUDA out of memory"}}\n'
    answer = ask(connect(serve(answering(STREAM_HEAD + chunk(body) + END)).url))
    assert answer.error == "truncated" and "CUDA out of memory" in str(answer.error_detail)
