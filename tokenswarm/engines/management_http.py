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
from functools import lru_cache

from tokenswarm.base import foreign
from tokenswarm.base.endpoint import USUAL_FORM, EndpointForm, keys_of
from tokenswarm.base.masking import masked

MAX_BODY_BYTES = 16 * 1024 * 1024
"""More than any engine's /metrics; a longer body is cut."""


_REASON_CHARS = 200


class Unreachable(Exception):
    """No HTTP response was received; `str()` says why."""


@dataclass(frozen=True, slots=True)
class HttpReply:
    """An HTTP answer of any status."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """The credentials that were sent; they are masked in what is read here."""

    @property
    def text(self) -> str:
        """The body as text; undecodable bytes are replaced."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> object:
        """The body's JSON value as plain values (see `base.foreign`), or None where it is not JSON."""
        try:
            return foreign.decode(self.body, lambda text: masked(text, self.secrets))
        except foreign.NotJson:
            return None


class _AnyStatus(urllib.request.HTTPErrorProcessor):
    """Hands out every answer as it is: no exception for a 4xx, and no redirect, which could carry the API key away."""

    def http_response(self, request: object, response: object) -> object:
        return response

    https_response = http_response


@lru_cache(maxsize=16)
def _opener(form: EndpointForm, tls: bool) -> urllib.request.OpenerDirector:
    """The system's proxy settings are not for engines, which are nearby: only a proxy that the endpoint's own
    description names."""
    proxies = {}
    if form.proxy is not None:
        proxies = {"http": form.proxy.url, "https": form.proxy.url}
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler(proxies), _AnyStatus()]
    if tls:
        handlers.append(urllib.request.HTTPSHandler(context=form.tls_context()))
    return urllib.request.build_opener(*handlers)


def request(
    url: str,
    method: str = "GET",
    *,
    api_key: str | None = None,
    form: EndpointForm = USUAL_FORM,
    payload: object = None,
    timeout_s: float = 5.0,
) -> HttpReply:
    """One request; `payload` is sent as JSON; `form`: the endpoint's headers, TLS and proxy. Raises Unreachable when no
    answer came in time."""
    headers = {"Accept": "*/*"}
    data: bytes | None = None
    if payload is not None:
        headers["Content-Type"] = "application/json"
        data = json.dumps(payload).encode()
    elif method == "POST":
        data = b""
    headers |= form.let_in(api_key)
    if form.proxy is not None and form.proxy.authorization:
        headers["Proxy-Authorization"] = form.proxy.authorization
    prepared = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with _opener(form, url.lower().startswith("https:")).open(prepared, timeout=timeout_s) as answer:
            names = {name.lower(): value for name, value in answer.headers.items()}
            return HttpReply(answer.status, names, answer.read(MAX_BODY_BYTES), keys_of(api_key, form.secrets))
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
