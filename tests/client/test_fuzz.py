"""Any bytes, split in any way: never an exception, and the result does not depend on the split."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tokenswarm.client.answer import Answer
from tokenswarm.client.decode import Decoder
from tokenswarm.client.http import ResponseReader
from tokenswarm.client.refusals import error_text
from tokenswarm.client.stream import StreamDecoder, split_thinking
from tokenswarm.contract.tables import ERROR_KINDS, REQUEST_COLUMNS, format_rows

FUZZ = settings.get_profile("client")

# ---- strategies

# Fragments that matter to the grammars, so that random bytes reach deep.
FRAGMENTS = [
    b"data:", b"data: ", b"\n", b"\r", b"\r\n", b"\n\n", b": ping", b"event: error", b"[DONE]", b"{", b"}", b'"', b"[",
    b"]", b"null", b'{"choices":[{"delta":{"content":"a"}}]}', b'{"error":{"message":"e"}}', b'"usage":', b"-1",
    b"\x00",
    b'{"choices":[{"text":"t","finish_reason":"stop"}]}', b"\xf0\x9f", b"\x99\x82", b"\xef\xbb\xbf", b"\\ud83d",
    b"<think>", b"</think>", b"0\r\n\r\n", b"5\r\nab", b"HTTP/1.1 200 OK\r\n", b"Content-Length: 7\r\n",
    b"Transfer-Encoding: chunked\r\n", b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
]  # fmt: skip
NOISE = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=8)), max_size=30).map(b"".join)
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
CUTS = st.lists(st.floats(0, 1), max_size=12)
LINE_END = st.sampled_from([b"\n", b"\r\n", b"\r"])

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "delta",
                    "content",
                    "text",
                    "usage",
                    "error",
                    "message",
                    "object",
                    "finish_reason",
                    "prompt_tokens",
                    "completion_tokens",
                    "tool_calls",
                    "function",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def cut(data: bytes, shares: list[float]) -> list[bytes]:
    places = sorted({round(share * len(data)) for share in shares} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(places)] or [data]


def state(decoder: StreamDecoder) -> dict[str, object]:
    seen = {name: getattr(decoder, name) for name in StreamDecoder.__slots__ if not name.startswith("_")}
    return seen | {"calls": decoder.calls.whole()}


def decoded(pieces: list[bytes], pieces_a_stamp: int = 0) -> dict[str, object]:
    decoder = StreamDecoder()
    for index, piece in enumerate(pieces):
        decoder.feed(index // pieces_a_stamp if pieces_a_stamp else 1, piece)
    decoder.finish(1)
    return state(decoder)


# ---- the decoder of event streams


@settings(FUZZ, max_examples=examples(300))
@given(NOISE, CUTS)
def test_any_bytes_decode_to_the_same_in_any_split(data: bytes, shares: list[float]) -> None:
    whole = decoded([data])
    assert decoded(cut(data, shares)) == whole
    assert decoded([data[at : at + 1] for at in range(len(data))]) == whole
    assert whole["error"] is None or whole["error"][0] in ERROR_KINDS


@settings(FUZZ)
@given(st.lists(JSON, max_size=5), LINE_END, CUTS)
def test_any_json_decodes_to_the_same_in_any_split(payloads: list, end: bytes, shares: list[float]) -> None:
    data = b"".join(b"data: " + json.dumps(payload).encode() + end + end for payload in payloads)
    assert decoded(cut(data, shares)) == decoded([data])


# Texts that look like the JSON around them, or that JSON must escape.
TRICKY = st.sampled_from(
    [
        ":",
        ",",
        "content",
        "choices",
        '"',
        "\\",
        "a",
        "\n",
        "\x7f",
        "\u2028",
        "0",
        "null",
        "",
        " ",
        "\U0001f642",
        '","content":"',
        "finish_reason",
        "stop",
    ]
)
QUOTED = st.one_of(
    (TRICKY | TEXT).map(lambda text: json.dumps(text).encode()),
    (TRICKY | TEXT).map(lambda text: json.dumps(text, ensure_ascii=False).encode()),
    st.sampled_from([b'"\x01"', b'"a\tb"', b'"\xff"', b'"a\\"', b'"\\u00"', b'"a"b"', b"1", b"null", b"", b"{}"]),
)
"""What stands where the text belongs: a string, or what is none."""
ENVELOPES = st.sampled_from(
    [
        b"[DONE]%.0b",
        b'{"id":"c1","choices":[{"index":0,"delta":{"content":%b},"finish_reason":null}]}',
        b'{"choices":[{"delta":{"reasoning":%b,"content":""}}]}',
        b'{"choices":[{"delta":{"reasoning":%b,"reasoning_content":"b"}}]}',
        b'{"choices":[{"delta":{"content":%b,"refusal":"a"}}]}',
        b'{"choices":[{"delta":{"content":"a","content":%b}}]}',
        b'{"choices":[{"text":%b,"delta":null}], "a": "a"}',
        b'{"choices":[{"delta":{"tool_calls":[{"function":{"name":"","arguments":%b}}]}}]}',
        b'{"choices":[{"delta":{"content":%b}}],"usage":{"completion_tokens":3}}',
        b'{"choices":[{"delta":{"content":%b},"finish_reason":"stop"}]}',
        b'{"choices":[{"delta":{"content":"a"}}],"error":%b}',
        b'{"choices":[{"delta":{"content":"a"},"text":%b}]}',
        b'{"object":%b}',
        b'{"choices":[{"delta":{"content":"\\u0061"},"a":%b}]}',
    ]
)


@settings(FUZZ, max_examples=examples(300))
@given(st.lists(st.tuples(ENVELOPES, st.lists(QUOTED, min_size=1, max_size=4)), max_size=4))
def test_events_that_differ_only_in_their_text_decode_as_if_each_was_parsed(runs: list) -> None:
    events = [b"data: " + envelope % quoted + b"\n\n" for envelope, texts in runs for quoted in texts]
    in_halves = [part for event in events for part in (event[:5], event[5:])]  # never a whole event in one piece
    assert decoded(events, 1) == decoded(in_halves, 2)


@st.composite
def built_stream(draw: st.DrawFn) -> tuple[bytes, dict[str, object]]:
    """A valid stream with all its freedoms, and what it says."""
    pieces, content, reasoning, tokens = [], "", "", 0
    channels = st.sampled_from(["content", "reasoning", "reasoning_content", "refusal", "text", "tool"])
    for channel, text in draw(st.lists(st.tuples(channels, TEXT), max_size=12)):
        choice: dict[str, object] = {"index": 0}
        if channel == "text":
            choice["text"] = text
        elif channel == "tool":
            choice["delta"] = {"tool_calls": [{"index": 0, "function": {"name": None, "arguments": text}}]}
        else:
            choice["delta"] = {channel: text}
        reasoning += text if channel.startswith("reasoning") else ""
        content += "" if channel.startswith("reasoning") else text
        tokens += bool(text)
        pieces.append({"choices": [choice]})
    reason = draw(st.sampled_from(["stop", "length", "tool_calls"]))
    pieces.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    count = draw(st.integers(0, 10**6))
    pieces.append({"choices": [], "usage": {"prompt_tokens": count, "completion_tokens": tokens}})
    body = b""
    for payload in [json.dumps(piece, ensure_ascii=draw(st.booleans())) for piece in pieces] + ["[DONE]"]:
        end = draw(LINE_END)
        body += draw(st.sampled_from([b"", b": ping" + end + end, b"id: 7" + end, b"event: message" + end]))
        body += draw(st.sampled_from([b"data: ", b"data:"])) + payload.encode() + end + end
    return body, {"content": content, "reasoning": reasoning, "tokens": tokens, "finish": reason, "prompt": count}


@settings(FUZZ)
@given(built_stream(), CUTS)
def test_a_valid_stream_decodes_to_exactly_what_was_built(built: tuple[bytes, dict], shares: list[float]) -> None:
    body, said = built
    found = decoded(cut(body, shares))
    assert found["error"] is None
    assert found["done"]
    assert "".join(text for _, text in found["content"]) == said["content"]
    assert "".join(text for _, text in found["reasoning"]) == said["reasoning"]
    assert len(found["token_stamps"]) == said["tokens"] == found["usage"].completion_tokens
    assert (found["finish_reason"], found["usage"].prompt_tokens) == (said["finish"], said["prompt"])


@settings(FUZZ)
@given(st.lists(st.sampled_from(["<think>", "</think>", "<th", "ink>", "</", "think>", "a", " ", "\n"]), max_size=10))
def test_thinking_tags_lose_no_text_and_do_not_depend_on_the_split(pieces: list[str]) -> None:
    text = "".join(pieces)
    reasoning, answer, stamp = split_thinking([(at, piece) for at, piece in enumerate(pieces) if piece])
    assert split_thinking([(at, character) for at, character in enumerate(text)])[:2] == (reasoning, answer)
    assert (stamp is None) == (not answer)
    assert text.endswith(answer)
    assert text.replace("<think>", "").replace("</think>", "").count("a") == (reasoning + answer).count("a")


@settings(FUZZ)
@given(NOISE)
def test_an_error_body_of_any_bytes_gives_a_text(data: bytes) -> None:
    assert isinstance(error_text(data), str)


# ---- the reader of HTTP


def read(pieces: list[bytes], eof: bool) -> dict[str, object]:
    reader = ResponseReader()
    for index, piece in enumerate(pieces):
        reader.feed(index, piece)
    if eof:
        reader.eof()
    headers = reader.headers if reader.status is not None else {}  # half a head is nobody's
    return {
        "status": reader.status,
        "headers": headers,
        "complete": reader.complete,
        "broken": reader.broken is None,
        "keep_alive": reader.keep_alive,
        "body": b"".join(piece for _, piece in reader.bodies),
    }


@settings(FUZZ, max_examples=examples(250))
@given(
    st.sampled_from(
        [
            b"",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
            b"HTTP/1.0 200 OK\r\n\r\n",
        ]
    ),
    NOISE,
    CUTS,
    st.booleans(),
)
def test_any_bytes_are_read_as_the_same_answer_in_any_split(
    head: bytes, data: bytes, shares: list[float], eof: bool
) -> None:
    data = head + data
    whole = read([data], eof)
    assert read(cut(data, shares), eof) == whole
    assert read([data[at : at + 1] for at in range(len(data))], eof) == whole


@st.composite
def framed_body(draw: st.DrawFn) -> tuple[bytes, bytes, bool]:
    """(answer on the wire, its body, whether it ends by the connection's close)."""
    body = draw(st.binary(max_size=200))
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    if framing == "length":
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body), body, False
    if framing == "close":
        return b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n" + body, body, True
    wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for piece in cut(body, draw(CUTS)):
        if piece:
            wire += b"%x%b\r\n%b\r\n" % (len(piece), draw(st.sampled_from([b"", b";a=b", b';q="x y"'])), piece)
    return wire + b"0\r\n" + draw(st.sampled_from([b"", b"X-Sum: 7\r\n", b"A: b\r\nC: d\r\n"])) + b"\r\n", body, False


@settings(FUZZ)
@given(framed_body(), CUTS)
def test_a_framed_body_is_read_back_exactly(framed: tuple[bytes, bytes, bool], shares: list[float]) -> None:
    wire, body, eof = framed
    found = read(cut(wire, shares), eof)
    assert (found["complete"], found["broken"], found["body"]) == (True, True, body)
    assert found["keep_alive"] is not eof


# ---- all of it


@settings(FUZZ)
@given(
    st.sampled_from(
        [
            b"",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.0 200 OK\r\n\r\n",
            b"HTTP/1.1 500 no\r\nRetry-After: nan\r\n\r\n",
        ]
    ),
    NOISE,
    st.booleans(),
    st.sampled_from([None, ("reset_mid_stream", "x"), ("timeout_gap", "x")]),
)
def test_any_bytes_become_an_answer_that_can_be_written(
    head: bytes, data: bytes, streamed: bool, failure: tuple[str, str] | None
) -> None:
    reader, stamps = ResponseReader(), [10]
    reader.feed(0, head + data)
    reader.eof()
    decoder = Decoder(reader, stamps, streamed)
    assert decoder.advance()
    answer = decoder.conclude(Answer(), 5, failure, 10)
    assert answer.status in ("ok", "failed")
    assert (answer.status == "failed") == (answer.error in ERROR_KINDS)
    cells = asdict(answer) | asdict(answer.usage)
    assert format_rows(REQUEST_COLUMNS, [cells]).count("\n") == 1
