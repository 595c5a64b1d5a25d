"""Connections and byte-level cases: what the client makes of all kinds of servers."""

from __future__ import annotations

import errno
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import gevent
import gevent.socket
import gevent.ssl
import pytest

from tests.waiting import for_ever, until
from tokenswarm.base.endpoint import Endpoint, EndpointForm, Proxy
from tokenswarm.client import client as client_module
from tokenswarm.client import wire
from tokenswarm.client.client import LLMClient, Timeouts
from tokenswarm.sim.truth import read_truth

from .events import delta, sse
from .servers import (
    END,
    STREAM,
    STREAM_BODY,
    STREAM_HEAD,
    ByteServer,
    Peer,
    Simulator,
    answering,
    ask,
    chunk,
    plain,
    reset,
)

Serve = Callable[..., ByteServer]
Connect = Callable[..., LLMClient]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# ---- the request


def test_the_request_carries_path_host_key_and_id(serve: Serve, connect: Connect) -> None:
    server = serve(answering(STREAM))
    answer = ask(connect(server.url + "/team/llm/v1", api_key="sk-key"), "run-1-7")
    assert answer.ok
    ((_, head, body),) = server.requests
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /team/llm/v1/chat/completions HTTP/1.1"
    assert {
        "Authorization: Bearer sk-key",
        "X-Request-Id: run-1-7",
        "Content-Type: application/json",
        "Host: " + server.url.removeprefix("http://"),
    } <= set(lines)
    assert b'"max_tokens":8' in body


def test_without_a_key_there_is_no_authorization(serve: Serve, connect: Connect) -> None:
    server = serve(answering(STREAM))
    ask(connect(server.url))
    assert b"authorization" not in server.requests[0][1].lower()


def test_a_request_of_several_mb_arrives_whole(serve: Serve, connect: Connect) -> None:
    server = serve(answering(STREAM))
    document = "né" * 2_000_000
    answer = ask(connect(server.url), messages=[{"role": "user", "content": document}])
    assert answer.ok
    assert document.encode() in server.requests[0][2]


# ---- kinds of answers


@pytest.mark.parametrize(
    "pieces",
    [
        (STREAM,),
        (STREAM[:-1], STREAM[-1:]),
        (STREAM[:-2], STREAM[-2:]),
        (STREAM[:-3], STREAM[-3:]),
        (STREAM[:-4], STREAM[-4:]),
        (STREAM[:-5], STREAM[-5:]),
        (STREAM[:-5], b"0", b"\r", b"\n", b"\r", b"\n"),
        (STREAM[:-5], b"0\r\nX-Checksum: 7\r\n", b"\r\n"),
        (STREAM[:-5], b"0\r\nX-Checksum: 7\r\n\r\n"),
        (STREAM[:-5], b"0;last\r\nX-Checksum: 7", b"\r\n\r", b"\n"),
        (STREAM[:-5], b"00\r\n\r\n"),
        (STREAM_HEAD, chunk(STREAM_BODY[:90]), chunk(STREAM_BODY[90:]) + END),
        (b"HTTP/1.1 100 Continue\r\n\r\n", STREAM),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + STREAM[:30], STREAM[30:]),
    ],
)
def test_the_end_of_a_chunked_stream_is_noticed_however_it_is_cut(
    serve: Serve, connect: Connect, pieces: tuple[bytes, ...]
) -> None:
    sent: list[int] = []

    def script(peer: Peer) -> None:
        while peer.request() is not None:
            peer.send_apart(*pieces)
            sent.append(len(pieces))

    server = serve(script)
    client = connect(server.url)
    for number in range(2):
        answer = ask(client, f"r-{number}")
        assert (answer.status, answer.error, answer.text, answer.usage.completion_tokens) == ("ok", None, "Hello", 2)
        until(
            lambda number=number: len(sent) > number
        )  # the answer ends with [DONE]; its last pieces may still be on the way
    assert server.connections == 1  # and it was kept alive


def test_http_1_0_until_close(serve: Serve, connect: Connect) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send_apart(b"HTTP/1.0 200 OK\r\n\r\n", STREAM_BODY[:70], STREAM_BODY[70:])

    server = serve(script)
    client = connect(server.url)
    assert [ask(client, f"r-{number}").text for number in range(2)] == ["Hello", "Hello"]
    assert server.connections == 2


def test_a_stream_until_close_that_is_cut_is_truncated(serve: Serve, connect: Connect) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.0 200 OK\r\n\r\n" + sse(delta(content="Hel")) + b'data: {"choi')

    answer = ask(connect(serve(script).url))
    assert (answer.status, answer.error, answer.chunks) == ("failed", "truncated", 1)


def test_a_stream_with_a_length_works(serve: Serve, connect: Connect) -> None:
    assert ask(connect(serve(answering(plain(STREAM_BODY))).url)).text == "Hello"


def test_a_plain_answer_has_an_end_but_no_first_token(serve: Serve, connect: Connect) -> None:
    body = (
        b'{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}],'
        b'"usage":{"prompt_tokens":3,"completion_tokens":1}}'
    )
    answer = ask(connect(serve(answering(plain(body))).url), stream=False)
    assert (answer.status, answer.text, answer.finish_reason, answer.completion_tokens) == ("ok", "Hi", "stop", 1)
    assert (answer.ttft_ms, answer.ttfo_ms, answer.chunks, answer.token_gaps_ms) == (None, None, None, [])
    assert answer.e2e_ms is not None


@pytest.mark.parametrize(
    ("stream", "body", "error"),
    [
        (True, b'{"error":{"message":"out of memory"}}', "engine_error"),
        (True, b'{"choices":[{"message":{"content":"Hi"}}]}', "malformed_event"),
        (True, b"<html>a login page</html>", "malformed_event"),
        (True, b"", "truncated"),
        (False, b'{"error":{"message":"out of memory"}}', "engine_error"),
        (False, b'{"object":"error","message":"out of memory"}', "engine_error"),
        (False, b'{"choices":[{"message":{"content":"Hi"},"finish_reason":"abort"}]}', "engine_error"),
        (False, b'{"choices":[]}', "malformed_event"),
        (False, b"", "malformed_event"),
        (False, b"<html>a login page</html>", "malformed_event"),
        (False, STREAM_BODY, "malformed_event"),
    ],
)
def test_a_body_of_the_wrong_kind_is_a_failure(
    serve: Serve, connect: Connect, stream: bool, body: bytes, error: str
) -> None:
    answer = ask(connect(serve(answering(plain(body))).url), stream=stream)
    assert (answer.status, answer.error, answer.http_status) == ("failed", error, 200)
    assert (answer.ttft_ms, answer.usage.completion_tokens) == (None, None)


def test_a_redirect_is_not_followed_but_reported(serve: Serve, connect: Connect) -> None:
    server = serve(answering(plain(b"", b"307 Temporary Redirect", b"Location: http://elsewhere/\r\n")))
    answer = ask(connect(server.url))
    assert (answer.error, answer.http_status) == ("unexpected_status", 307)


def test_an_answer_beyond_the_size_limit_is_given_up(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_BODY_BYTES", 1 << 20)

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(STREAM_HEAD)
        while True:
            peer.send(chunk(sse(delta(content="x" * 50_000))))

    answer = ask(connect(serve(script).url))
    assert (answer.status, answer.error, answer.http_status) == ("failed", "too_large", 200)
    assert answer.ttft_ms is not None


def test_what_happens_to_the_connection_behind_done_does_not_matter(serve: Serve, connect: Connect) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send_apart(STREAM[:-5])
        reset(peer.socket)

    assert ask(connect(serve(script).url)).status == "ok"


# ---- connections that fail


def test_a_refused_connection_is_a_failure_without_any_figure(connect: Connect) -> None:
    answer = ask(connect(f"http://127.0.0.1:{free_port()}"))
    assert (answer.status, answer.error, answer.http_status) == ("failed", "connect_refused", None)
    assert (answer.chunks, answer.completion_tokens, answer.token_source, answer.e2e_ms) == (None, None, None, None)


def test_a_name_that_does_not_exist(connect: Connect) -> None:
    answer = ask(connect("http://no-such-host.invalid:8000"))
    assert (answer.status, answer.error) == ("failed", "connect_failed")


@pytest.mark.parametrize("how", [reset, lambda sock: None], ids=["reset", "close"])
@pytest.mark.parametrize(
    ("sent", "error", "status"),
    [
        (b"", "reset_before_headers", None),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "reset_before_headers", None),
        (STREAM_HEAD, "reset_mid_stream", 200),
        (STREAM_HEAD + chunk(sse(delta(content="a"))), "reset_mid_stream", 200),
        (STREAM_HEAD + chunk(sse(delta(content="a"))) + b"ff\r\ndata", "reset_mid_stream", 200),
        (plain(b'{"choices"')[:-3], "reset_mid_stream", 200),
        (plain(b'{"error":"busy"}', b"503 Busy")[:-3], "overloaded", 503),
    ],
)
def test_a_connection_that_is_lost_fails_by_where_it_was_lost(
    serve: Serve, connect: Connect, how: Callable, sent: bytes, error: str, status: int | None
) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send_apart(sent)  # what is sent is read before the reset throws it away
        how(peer.socket)

    answer = ask(connect(serve(script).url))
    assert (answer.status, answer.error, answer.http_status) == ("failed", error, status)
    tokens = 1 if b"content" in sent else None
    assert (answer.ttft_ms is not None) == (tokens is not None)
    if status is None or status != 200:
        assert (answer.chunks, answer.completion_tokens, answer.token_source) == (None, None, None)


def test_a_refusal_that_comes_before_the_whole_request_was_sent_is_read(serve: Serve, connect: Connect) -> None:
    def script(peer: Peer) -> None:
        peer.socket.recv(1000)
        peer.send(plain(b'{"error":{"message":"too long"}}', b"413 Too Large", b"Connection: close\r\n"))
        gevent.sleep(0.1)
        reset(peer.socket)

    server = serve(script)
    client = connect(server.url)
    answer = ask(client, messages=[{"role": "user", "content": "x" * 20_000_000}])
    assert (answer.error, answer.http_status, answer.error_detail) == ("rejected", 413, "too long")


def test_a_half_sent_request_leaves_no_connection_to_reuse(serve: Serve, connect: Connect) -> None:
    def script(peer: Peer) -> None:
        if peer.number == 0:
            peer.socket.recv(1000)
            peer.send(plain(b'{"error":{"message":"too long"}}', b"413 Too Large"))
            for_ever()
        else:
            answering(STREAM)(peer)

    server = serve(script)
    client = connect(server.url)
    assert ask(client, messages=[{"role": "user", "content": "x" * 20_000_000}]).error == "rejected"
    assert ask(client).ok
    assert server.connections == 2


# ---- keep-alive


def test_a_connection_is_used_again_after_a_success(serve: Serve, connect: Connect) -> None:
    server = serve(answering(STREAM))
    client = connect(server.url)
    answers = [ask(client, f"r-{number}") for number in range(3)]
    assert all(answer.ok for answer in answers)
    assert server.connections == 1
    assert [answer.connect_ms is not None for answer in answers] == [True, False, False]


def test_a_connection_is_used_again_after_a_complete_refusal(serve: Serve, connect: Connect) -> None:
    server = serve(answering(plain(b'{"error":"slow down"}', b"429 Too Many Requests", b"Retry-After: 7\r\n")))
    client = connect(server.url)
    assert [ask(client).retry_after_s for _ in range(2)] == [7, 7]
    assert server.connections == 1


def test_a_connection_that_the_server_closes_politely_is_not_used_again(serve: Serve, connect: Connect) -> None:
    server = serve(answering(STREAM.replace(b"Transfer", b"Connection: close\r\nTransfer")))
    client = connect(server.url)
    assert [ask(client).ok for _ in range(2)] == [True, True]
    assert server.connections == 2


def test_an_idle_connection_that_the_server_closed_is_not_used_again(serve: Serve, connect: Connect) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(STREAM)

    client = connect(serve(script).url)
    for _ in range(3):
        assert ask(client).ok
        gevent.sleep(0.05)


def test_an_idle_connection_on_which_something_came_unasked_is_not_used_again(serve: Serve, connect: Connect) -> None:
    sent: list[str] = []

    def script(peer: Peer) -> None:
        while peer.request() is not None:
            peer.send_apart(STREAM, plain(b"surprise"))
            sent.append("surprise")

    server = serve(script)
    client = connect(server.url)
    for number in range(2):
        assert ask(client).text == "Hello"
        until(lambda number=number: len(sent) > number)
    assert server.connections == 2


def test_bytes_behind_the_answer_in_the_same_packet_end_the_connection(serve: Serve, connect: Connect) -> None:
    server = serve(answering(STREAM + plain(b"surprise")))
    client = connect(server.url)
    assert [ask(client).text for _ in range(2)] == ["Hello", "Hello"]
    assert server.connections == 2


@pytest.mark.parametrize("last", [END + plain(b"surprise" * 9), END + STREAM[:-5] + b"x", END + b"no HTTP at all" * 9])
def test_an_end_that_comes_in_one_read_with_bytes_of_something_else_is_noticed(
    serve: Serve, connect: Connect, last: bytes
) -> None:
    done = STREAM_BODY[-len(b"data: [DONE]\n\n") :]
    words = STREAM_BODY.removesuffix(done)

    def script(peer: Peer) -> None:
        if peer.request() is not None:
            peer.send_apart(STREAM_HEAD + chunk(words[:40]), chunk(words[40:]), chunk(done) + last)
            peer.request()

    server = serve(script)
    client = connect(server.url)
    for _ in range(2):
        answer = ask(client)
        assert (answer.status, answer.text) == ("ok", "Hello"), answer.error_detail
    assert server.connections == 2


def test_a_chunked_answer_that_is_no_stream_ends_so_too(serve: Serve, connect: Connect) -> None:
    body = b'{"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}'

    def script(peer: Peer) -> None:
        if peer.request() is not None:
            peer.send_apart(STREAM_HEAD + chunk(body[:40]), chunk(body[40:]) + END + plain(b"surprise" * 9))
            peer.request()

    answer = ask(connect(serve(script).url), stream=False)
    assert (answer.status, answer.text) == ("ok", "Hello"), answer.error_detail


def test_a_connection_idle_for_too_long_is_not_used_again(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(answering(STREAM))
    client = connect(server.url)
    assert client_module.MAX_IDLE_S < 5  # what uvicorn, in front of both engines, allows
    ask(client)
    monkeypatch.setattr(client_module, "MAX_IDLE_S", 0.0)
    assert ask(client).ok
    assert server.connections == 2


def test_requests_at_the_same_time_have_connections_of_their_own(serve: Serve, connect: Connect) -> None:
    def script(peer: Peer) -> None:
        while peer.request() is not None:
            peer.send_apart(STREAM_HEAD, chunk(STREAM_BODY), END)

    server = serve(script)
    client = connect(server.url)
    jobs = [gevent.spawn(ask, client, f"r-{number}") for number in range(20)]
    gevent.joinall(jobs)
    assert all(job.value.text == "Hello" for job in jobs)
    assert server.connections == 20
    assert client.in_flight == 0


# ---- TLS, IPv6


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1: (certificate, key)."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    try:
        subprocess.run(
            [
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=127.0.0.1",
                "-addext",
                "subjectAltName=IP:127.0.0.1",
                "-keyout",
                str(key),
                "-out",
                str(cert),
            ],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("the openssl command makes the test's certificate, and it is not here")
    return cert, key


def server_context(certificate: tuple[Path, Path]) -> gevent.ssl.SSLContext:
    # gevent's own: the server shares the event loop with the client and must not block it
    context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def test_tls_to_a_trusted_server(serve: Serve, connect: Connect, certificate: tuple[Path, Path]) -> None:
    def script(peer: Peer) -> None:
        while peer.request() is not None:
            chunks = [chunk(STREAM_BODY[at : at + 40]) for at in range(0, len(STREAM_BODY), 40)]
            # The end comes with the last chunk: behind [DONE] a client does not wait long for one that comes later.
            peer.send_apart(STREAM_HEAD, *chunks[:-1], chunks[-1] + END, pause_s=0.002)

    server = serve(script, ssl_context=server_context(certificate))
    client = connect(server.url, tls_context=ssl.create_default_context(cafile=certificate[0]))
    answers = [ask(client, "r-1"), ask(client, "r-2", messages=[{"role": "user", "content": "x" * 3_000_000}])]
    assert [(answer.status, answer.text, answer.error_detail) for answer in answers] == [("ok", "Hello", "")] * 2
    assert len(server.requests[1][2]) > 3_000_000
    assert server.connections == 1


def test_tls_stream_until_close(serve: Serve, connect: Connect, certificate: tuple[Path, Path]) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.0 200 OK\r\n\r\n" + STREAM_BODY)

    server = serve(script, ssl_context=server_context(certificate))
    client = connect(server.url, tls_context=ssl.create_default_context(cafile=certificate[0]))
    assert ask(client).text == "Hello"


def test_a_certificate_that_is_not_trusted_is_refused(
    serve: Serve, connect: Connect, certificate: tuple[Path, Path]
) -> None:
    answer = ask(connect(serve(answering(STREAM), ssl_context=server_context(certificate)).url))
    assert (answer.status, answer.error) == ("failed", "tls_failed")
    assert "certificate" in answer.error_detail


def test_an_authority_of_ones_own_or_no_check_at_all_can_be_described(
    serve: Serve, connect: Connect, certificate: tuple[Path, Path]
) -> None:
    server = serve(answering(STREAM), ssl_context=server_context(certificate))
    for form in (EndpointForm(ca_file=str(certificate[0])), EndpointForm(verify_tls=False)):
        assert ask(connect(Endpoint(server.url, form))).ok


# ---- proxies


def test_a_proxy_is_told_the_whole_url_and_gets_its_own_password(serve: Serve, connect: Connect) -> None:
    proxy = serve(answering(STREAM))
    form = EndpointForm(proxy=Proxy.parse(proxy.url.replace("//", "//me:pass@")), query=(("v", "1"),))
    assert ask(connect(Endpoint("http://engine.example:81", form), api_key="sk-key")).ok
    ((_, head, _),) = proxy.requests
    assert head.startswith(b"POST http://engine.example:81/v1/chat/completions?v=1 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic bWU6cGFzcw==\r\n" in head and b"Host: engine.example:81\r\n" in head


def tunnel(answer: bytes, tunnels: list[bytes]) -> Callable[[Peer], None]:
    """A proxy that answers so to CONNECT, and joins the two ends where that is a yes."""

    def script(peer: Peer) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += peer.socket.recv(1)
        tunnels.append(head)
        peer.socket.sendall(answer)
        if b" 200 " not in answer:
            return
        host, port = head.split()[1].decode().rsplit(":", 1)
        with gevent.socket.create_connection((host, int(port))) as server:

            def pass_on(source: socket.socket, target: socket.socket) -> None:
                while data := source.recv(65536):
                    target.sendall(data)

            both = [gevent.spawn(pass_on, peer.socket, server), gevent.spawn(pass_on, server, peer.socket)]
            gevent.wait(both, count=1)
            gevent.killall(both)

    return script


def test_tls_goes_through_a_proxy_in_a_tunnel_that_sees_no_key(
    serve: Serve, connect: Connect, certificate: tuple[Path, Path]
) -> None:
    tunnels: list[bytes] = []
    server = serve(answering(STREAM), ssl_context=server_context(certificate))
    proxy = serve(tunnel(b"HTTP/1.1 200 Connection established\r\n\r\n", tunnels))
    form = EndpointForm(proxy=Proxy.parse(proxy.url), ca_file=str(certificate[0]))
    client = connect(Endpoint(server.url, form), api_key="sk-key")
    assert [ask(client, "r-1").text, ask(client, "r-2").text] == ["Hello", "Hello"]
    assert len(tunnels) == 1 and b"sk-key" not in tunnels[0]


def test_a_proxy_that_lets_nobody_through_is_named(serve: Serve, connect: Connect) -> None:
    proxy = serve(tunnel(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", []))
    answer = ask(connect(Endpoint("https://engine.example", EndpointForm(proxy=Proxy.parse(proxy.url)))))
    assert answer.error == "connect_failed" and "407 Proxy Authentication Required" in answer.error_detail


def test_tls_to_a_server_that_speaks_none(serve: Serve, connect: Connect) -> None:
    def script(peer: Peer) -> None:
        peer.socket.recv(10)
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    answer = ask(connect(serve(script).url.replace("http:", "https:")))
    assert (answer.status, answer.error) == ("failed", "tls_failed")


def test_a_tls_handshake_that_never_ends_is_a_connect_timeout(serve: Serve, connect: Connect) -> None:
    server = serve(for_ever)
    answer = ask(connect(server.url.replace("http:", "https:"), Timeouts(connect_s=0.2)))
    assert (answer.status, answer.error) == ("failed", "connect_timeout")


def test_a_server_at_an_ipv6_address_is_asked_by_its_bracketed_name(serve: Serve, connect: Connect) -> None:
    try:
        server = serve(answering(STREAM), host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    assert ask(connect(server.url)).text == "Hello"
    assert f"Host: {server.url.removeprefix('http://')}".encode() in server.requests[0][1]


OUT_OF_FILES = OSError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OUT_OF_FILES, "generator_limit"),
        (OSError(errno.ENFILE, "Too many open files in system"), "generator_limit"),
        (OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address"), "generator_limit"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "connect_failed"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "connect_failed"),
    ],
)
def test_a_limit_of_this_machine_is_not_the_network_s_fault(
    error: OSError, kind: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(wire.Connection, "open", fail)
    answer = ask(connect("http://127.0.0.1:1"))
    assert (answer.status, answer.error) == ("failed", kind)


def test_a_name_that_cannot_be_looked_up_for_want_of_files_is_a_limit_of_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_file(*_: object) -> int:
        raise OUT_OF_FILES

    lookup = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    assert not client_module.is_own_limit(lookup)
    with monkeypatch.context() as patched:
        patched.setattr(client_module.os, "open", no_file)
        own = client_module.is_own_limit(lookup)
    assert own


def test_both_clocks_are_read_again_where_the_process_was_held_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0, 90_000_000, 90_000_100, 90_000_300])
    walls = iter([1000.0, 1000.09])
    monkeypatch.setattr(client_module.time, "monotonic_ns", lambda: next(ticks))
    monkeypatch.setattr(client_module.time, "time", lambda: next(walls))
    read = client_module.both_clocks()
    monkeypatch.undo()
    assert read == (1000.09, 90_000_100, 200)


@pytest.mark.parametrize("reused", [False, True])
def test_a_process_that_is_held_before_it_sends_knows_its_ttft_no_better(
    reused: bool, serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect(serve(answering(STREAM)).url)
    if reused:
        assert ask(client).ok
    send = wire.Connection._send_all

    def held(connection: wire.Connection, data: bytes, could_ns: int) -> None:
        time.sleep(0.05)  # the whole thread: no other greenlet runs either
        send(connection, data, could_ns)

    calm = ask(client)
    monkeypatch.setattr(wire.Connection, "_send_all", held)
    answer = ask(client)
    assert calm.ok and answer.ok and answer.ttft_uncertainty_ms >= 50


def test_a_process_that_is_held_between_two_pieces_of_a_long_request_knows_its_ttft_no_better(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, holds = connect(serve(answering(STREAM)).url), []
    wait = wire.Connection._wait_for_room

    def held(connection: wire.Connection) -> None:
        wait(connection)
        if not holds:
            holds.append(time.sleep(0.05))  # there is room again, and the thread does not see it

    monkeypatch.setattr(wire.Connection, "_wait_for_room", held)
    answer = ask(client, messages=[{"role": "user", "content": "x" * 20_000_000}])
    assert answer.ok and holds and answer.ttft_uncertainty_ms >= 50


def test_a_look_that_may_have_left_sockets_out_does_not_bound_what_the_next_one_finds(connect: Connect) -> None:
    looks = connect("http://127.0.0.1:9").loop_time
    looks._polled_ns = time.monotonic_ns() + 10**9  # none of these polls took long
    looks._after_poll()
    bounds = []
    for reads in (0, 3, 64, 64, 2, 0):  # of the look before
        looks.reads, before = reads, looks.earliest_ns
        looks._after_poll()
        bounds.append(looks.earliest_ns > before)
    assert bounds == [True, True, False, False, True, True]


def test_a_poll_that_took_longer_than_any_may_have_been_held_behind_its_look(connect: Connect) -> None:
    """What came while the process was held behind the look is found by the next one, and came before the look ended."""
    looks = connect("http://127.0.0.1:9").loop_time
    looks._polled_ns = began_ns = time.monotonic_ns() - 50_000_000
    looks._after_poll()
    looks.reads, looks._polled_ns = 0, time.monotonic_ns() + 10**9
    looks._after_poll()
    assert looks.earliest_ns == began_ns


class _Kept(wire.Connection):
    """A connection that is given its reads."""

    def __init__(self) -> None:
        self._loop_time = SimpleNamespace(earliest_ns=0, reads=0, wall_behind_ns=-1000)
        self._forget()


def kernel_stamp(realtime_ns: int) -> list[tuple[int, int, bytes]]:
    return [(0, 0, struct.pack("@qq", *divmod(realtime_ns, 10**9)))]


def test_a_read_is_as_sure_as_the_kernels_stamp_of_its_own() -> None:
    """One without, one behind a hold between the readings of the two clocks, and one whose stamp was put off to keep
    the order are not; that others of the connection have stamps changes nothing."""
    kept, second = _Kept(), 10**9
    kept._keep(b"a", kernel_stamp(1 * second), 1 * second + 500, 1 * second - 500)
    kept._keep(b"b", [], 2 * second, 2 * second - 1000)
    kept._keep(b"c", kernel_stamp(3 * second), 3 * second, 3 * second + 12_000_000)
    kept._keep(b"d", kernel_stamp(3 * second + 1_000_000), 3 * second + 1_000_000, 3 * second + 999_000)
    kept._keep(b"e", kernel_stamp(5 * second), 5 * second + 700, 5 * second - 300)
    assert kept.own_stamps == {1, 2, 3}
    assert kept.stamps == [
        second - 1000,
        2 * second - 1000,
        3 * second + 12_000_000,
        3 * second + 12_000_000,
        5 * second - 1000,
    ]


def test_tokens_that_many_streams_get_at_once_lie_within_their_bounds(tmp_path: Path, connect: Connect) -> None:
    """More sockets are readable than one look brings, after the process was held: both tokens of a stream are one read,
    which has the stamp of the second."""
    server = Simulator(tmp_path, "--profile", "flat", "--ttft-ms", "300", "--token-gap-ms", "5")
    try:
        client, answers = connect(server.url), {}
        users = [
            gevent.spawn(lambda n=n: answers.update({f"r{n}": ask(client, f"r{n}", model="sim-8b", max_tokens=4)}))
            for n in range(150)
        ]
        gevent.sleep(0.25)
        time.sleep(0.4)  # the whole thread
        gevent.joinall(users)
    finally:
        server.close()
    truth = {row["request_id"]: row for row in read_truth(server.truth_log)}
    offset_ns = time.time_ns() - time.monotonic_ns()
    beyond = [
        name
        for name, answer in answers.items()
        if abs(answer.sent_at * 1e9 - offset_ns + answer.ttft_ms * 1e6 - truth[name]["first_write_ns"])
        > answer.ttft_uncertainty_ms * 1e6 + truth[name]["first_written_ns"] - truth[name]["first_write_ns"] + 3e5
    ]
    assert len(answers) == 150 and beyond == []


@pytest.mark.parametrize(
    ("piece", "ends"),
    [
        (sse(delta(content="one")), True),
        (sse(delta(content="one")).replace(b"\n\n", b"\r\n\r\n"), True),
        (sse(delta(content="one")) + sse(delta(content="two")), False),
        (sse(delta(content="one")) + b'data: {"choices":', False),
        (b'ent":"one"}}]}\n\n' + sse(delta(content="two"))[:20], False),
        (b'ent":"one"}}]}\n\n', False),
        (sse(delta(content="data: three")), False),  # rather too large a bound than one too small
    ],
    ids=["one", "with CRLF", "two", "one and a half", "two halves", "half", "says data:"],
)
def test_a_read_s_stamp_is_the_first_token_s_where_it_ends_with_its_event_alone(piece: bytes, ends: bool) -> None:
    exchange = SimpleNamespace(connection=SimpleNamespace(reader=SimpleNamespace(bodies=[(3, piece)])))
    assert client_module._Exchange._ends_with_first_token(exchange, 3) is ends  # type: ignore[arg-type]
