"""Simulators to talk to: real processes, one of each kind for the whole suite."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from .simulators import Simulator, running


@pytest.fixture(scope="session")
def vllm() -> Iterator[Simulator]:
    """vLLM's dialect, short fixed times."""
    with running("--profile", "flat", "--ttft-ms", "5", "--token-gap-ms", "1", "--answer-tokens", "60") as simulator:
        yield simulator


@pytest.fixture(scope="session")
def sglang() -> Iterator[Simulator]:
    """SGLang's dialect, short fixed times."""
    with running(
        "--profile", "flat", "--ttft-ms", "5", "--token-gap-ms", "1", "--answer-tokens", "60", "--style", "sglang"
    ) as simulator:
        yield simulator


@pytest.fixture(scope="session")
def h100() -> Iterator[Simulator]:
    """The batch engine with its caches, forty times as fast as an H100."""
    with running("--time-scale", "40") as simulator:
        yield simulator


@pytest.fixture
def start() -> Iterator[Callable[..., Simulator]]:
    """Starts simulators with any flags; they end with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *flags: stack.enter_context(running(*flags))
