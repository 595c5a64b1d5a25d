"""Recognising an engine that runs already."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.masking import shown_url
from tokenswarm.engines import management_http as web
from tokenswarm.engines.engine import Engine
from tokenswarm.engines.spec.effective import dig
from tokenswarm.engines.spec.engine_spec import DetectionRule, EngineSpec, known_engines, load_description


def matches(sign: DetectionRule, reply: web.Reply | None) -> bool:
    """Whether the answer to the sign's endpoint shows the sign."""
    if reply is None:
        return False
    seen: Any
    if sign.header is not None:
        seen = reply.headers.get(sign.header.lower())
    elif reply.status == 200 and sign.path is not None:
        seen = dig(reply.json(), sign.path)
    else:
        return False
    return seen is not None and (sign.equals is None or str(seen).lower() == sign.equals.lower())


def probe(base_url: str, api_key: str | None = None) -> EngineSpec | None:
    """The description of whatever engine answers at `base_url`; None for one that is not recognised."""
    replies: dict[str, web.Reply | None] = {}

    def reply(path: str) -> web.Reply | None:
        if path not in replies:
            try:
                replies[path] = web.request(web.root_of(base_url) + path, api_key=api_key)
            except web.Unreachable:
                replies[path] = None
        return replies[path]

    descriptions = [load_description(name) for name in known_engines()]
    for description in sorted(descriptions, key=lambda each: each.recognise_rank):
        if any(matches(sign, reply(sign.endpoint)) for sign in description.recognise):
            return description
    return None


def adopt(base_url: str, api_key: str | None = None, description: EngineSpec | None = None) -> Engine:
    """An Engine for an endpoint that someone else runs. `description`: where it was recognised already.

    Whether it serves what a load asks is for the check before the load to find out: it may have no list of models.
    Raises UserError: Exit.USAGE for a URL that is none, Exit.ENDPOINT when nothing answers there, Exit.AUTH when it
    refuses the API key.
    """
    try:
        parts = urlsplit(base_url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise UserError(Exit.USAGE, f"{shown_url(base_url)!r} is not a URL such as http://127.0.0.1:8000.")
    try:
        reply = web.request(web.root_of(base_url) + "/v1/models", api_key=api_key, timeout_s=10.0)
    except web.Unreachable as error:
        raise UserError(Exit.ENDPOINT, f"Nothing answers at {base_url}: {error}.") from error
    if reply.status in (401, 403):
        hint = "it was refused" if api_key else "none was given: set API_KEY"
        raise UserError(Exit.AUTH, f"{base_url} asks for an API key; {hint}.")
    engine = Engine(base_url, description or probe(base_url, api_key), api_key)
    engine.read_configuration()
    return engine
