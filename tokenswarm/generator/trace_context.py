"""The W3C trace context of a request (https://www.w3.org/TR/trace-context/), derived from its ID."""

from __future__ import annotations

import hashlib


def trace_context(request_id: str) -> tuple[str, str]:
    """(trace id, value of the `traceparent` header) of a request.

    Both are derived from the request's unique ID, so a trace can be found from a row and vice versa. The flag asks for
    the trace to be recorded.
    """
    digest = hashlib.sha256(request_id.encode()).hexdigest()
    trace_id, span_id = digest[:32], digest[32:48]
    return trace_id, f"00-{trace_id}-{span_id}-01"
