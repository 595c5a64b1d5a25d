"""A trace context that W3C's readers take, from the request's own id."""

from __future__ import annotations

import re

from tokenswarm.generator.trace_context import trace_context


def test_the_header_is_as_w3c_has_it_and_holds_the_id_of_the_row() -> None:
    trace_id, header = trace_context("20261101-120000-sim-rag-0-1")
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", header)
    assert header.split("-")[1] == trace_id and set(trace_id) != {"0"}


def test_no_two_requests_share_a_trace() -> None:
    assert len({trace_context(f"run-0-{number}")[0] for number in range(1000)}) == 1000
    assert trace_context("run-0-1") == trace_context("run-0-1")
