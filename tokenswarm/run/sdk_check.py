"""Checks whether an application with the official `openai` SDK could switch to this endpoint by changing only base_url.
For information only.

The SDK reads proxies, organization IDs and more from the environment, and would send the API key there, so these
variables are hidden from it. Its errors never prevent a load, which uses its own client.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from tokenswarm.base.endpoint import Endpoint, keys_of
from tokenswarm.base.masking import masked

_TIMEOUT_S = 30.0
"""Time limit for both requests; the SDK's own timeout is per read, so an endless stream would have none."""
_MAX_TOKENS = 8
_WORDS_CHARS = 200
_QUESTION = [{"role": "user", "content": "Say hello."}]
_OF_THE_SDK = "OPENAI_"


@dataclass(slots=True)
class SdkResult:
    """The result: whether the streamed and the plain answer had text; `notes` say what was wrong."""

    stream: bool = False
    plain: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def compatible(self) -> bool:
        return self.stream and self.plain


def ask_by_sdk(
    endpoint: Endpoint,
    model: str,
    api_key: str | None,
    length_field: str = "max_tokens",
    timeout_s: float = _TIMEOUT_S,
) -> SdkResult:
    """One streamed and one plain completion, for `timeout_s` at most. Never raises."""
    result, keys = SdkResult(), keys_of(api_key, endpoint.form.secrets)
    question = {"model": model, "messages": _QUESTION, length_field: _MAX_TOKENS}

    def ask() -> None:
        try:
            with _client(endpoint, api_key) as client:
                result.stream = _tried(lambda: _streams(client, question), "streamed", result.notes, keys)
                result.plain = _tried(lambda: _answers(client, question), "plain", result.notes, keys)
        except Exception as error:  # whatever it is, it must not prevent the load
            result.notes.append(f"the SDK cannot be used here: {_words(error, keys)}")

    with _without_its_variables():
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(timeout_s)
    if thread.is_alive():
        return SdkResult(result.stream, False, [*result.notes, f"no end of its answers within {timeout_s:g} s"])
    return result


@contextlib.contextmanager
def _without_its_variables() -> Iterator[None]:
    """Hide OPENAI_... variables while the SDK reads the environment."""
    taken = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(_OF_THE_SDK)}
    try:
        yield
    finally:
        os.environ.update(taken)


@contextlib.contextmanager
def _client(endpoint: Endpoint, api_key: str | None) -> Iterator[object]:
    import openai  # takes a second to import

    form = endpoint.form
    http = openai.DefaultHttpxClient(
        trust_env=False,
        timeout=_TIMEOUT_S,
        follow_redirects=False,
        proxy=form.proxy.url_with_password if form.proxy else None,
        verify=form.tls_context() if endpoint.tls else True,
    )
    headers: dict[str, Any] = dict(form.headers)
    if not form.bearer and not any(name.lower() == "authorization" for name in headers):
        headers["Authorization"] = openai.Omit()
    with openai.OpenAI(
        base_url=endpoint.api_url,
        api_key=api_key or "none",
        default_headers=headers,
        default_query=dict(parse_qsl(endpoint.query, keep_blank_values=True)),
        max_retries=0,
        timeout=_TIMEOUT_S,
        http_client=http,
    ) as client:
        yield client


def _tried(question: Callable[[], bool], kind: str, notes: list[str], keys: tuple[str, ...]) -> bool:
    try:
        if question():
            return True
        notes.append(f"the {kind} answer held no text")
    except Exception as error:  # from the SDK, its HTTP library, or an unexpected answer
        notes.append(f"the {kind} answer: {_words(error, keys)}")
    return False


def _words(error: Exception, keys: tuple[str, ...]) -> str:
    return " ".join(masked(f"{type(error).__name__}: {error}", keys).split())[:_WORDS_CHARS]


def _streams(client: Any, question: Mapping[str, object]) -> bool:
    text = False
    for chunk in client.chat.completions.create(**question, stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            delta = choice.delta
            text = text or bool(
                delta.content or getattr(delta, "reasoning", None) or getattr(delta, "reasoning_content", None)
            )
    return text


def _answers(client: Any, question: dict[str, object]) -> bool:
    plain = client.chat.completions.create(**question)
    return bool(plain.choices) and plain.choices[0].message is not None
