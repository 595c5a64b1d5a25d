"""Small blocking HTTP requests to an engine's management endpoints.

The load itself never goes through here: this runs in the command-line process, a few times a second at most.
"""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tokenswarm.base import foreign
from tokenswarm.base.masking import masked

MAX_BODY_BYTES = 16 * 1024 * 1024
"""More than any engine's /metrics; a longer body is cut."""


_REASON_CHARS = 200


class Unreachable(Exception):
    """No HTTP answer came; `str()` says why in a few words."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer of any status."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    api_key: str | None = field(default=None, repr=False)
    """What was sent; nothing of it is in what is read here."""

    @property
    def text(self) -> str:
        """The body as text; undecodable bytes are replaced."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body's JSON value as plain values (see `base.foreign`), or None where it is not JSON."""
        try:
            return foreign.decode(self.body, lambda text: masked(text, self.api_key))
        except foreign.NotJson:
            return None


class _AnyStatus(urllib.request.HTTPErrorProcessor):
    """Hands out every answer as it is: no exception for a 4xx, and no redirect, which could carry the API key away."""

    def http_response(self, request: Any, response: Any) -> Any:
        return response

    https_response = http_response


# The system's proxy settings are not for engines, which are nearby.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _AnyStatus)


def root_of(base_url: str) -> str:
    """The server's root for a base URL, with or without a trailing slash or /v1."""
    return base_url.rstrip("/").removesuffix("/v1").rstrip("/")


def request(
    url: str,
    method: str = "GET",
    *,
    api_key: str | None = None,
    payload: Any = None,
    timeout_s: float = 5.0,
) -> Reply:
    """One request; `payload` is sent as JSON. Raises Unreachable when no answer came in time."""
    headers = {"Accept": "*/*"}
    data: bytes | None = None
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    if payload is not None:
        headers["Content-Type"] = "application/json"
        data = json.dumps(payload).encode()
    elif method == "POST":
        data = b""
    prepared = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with _OPENER.open(prepared, timeout=timeout_s) as answer:
            names = {name.lower(): value for name, value in answer.headers.items()}
            return Reply(answer.status, names, answer.read(MAX_BODY_BYTES), api_key)
    except urllib.error.URLError as error:
        raise Unreachable(_reason(error.reason)) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unreachable(_reason(error)) from error


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or error})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return foreign.printable(str(error), _REASON_CHARS) or type(error).__name__
