"""An endpoint: its base URL, paths, query, headers, TLS and proxy.

Used by the load, the check before it, and requests to the engine's management pages. Pure.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from tokenswarm.base.masking import shown_url
from tokenswarm.base.tls import client_context

CHAT, COMPLETIONS, RESPONSES, MODELS = "/chat/completions", "/completions", "/responses", "/models"
"""Default API paths below the base URL; also used as their names."""
_ANSWERING = (CHAT, RESPONSES, COMPLETIONS)
_VERSION = "/v1"
_USUAL_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy. `authorization`: its Proxy-Authorization header, "" for none."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)
    url_with_password: str = field(default="", repr=False)
    """The URL as given."""

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """Parse `http://host:port`, optionally with user and password. Raises ValueError, which shows neither."""
        try:
            parts = urlsplit(url if "//" in url else "http://" + url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
            parts = urlsplit("")
        if parts.scheme != "http" or not host:
            raise ValueError(
                f"'{shown_url(url)}' is not a proxy that can be used here; expected something like http://proxy:3128"
            )
        names = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        basic = base64.b64encode(names.encode()).decode()
        return cls(host, port or 80, f"Basic {basic}" if parts.username else "", parts.geturl())

    @property
    def url(self) -> str:
        """Without user and password."""
        return f"http://{_in_brackets(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class EndpointForm:
    """What an endpoint needs besides its base URL, with all values filled in. The defaults suit most endpoints."""

    paths: tuple[tuple[str, str], ...] = ()
    """Pairs of (CHAT, COMPLETIONS, ...; its path below the base URL). "" for MODELS: there is no list."""
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    bearer: bool = True
    """Whether the API key is sent as `Authorization: Bearer`."""
    verify_tls: bool = True
    ca_file: str | None = None
    proxy: Proxy | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Values of headers, query and proxy that must be masked."""

    def path(self, name: str) -> str:
        """The path of CHAT, MODELS, ...; "" if there is none."""
        return dict(self.paths).get(name, name)

    def let_in(self, api_key: str | None) -> dict[str, str]:
        """Authentication headers: the key, and the endpoint's own headers, which take precedence."""
        own = {name.lower() for name, _ in self.headers}
        bearer = api_key and self.bearer and "authorization" not in own
        return ({"Authorization": f"Bearer {api_key}"} if bearer else {}) | dict(self.headers)

    def tls_context(self) -> ssl.SSLContext:
        """The TLS context. Raises OSError if the CA file cannot be read."""
        context = client_context(self.ca_file)
        if not self.verify_tls:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


USUAL_FORM = EndpointForm()


class Endpoint:
    """A parsed base URL with the endpoint's form. The default path is `/v1`; a given path is kept, except that a
    request path (`.../chat/completions`) is removed. A query is sent with each request. Raises ValueError with a
    sentence for an invalid URL.
    """

    __slots__ = ("form", "host", "host_header", "port", "prefix", "query", "tls", "url")

    def __init__(self, url: str, form: EndpointForm = USUAL_FORM) -> None:
        shown = without_query(shown_url(url))
        try:
            parts = urlsplit(url if "//" in url else "http://" + url)
        except ValueError:  # the message shows the host, which may contain a password
            raise ValueError(f"'{shown}' is not an endpoint") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"'{shown}' is not an endpoint; expected something like http://127.0.0.1:8000")
        if parts.username or parts.password:
            raise ValueError("an endpoint must not hold a user name or password; give the key as API_KEY")
        self.form = form
        self.tls = parts.scheme == "https"
        self.host = _ascii_name(parts.hostname)
        try:
            self.port = _USUAL_PORTS[parts.scheme] if parts.port is None else parts.port
            if not self.port:
                raise ValueError
        except ValueError:
            raise ValueError(f"'{shown}' has no usable port; expected something like http://127.0.0.1:8000") from None
        path = parts.path.rstrip("/")
        if not all("!" <= character <= "~" for character in self.host + path + parts.query):
            raise ValueError(f"'{shown}' holds a blank or a character that is not ASCII; write it percent-encoded")
        taken_off = next((end for end in _ANSWERING if path.endswith(end)), "")
        self.prefix = path.removesuffix(taken_off) if path else _VERSION
        added = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in form.query)
        self.query = "&".join(part for part in (parts.query, added) if part)
        name = _in_brackets(self.host)
        self.host_header = name if self.port == _USUAL_PORTS[parts.scheme] else f"{name}:{self.port}"
        self.url = f"{parts.scheme}://{self.host_header}{path}"
        """For display: without the query, which may contain a secret."""

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self.tls else 'http'}://{self.host_header}"

    @property
    def api_url(self) -> str:
        """The base URL for an SDK: the parent of the API's paths, without a query."""
        return self.origin + self.prefix

    @property
    def root(self) -> str:
        """The base of an engine's own pages (`/metrics`): the API's prefix without `/v1`."""
        return self.origin + self.root_path

    @property
    def root_path(self) -> str:
        return self.prefix.removesuffix(_VERSION).rstrip("/")

    def shown(self, name: str) -> str:
        """The path of CHAT, MODELS, ... for display."""
        path = self.form.path(name)
        return path[1:] if path.startswith("//") else self.prefix + path

    def target(self, name: str) -> str:
        """The request target for CHAT, MODELS, ...: path and query. A configured path that begins with two slashes is
        relative to the server's root."""
        return self._with_query(self.shown(name))

    def url_of(self, name: str) -> str:
        """The whole URL of CHAT, MODELS, ..., with the query."""
        return self.origin + self.target(name)

    def page(self, path: str) -> str:
        """The whole URL of a page of the engine's own."""
        return self.root + self._with_query(path)

    def _with_query(self, path: str) -> str:
        return f"{path}{'&' if '?' in path else '?'}{self.query}" if self.query else path


def _ascii_name(host: str) -> str:
    """The ASCII form of a host name: xn--bcher-kva.example for bücher.example; unchanged if there is none."""
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        return host


def without_query(url: str) -> str:
    """A URL without its query, which may contain a key."""
    return url.partition("?")[0]


def _in_brackets(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def keys_of(api_key: str | None, secrets: Iterable[str]) -> tuple[str, ...]:
    """All keys to mask in a server's texts."""
    return tuple(dict.fromkeys(secret for secret in (api_key, *secrets) if secret))
