"""Checks before any load whether the endpoint accepts it, by sending the load's first request in its exact form with
the load's own client. The endpoint's list of models is only advice, and the result of the official SDK is for
information (see `sdk_check`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tokenswarm.base.endpoint import CHAT, MODELS, Endpoint
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.tls import untrusted_hint
from tokenswarm.client.answer import Answer
from tokenswarm.client.model_list import is_pattern, model_names
from tokenswarm.contract.manifest import PreflightRecord
from tokenswarm.contract.tables import CUT_BY_LENGTH, ERROR_KINDS
from tokenswarm.engines.management_http import Unreachable, request
from tokenswarm.run.enforcement import Enforcement, enforcement
from tokenswarm.run.first_request import MAX_TOKENS, LoadToCheck, error_words, send_first_request
from tokenswarm.run.sdk_check import SdkResult, ask_by_sdk

_LIST_TIMEOUT_S = 10.0
_WORDS_CHARS = 300
_MODELS_SHOWN = 10
_HINTS = (
    (("max_completion_tokens",), "endpoint.length_field=max_completion_tokens"),
    (("stream_options",), "endpoint.send_stream_options=false"),
    (("include_usage",), "endpoint.send_stream_options=false"),
    (("temperature",), "endpoint.send_temperature=false"),
    (("system", "role"), "endpoint.fold_system=true"),
    (("ignore_eos",), "endpoint.send_ignore_eos=false"),
    (("seed",), "endpoint.send_seed=false"),
    (("api-version",), "endpoint.query.api-version=..."),
    (("chat template",), "endpoint.api=completions"),
    (("one json document came",), "output.stream=false"),
    (("streaming", "not"), "output.stream=false"),
    (("max_tokens", "too large"), "output.max_tokens=..."),
    (("max_tokens", "at most"), "output.max_tokens=..."),
)
"""The setting that helps if the server's message contains all of these words."""


@dataclass(frozen=True, slots=True)
class ModelList:
    """The endpoint's list of models. `names` is None if there is no list; `why` says why. `moved_to`: target of a
    redirect, which is never followed, since it could send the API key to another host."""

    names: list[str] | None = None
    why: str = ""
    status: int | None = None
    moved_to: str | None = None

    @property
    def concrete(self) -> list[str]:
        """The names that denote a single model."""
        return [name for name in self.names or [] if not is_pattern(name)]


@dataclass(frozen=True, slots=True)
class CheckTools:
    """Functions that query the endpoint; tests inject their own."""

    models: Callable[[Endpoint, str | None], ModelList] = field(default_factory=lambda: listed_models)
    first: Callable[[LoadToCheck], Answer] = send_first_request
    enforces: Callable[[LoadToCheck], Enforcement] = enforcement
    sdk: Callable[[Endpoint, str, str | None, str], SdkResult] = ask_by_sdk


def preflight(load: LoadToCheck, tools: CheckTools | None = None) -> PreflightRecord:
    """What the endpoint supports. `load.model` "" means the only (or first) listed model. Raises UserError: ENDPOINT if
    it cannot be reached or rejects the load's first request, AUTH for a rejected key, MODEL for a model that it does
    not serve.
    """
    tools = tools or CheckTools()
    endpoint, started = load.endpoint, time.monotonic()
    listed = tools.models(endpoint, load.api_key)
    load = replace(load, model=load.model or _only_choice(listed, endpoint, load.api_key))
    answer = tools.first(load)
    if not answer.ok:
        raise _refusal(load, endpoint, listed, answer)
    first_answer_s = None if answer.e2e_ms is None else round(answer.e2e_ms / 1e3, 3)
    constrained = tools.enforces(load.after(first_answer_s))
    sdk = _by_sdk(tools, load, endpoint)
    return PreflightRecord(
        models=listed.names or [],
        model=load.model,
        stream=sdk.stream,
        plain=sdk.plain,
        usage=answer.usage.completion_tokens is not None,
        sdk_compatible=sdk.compatible,
        sdk_notes=sdk.notes,
        seconds=round(time.monotonic() - started, 3),
        first_answer_s=first_answer_s,
        notes=[*_notes(load, listed, answer), *constrained.notes],
        enforced=constrained.enforced,
        enforced_words=constrained.words,
    )


def listed_models(endpoint: Endpoint, api_key: str | None) -> ModelList:
    """Get the list of models. Raises UserError (ENDPOINT) if nothing answers at all."""
    if not endpoint.form.path(MODELS):
        return ModelList(None, "endpoint.models_path is empty")
    try:
        reply = request(endpoint.url_of(MODELS), api_key=api_key, form=endpoint.form, timeout_s=_LIST_TIMEOUT_S)
    except Unreachable as error:
        raise UserError(
            Exit.ENDPOINT, f"{endpoint.url} cannot be reached ({error}); is the engine up, and is HOST right?"
        ) from None
    if reply.status != 200:
        return ModelList(
            None,
            f"{endpoint.shown(MODELS)} answers {reply.status}",
            reply.status,
            reply.headers.get("location") if 300 <= reply.status < 400 else None,
        )
    try:
        names = model_names(reply.json())
    except RecursionError:  # JSON of any depth
        names = None
    why = (
        ""
        if names
        else f"{endpoint.shown(MODELS)} lists none"
        if names is not None
        else f"{endpoint.shown(MODELS)} is not a list of models"
    )
    return ModelList(names, why, reply.status)


def _only_choice(listed: ModelList, endpoint: Endpoint, api_key: str | None) -> str:
    if listed.concrete:
        return listed.concrete[0]
    if listed.moved_to:
        raise _moved(endpoint, listed)
    if listed.status in (401, 403):
        raise _wants_key(endpoint, api_key, "")
    why = listed.why or f"only patterns: {', '.join((listed.names or [])[:_MODELS_SHOWN])}"
    code = Exit.ENDPOINT if listed.names is None else Exit.MODEL
    raise UserError(
        code,
        f"{endpoint.url} lists no model ({why}); wait until it has loaded one, or name one with MODEL=... (--model)",
    )


def _notes(load: LoadToCheck, listed: ModelList, answer: Answer) -> list[str]:
    """Notes about the endpoint for readers of the run."""
    notes = []
    if listed.names is None or not listed.names:
        notes.append(f"The endpoint does not list its models ({listed.why}): {load.model} was taken as given.")
    elif load.model not in listed.names:
        notes.append(f"The endpoint does not list the model {load.model}, but answers for it.")
    if not answer.text and not answer.reasoning:
        cut = f", which was cut after {MAX_TOKENS} tokens," if answer.finish_reason == CUT_BY_LENGTH else ""
        notes.append(f"The answer to the first request{cut} held no text.")
    if answer.usage.completion_tokens is None:
        notes.append(
            "The answers hold no usage: tokens are counted from events, which is less exact."
            if load.scenario.output.stream
            else "The answers hold no usage, so their tokens are not known."
        )
    return notes


def _refusal(load: LoadToCheck, endpoint: Endpoint, listed: ModelList, answer: Answer) -> UserError:
    """Why the load's first request failed, in the server's own words."""
    words = error_words(load, answer, _WORDS_CHARS)
    in_its_words = f": {words}" if words else ""
    if answer.error == "unauthorized":
        return _wants_key(endpoint, load.api_key, in_its_words)
    if answer.error == "unexpected_status" and listed.moved_to:
        return _moved(endpoint, listed)
    if answer.error == "unexpected_status" and answer.location:
        return _moved(endpoint, ModelList(status=answer.http_status, moved_to=answer.location))
    if answer.error == "not_found" or (
        answer.error == "rejected" and load.model not in listed.concrete and "model" in words.lower()
    ):
        serves = f"; it serves: {', '.join(listed.concrete[:_MODELS_SHOWN])}" if listed.concrete else ""
        return UserError(
            Exit.MODEL,
            f"{endpoint.url} answers {answer.http_status} for the model '{load.model}' at "
            f"{endpoint.shown(load.scenario.endpoint.request_path)}{in_its_words}; check MODEL and "
            f"the path of HOST{_path_hint(load, endpoint)}{serves}",
        )
    if answer.error in ("connect_refused", "connect_timeout", "connect_failed", "tls_failed"):
        hint = untrusted_hint() if answer.error == "tls_failed" else "; is the engine up, and is HOST right?"
        return UserError(Exit.ENDPOINT, f"{endpoint.url} cannot be reached ({words}){hint}")
    if answer.error in ("timeout_first_token", "timeout_total", "timeout_gap"):
        begun = "answer" if answer.http_status is None else "end its answer"
        return UserError(
            Exit.ENDPOINT,
            f"{endpoint.url} did not {begun} to the first request of the load within {load.wait_s:g} s; is the engine "
            "still loading, or does it hang?",
        )
    hint = next(
        (f'; try SET="{setting}"' for signs, setting in _HINTS if all(sign in words.lower() for sign in signs)), ""
    )
    status = f" ({answer.http_status})" if answer.http_status not in (None, 200) else ""
    return UserError(
        Exit.ENDPOINT,
        f"{endpoint.url} failed the first request of the load, sent in its exact form"
        f"{status}: {_HTTP if answer.error == 'malformed_http' else ''}"
        f"{words or ERROR_KINDS.get(answer.error or '', answer.error)}{hint}",
    )


_HTTP = "the server does not speak proper HTTP/1.1, "


def _wants_key(endpoint: Endpoint, api_key: str | None, in_its_words: str) -> UserError:
    if endpoint.form.secrets:
        hint = "the key was refused; check the variables that [endpoint] takes it from"
    elif api_key:
        hint = "the key in API_KEY was refused"
        in_its_words += (
            '; if the key belongs in a header of its own: SET="endpoint.bearer=false '
            'endpoint.headers.api-key=env:API_KEY"'
        )
    else:
        hint = "it needs an API key; set API_KEY in the environment"
    return UserError(Exit.AUTH, f"{endpoint.url}: {hint}{in_its_words}")


def _path_hint(load: LoadToCheck, endpoint: Endpoint) -> str:
    """A hint for a path that does not exist."""
    if not endpoint.prefix.endswith("/v1") and not load.scenario.endpoint.preset:
        return (
            " (the path in HOST is used as it stands: is /v1 missing at its end? Others: ENDPOINT=azure and the "
            'like, or SET="endpoint.chat_path=/...")'
        )
    return ' (another one: SET="endpoint.chat_path=/...")'


def _by_sdk(tools: CheckTools, load: LoadToCheck, endpoint: Endpoint) -> SdkResult:
    """The result of the SDK, if it can be configured for the endpoint."""
    settings = load.scenario.endpoint
    if settings.api != "chat" or endpoint.form.path(CHAT) != CHAT:
        return SdkResult(
            notes=[f"requests go to {endpoint.shown(settings.request_path)}, which the SDK is not asked about"]
        )
    return tools.sdk(endpoint, load.model, load.api_key, settings.length_field)


def _moved(endpoint: Endpoint, listed: ModelList) -> UserError:
    where = "".join(sign for sign in str(listed.moved_to) if sign.isprintable())[:_WORDS_CHARS]
    return UserError(
        Exit.ENDPOINT,
        f"{endpoint.url} answers {listed.status}, a redirect to {where}, which is not "
        "followed: give the address itself with HOST=... (--host)",
    )
