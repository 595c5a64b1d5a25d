"""Before any load: could an application that uses the official `openai` SDK switch to this endpoint by base_url alone?

Lists the models, asks for one streamed and one plain completion, and checks what came back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.masking import masked
from tokenswarm.client.http import Endpoint
from tokenswarm.contract.manifest import PreflightRecord

_TIMEOUT_S = 120.0
_MAX_TOKENS = 8
_QUESTION = [{"role": "user", "content": "Say hello."}]


def preflight(base_url: str, model: str | None, api_key: str | None) -> PreflightRecord:
    """What the endpoint can do.

    `model` None means the only (or first) one that the endpoint lists. Raises UserError: ENDPOINT when it cannot be
    reached or does not speak the API, AUTH for a refused key, MODEL for a model that it does not serve.
    """
    import openai  # here, not above: it takes a second to import, and most commands do without it

    endpoint = Endpoint(base_url)
    root = base_url.rstrip("/")
    client = openai.OpenAI(base_url=root if root.endswith("/v1") else root + "/v1", api_key=api_key or "none",
                           max_retries=0, timeout=_TIMEOUT_S)
    started = time.monotonic()
    models = _asked(lambda: [model.id for model in client.models.list().data], endpoint, model, api_key)
    chosen = _chosen(models, model, endpoint)
    notes: list[str] = []
    text, usage = _asked(lambda: _stream(client, chosen), endpoint, chosen, api_key)
    if not text:
        notes.append("the streamed answer held no text")
    if not usage:
        notes.append("the stream holds no usage: tokens are counted from events, which is less exact")
    plain = _asked(lambda: client.chat.completions.create(model=chosen, messages=_QUESTION, max_tokens=_MAX_TOKENS),
                   endpoint, chosen, api_key)
    plain_ok = bool(plain.choices) and plain.choices[0].message is not None
    if not plain_ok:
        notes.append("the plain answer held no message")
    return PreflightRecord(models=models, model=chosen, stream=bool(text), plain=plain_ok, usage=usage,
                           sdk_compatible=bool(text) and plain_ok, seconds=round(time.monotonic() - started, 3),
                           notes=notes)


def _stream(client: Any, model: str) -> tuple[bool, bool]:
    """(some channel held text, the stream held usage)."""
    text = usage = False
    for chunk in client.chat.completions.create(model=model, messages=_QUESTION, max_tokens=_MAX_TOKENS, stream=True,
                                                stream_options={"include_usage": True}):
        usage = usage or chunk.usage is not None
        for choice in chunk.choices:
            delta = choice.delta
            text = text or bool(delta.content or getattr(delta, "reasoning", None)
                                or getattr(delta, "reasoning_content", None))
    return text, usage


def _chosen(models: list[str], model: str | None, endpoint: Endpoint) -> str:
    if not models:
        raise UserError(Exit.MODEL, f"{endpoint.url} lists no model; wait until it has loaded one")
    if model is None:
        return models[0]
    if model not in models:
        shown = ", ".join(models[:10])
        raise UserError(Exit.MODEL, f"{endpoint.url} does not serve the model '{model}'; it serves: {shown}. "
                                    "Give one of these with MODEL=... (--model)")
    return model


def _asked(question: Callable[[], Any], endpoint: Endpoint, model: str | None, api_key: str | None) -> Any:
    """The answer to a question to the SDK, its errors as sentences (without what the server echoes of the key)."""
    import openai
    try:
        return question()
    except (openai.AuthenticationError, openai.PermissionDeniedError):
        hint = "the key in API_KEY was refused" if api_key else "it wants an API key; set API_KEY in the environment"
        raise UserError(Exit.AUTH, f"{endpoint.url}: {hint}") from None
    except openai.NotFoundError:
        raise UserError(Exit.MODEL, f"{endpoint.url} answers 404 for the model '{model}' under {endpoint.prefix}; "
                                    "check MODEL and the path of HOST") from None
    except openai.APITimeoutError:
        raise UserError(Exit.ENDPOINT, f"{endpoint.url} did not answer within {_TIMEOUT_S:g} s") from None
    except openai.APIConnectionError as error:
        raise UserError(Exit.ENDPOINT, f"{endpoint.url} cannot be reached ({error.__cause__ or error}); is the engine "
                                       "up, and is HOST right?") from None
    except openai.APIStatusError as error:
        detail = " ".join(masked(str(error.message), api_key).split())[:200]
        raise UserError(Exit.ENDPOINT, f"{endpoint.url} answered {error.status_code} to a first request: "
                                       f"{detail}") from None
    except (openai.OpenAIError, ValueError, TypeError, AttributeError) as error:
        raise UserError(Exit.ENDPOINT, f"{endpoint.url} does not speak the OpenAI API "
                                       f"({type(error).__name__})") from None
