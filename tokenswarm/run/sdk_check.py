"""Could an application that uses the official `openai` SDK switch to this endpoint by base_url alone? For information.

The SDK takes proxies, organisation ids and more from its surroundings, and would show them the API key: it gets none.
Nothing that it does or raises keeps a load from being sent, for the load has a client of its own.
"""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tokenswarm.base.masking import masked

_TIMEOUT_S = 30.0
_MAX_TOKENS = 8
_WORDS_CHARS = 200
_QUESTION = [{"role": "user", "content": "Say hello."}]
_OF_THE_SDK = "OPENAI_"


@dataclass(slots=True)
class SdkResult:
    """What came of it: a streamed and a plain answer held text; `notes` say what was amiss."""

    stream: bool = False
    plain: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def compatible(self) -> bool:
        return self.stream and self.plain


def ask_by_sdk(base_url: str, model: str, api_key: str | None) -> SdkResult:
    """One streamed and one plain completion. Never raises."""
    result = SdkResult()
    try:
        with _without_its_variables(), _client(base_url, api_key) as client:
            result.stream = _tried(lambda: _streams(client, model), "streamed", result.notes, api_key)
            result.plain = _tried(lambda: _answers(client, model), "plain", result.notes, api_key)
    except Exception as error:  # whatever it is, it is no reason not to load
        result.notes.append(f"the SDK cannot be used here: {_words(error, api_key)}")
    return result


@contextlib.contextmanager
def _without_its_variables() -> Iterator[None]:
    """No OPENAI_... in this process's environment, for as long as the SDK looks."""
    taken = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(_OF_THE_SDK)}
    try:
        yield
    finally:
        os.environ.update(taken)


@contextlib.contextmanager
def _client(base_url: str, api_key: str | None) -> Iterator[Any]:
    import openai  # takes a second to import

    root = base_url.rstrip("/")
    http = openai.DefaultHttpxClient(trust_env=False, timeout=_TIMEOUT_S, follow_redirects=False,
                                     verify=ssl.create_default_context() if root.startswith("https") else True)
    with openai.OpenAI(base_url=root if root.endswith("/v1") else root + "/v1", api_key=api_key or "none",
                       max_retries=0, timeout=_TIMEOUT_S, http_client=http) as client:
        yield client


def _tried(question: Any, kind: str, notes: list[str], api_key: str | None) -> bool:
    try:
        if question():
            return True
        notes.append(f"the {kind} answer held no text")
    except Exception as error:  # of the SDK's own, of its HTTP library, or from an answer that it did not foresee
        notes.append(f"the {kind} answer: {_words(error, api_key)}")
    return False


def _words(error: Exception, api_key: str | None) -> str:
    return " ".join(masked(f"{type(error).__name__}: {error}", api_key).split())[:_WORDS_CHARS]


def _streams(client: Any, model: str) -> bool:
    text = False
    for chunk in client.chat.completions.create(model=model, messages=_QUESTION, max_tokens=_MAX_TOKENS, stream=True,
                                                stream_options={"include_usage": True}):
        for choice in chunk.choices:
            delta = choice.delta
            text = text or bool(delta.content or getattr(delta, "reasoning", None)
                                or getattr(delta, "reasoning_content", None))
    return text


def _answers(client: Any, model: str) -> bool:
    plain = client.chat.completions.create(model=model, messages=_QUESTION, max_tokens=_MAX_TOKENS)
    return bool(plain.choices) and plain.choices[0].message is not None
