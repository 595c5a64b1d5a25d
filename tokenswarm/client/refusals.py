"""Reads the kind and message of an error body, in whichever shape it comes. Pure."""

from __future__ import annotations

import msgspec

_SHOWN_CHARS = 2000
"""How much of an error body without a message to show."""
_ERROR_KEYS = (
    "error",
    "base_resp",
    "errors",
    "message",
    "detail",
    "msg",
    "status_msg",
    "error_msg",
    "error_message",
    "errmsg",
    "reason",
    "title",
    "description",
)
"""Fields that hold an error's message, from the outside in."""

_QUOTA = (
    "insufficient_quota",
    "quota_exceeded",
    "exceeded your current quota",
    "billing",
    "insufficient_balance",
    "insufficient balance",
    "insufficient credits",
    "out of credits",
    "payment required",
    "credit balance",
    "budget has been exceeded",
    "budget_exceeded",
)
"""Words that mean a used-up quota rather than a rate limit."""
_RATE = ("rate_limit", "rate limit", "ratelimit", "too many requests")


def error_kind(body: bytes) -> str:
    """The kind of a failure that an engine or a gateway reports in a body: `quota_exceeded`, `rate_limited`, or
    `engine_error` for any other."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "engine_error"
    table = document if isinstance(document, dict) else {}
    error = table.get("error")
    tables = [each for each in (table, error) if isinstance(each, dict)]
    codes = {each.get(name) for each in tables for name in ("code", "status") if isinstance(each.get(name), str | int)}
    words = (
        " ".join(str(each.get(name)) for each in tables for name in ("code", "type", "status")) + " " + error_text(body)
    )
    words = words.lower()
    if codes & {402, "402"} or any(sign in words for sign in _QUOTA):
        return "quota_exceeded"
    return "rate_limited" if codes & {429, "429"} or any(sign in words for sign in _RATE) else "engine_error"


def error_text(body: bytes) -> str:
    """The message of an error body in any of the usual shapes, or else the beginning of the body."""
    try:
        error = msgspec.json.decode(body)
        for key in _ERROR_KEYS:
            while isinstance(error, dict) and error.get(key):
                error = error[key]
        return (error if isinstance(error, str) else msgspec.json.encode(error).decode())[:_SHOWN_CHARS]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return body[:_SHOWN_CHARS].decode("utf-8", "replace")
