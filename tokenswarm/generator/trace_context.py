"""The W3C trace context of a request (https://www.w3.org/TR/trace-context/), from its own id."""

from __future__ import annotations

import hashlib


def trace_context(request_id: str) -> tuple[str, str]:
    """(trace id, value of the `traceparent` header) of a request.

    Both come from the request's id, which no two requests of any run share: a trace can be found from a row, and the
    row of a trace too. The flag says that the trace is to be recorded.
    """
    digest = hashlib.sha256(request_id.encode()).hexdigest()
    trace_id, span_id = digest[:32], digest[32:48]
    return trace_id, f"00-{trace_id}-{span_id}-01"
