"""An answer's bytes to status, headers and body, whatever the framing and the split; and endpoints."""

from __future__ import annotations

import pytest

from tokenswarm.base.endpoint import Endpoint
from tokenswarm.client.http import MAX_HEADER_BYTES, ResponseReader, request_head

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Empty:\r\n\r\nok"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;name=value\r\nabc\r\n04\r\ndefg\r\n0\r\nRetry-After: 7\r\n\r\n"
)
UNTIL_CLOSE = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nall that comes"


def read(*pieces: bytes, eof: bool = False) -> ResponseReader:
    reader = ResponseReader()
    for index, piece in enumerate(pieces):
        reader.feed(index, piece)
    if eof:
        reader.eof()
    return reader


def body(reader: ResponseReader) -> bytes:
    return b"".join(piece for _, piece in reader.bodies)


@pytest.mark.parametrize(
    ("raw", "eof", "expected"),
    [
        (LENGTH, False, b"ok"),
        (CHUNKED, False, b"abcdefg"),
        (UNTIL_CLOSE, True, b"all that comes"),
    ],
)
def test_each_framing_is_read_whole_in_every_split_in_two(raw: bytes, eof: bool, expected: bytes) -> None:
    for cut in range(len(raw) + 1):
        reader = read(raw[:cut], raw[cut:], eof=eof)
        assert (reader.status, body(reader), reader.complete, reader.broken) == (200, expected, True, None)


def test_the_end_of_a_chunked_body_may_be_cut_anywhere() -> None:
    for cut in range(1, 6):
        raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
        reader = read(raw[:-cut])
        assert not reader.complete
        reader.feed(1, raw[-cut:])
        assert reader.complete


def test_body_pieces_and_headers_remember_the_read_that_brought_them() -> None:
    reader = read(b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 4\r\n\r\nab", b"c", b"d")
    assert reader.headers_index == 1
    assert reader.bodies == [(1, b"ab"), (2, b"c"), (3, b"d")]


def test_interim_answers_are_passed_over() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\nX-Early: 1\r\n\r\n"
    for cut in range(len(interim) + 1):
        reader = read((interim + LENGTH)[:cut], (interim + LENGTH)[cut:])
        assert (reader.status, body(reader), "x-early" in reader.headers) == (200, b"ok", False)


def test_a_trailer_is_no_header() -> None:
    assert "retry-after" not in read(CHUNKED).headers


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_has_no_body_is_complete_with_its_head(status: int) -> None:
    reader = read(b"HTTP/1.1 %d x\r\n\r\n" % status)
    assert (reader.complete, reader.status) == (True, status)


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (LENGTH, True),
        (CHUNKED, True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", True),
        (UNTIL_CLOSE, False),
    ],
)
def test_a_connection_is_kept_alive_only_where_the_answer_allows(raw: bytes, kept: bool) -> None:
    assert read(raw, eof=True).keep_alive is kept


@pytest.mark.parametrize("surplus", [LENGTH, b"x", b"HTTP/1.1 500 no\r\nX-Late: 1\r\nContent-Length: 1\r\n\r\n!"])
@pytest.mark.parametrize("raw", [LENGTH, CHUNKED])
def test_bytes_behind_the_end_change_nothing_but_end_the_connection(raw: bytes, surplus: bytes) -> None:
    expected = read(raw)
    for reader in (read(raw + surplus), read(raw, surplus), read(raw[:-1], raw[-1:] + surplus[:1], surplus[1:])):
        assert (reader.status, body(reader), reader.headers) == (200, body(expected), expected.headers)
        assert (reader.complete, reader.broken, reader.keep_alive) == (True, None, False)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTP/banana two hundred\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x16\x03\x01\x02\x00",
        b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot-hex\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffffff\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * (MAX_HEADER_BYTES + 1),
    ],
)
def test_what_is_not_http_is_broken_and_never_raises(raw: bytes) -> None:
    assert read(raw).broken
    assert read(*[raw[at : at + 5] for at in range(0, min(len(raw), 1000), 5)], raw[1000:]).broken


def test_an_answer_cut_short_is_not_complete() -> None:
    for raw in (LENGTH, CHUNKED):
        for end in range(len(raw)):
            assert not read(raw[:end], eof=True).complete


def test_a_close_within_the_head_is_no_answer() -> None:
    reader = read(UNTIL_CLOSE[:30], eof=True)
    assert (reader.complete, reader.status) == (False, None)


# ---- endpoints


@pytest.mark.parametrize(
    ("url", "host", "port", "prefix", "header"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1", 8000, "/v1", "127.0.0.1:8000"),
        ("127.0.0.1:8000", "127.0.0.1", 8000, "/v1", "127.0.0.1:8000"),
        ("http://engine/v1", "engine", 80, "/v1", "engine"),
        ("http://engine:80/v1/", "engine", 80, "/v1", "engine"),
        ("http://gateway:81/team/llm", "gateway", 81, "/team/llm", "gateway:81"),
        ("http://gateway/v1/chat/completions", "gateway", 80, "/v1", "gateway"),
        ("https://gemini/v1beta/openai/", "gemini", 443, "/v1beta/openai", "gemini"),
        ("https://gateway/team/v1", "gateway", 443, "/team/v1", "gateway"),
        ("http://[::1]:8000", "::1", 8000, "/v1", "[::1]:8000"),
    ],
)
def test_a_base_url_is_split_into_host_port_prefix_and_header(
    url: str, host: str, port: int, prefix: str, header: str
) -> None:
    endpoint = Endpoint(url)
    assert (endpoint.host, endpoint.port, endpoint.prefix, endpoint.host_header) == (host, port, prefix, header)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://host",
        "http://",
        "http://host:port",
        "http://host:99999",
        "http://user:secret@host",
        "http://[::1",
        "http://host/a b",
        "http://host/é",
        "http://ho st",
    ],
)
def test_what_is_no_base_url_is_refused_with_a_sentence(url: str) -> None:
    with pytest.raises(ValueError, match=r"endpoint|port|percent") as caught:
        Endpoint(url)
    assert "secret" not in str(caught.value)


def test_a_header_cannot_smuggle_a_second_one() -> None:
    with pytest.raises(ValueError, match="line break"):
        request_head(Endpoint("http://host"), "/chat/completions", {"X": "a\r\nY: b"})


@pytest.mark.parametrize("url", ["http://h:0", "https://h:0/v1"])
def test_port_zero_is_no_port_and_not_the_usual_one(url: str) -> None:
    with pytest.raises(ValueError, match="no usable port"):
        Endpoint(url)
