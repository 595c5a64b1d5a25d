"""Fixtures of the client tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import gevent
import pytest
from hypothesis import settings

from tests.examples import examples
from tokenswarm.client.client import LLMClient, Timeouts

from .servers import PATIENT, ByteServer, Peer, Simulator

settings.register_profile("client", derandomize=True, deadline=None, database=None, max_examples=examples(120))

HANG_S = 40
"""Nothing here takes nearly that long, however busy the machine: a test that does hangs."""


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    with gevent.Timeout(HANG_S, AssertionError("the test hangs")):
        yield


@pytest.fixture
def serve() -> Iterator[Callable[..., ByteServer]]:
    """`serve(script)` starts a byte-level server for this test."""
    servers = []

    def start(script: Callable[[Peer], None], **options: object) -> ByteServer:
        servers.append(ByteServer(script, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def connect() -> Iterator[Callable[..., LLMClient]]:
    """`connect(url)` makes a client for this test."""
    clients = []

    def make(url: str, timeouts: Timeouts = PATIENT, **options: object) -> LLMClient:
        clients.append(LLMClient(url, timeouts, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """A simulator with a TTFT of 5 ms and a token each 2 ms, in vLLM's dialect."""
    server = Simulator(tmp_path_factory.mktemp("sim"), "--profile", "flat", "--ttft-ms", "5", "--token-gap-ms", "2")
    yield server
    server.close()
