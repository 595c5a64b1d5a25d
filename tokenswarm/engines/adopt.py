"""Recognises a running engine."""

from __future__ import annotations

from tokenswarm.base.endpoint import MODELS, USUAL_FORM, Endpoint, EndpointForm, without_query
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.masking import shown_url
from tokenswarm.base.tls import untrusted_hint
from tokenswarm.engines import management_http as web
from tokenswarm.engines.engine_protocol import Engine
from tokenswarm.engines.spec.effective import dig
from tokenswarm.engines.spec.engine_spec import DetectionRule, EngineSpec, known_engines, load_description


def matches(sign: DetectionRule, reply: web.HttpReply | None) -> bool:
    """Whether the response of the rule's endpoint satisfies the rule."""
    if reply is None:
        return False
    seen: object
    if sign.header is not None:
        seen = reply.headers.get(sign.header.lower())
    elif reply.status == 200 and sign.path is not None:
        seen = dig(reply.json(), sign.path)
    else:
        return False
    return seen is not None and (sign.equals is None or str(seen).lower() == sign.equals.lower())


def probe(base_url: str, api_key: str | None = None, form: EndpointForm = USUAL_FORM) -> EngineSpec | None:
    """The description of the engine that answers at `base_url`; None if it is not recognised."""
    endpoint = Endpoint(base_url, form)
    replies: dict[str, web.HttpReply | None] = {}

    def reply(path: str) -> web.HttpReply | None:
        if path not in replies:
            try:
                replies[path] = web.request(endpoint.page(path), api_key=api_key, form=form)
            except web.Unreachable:
                replies[path] = None
        return replies[path]

    descriptions = [load_description(name) for name in known_engines()]
    for description in sorted(descriptions, key=lambda each: each.recognise_rank):
        if any(matches(sign, reply(sign.endpoint)) for sign in description.recognise):
            return description
    return None


def is_told_apart(engine: Engine, description: EngineSpec) -> bool:
    """Whether a running engine, recognised as the one that `description` derives from, satisfies the additional rules
    of `description`."""
    try:
        return all(matches(sign, engine.request(sign.endpoint)) for sign in description.told_apart)
    except web.Unreachable:
        return False


def adopt(
    base_url: str, api_key: str | None = None, description: EngineSpec | None = None, form: EndpointForm = USUAL_FORM
) -> Engine:
    """An Engine for an endpoint that someone else runs. `description`: pass it if the engine is already recognised.
    Does not check that the model is served, because an endpoint may have no list of models; the preflight check does
    that. Raises UserError: Exit.USAGE for an invalid URL, Exit.ENDPOINT when nothing answers, Exit.AUTH when the API
    key is refused.
    """
    try:
        if "://" not in base_url:
            raise ValueError(f"'{without_query(shown_url(base_url))}' is not a URL such as http://127.0.0.1:8000")
        endpoint = Endpoint(base_url, form)
    except ValueError as error:
        raise UserError(Exit.USAGE, f"{error}.") from None
    question = endpoint.url_of(MODELS) if form.path(MODELS) else endpoint.page("/")
    try:
        reply = web.request(question, api_key=api_key, form=form, timeout_s=10.0)
    except web.Unreachable as error:
        hint = _hint(endpoint, error)
        raise UserError(Exit.ENDPOINT, f"Nothing answers at {endpoint.url}: {error}{hint}.") from error
    if reply.status in (401, 403) and form.path(MODELS):
        hint = "it was refused" if api_key or form.secrets else "none was given: set API_KEY"
        raise UserError(Exit.AUTH, f"{endpoint.url} asks for an API key; {hint}.")
    engine = Engine(base_url, description or probe(base_url, api_key, form), api_key, form)
    engine.read_configuration()
    return engine


def _hint(endpoint: Endpoint, error: web.Unreachable) -> str:
    """The most likely cause, as a hint for the user."""
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return untrusted_hint()
    if not endpoint.tls and "reset" in str(error):
        return "; perhaps this port wants https"
    return ""
