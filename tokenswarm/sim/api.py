"""The OpenAI-compatible request body: what is accepted, and what is refused with which error. Pure."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Mapping
from random import Random
from typing import NamedTuple

import msgspec

from tokenswarm.base.numbers import json_value
from tokenswarm.sim.answers import AnswerSpec
from tokenswarm.sim.constrained import TextForm, Tool, called, name_token, schema_of_format
from tokenswarm.sim.jobs import TOKEN_BYTES
from tokenswarm.sim.text import encode, render_chat

COMPLETION_DEFAULT_TOKENS = 16
"""max_tokens of /v1/completions where the request gives none, as the OpenAI API defines it."""

_STATUS_TYPES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    405: "MethodNotAllowedError",
    413: "RequestEntityTooLargeError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
    500: "InternalServerError",
    503: "ServiceUnavailableError",
}


_FORMS = frozenset(
    ("response_format", "structured_outputs", "json", "json_schema", "regex", "choice", "grammar", "ebnf")
)
"""Fields that ask for a form of the answer."""


class ApiError(Exception):
    """A refusal: an HTTP status, a message, and the parameter that it is about."""

    def __init__(self, status: int, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.retry_after_s: int | None = None

    def payload(self) -> bytes:
        """The body that both engines send: {"error": {message, type, param, code}}."""
        return error_payload(self.status, str(self), self.param)


def error_payload(status: int, message: str, param: str | None = None) -> bytes:
    """An error body as JSON, for a response or for an event inside a stream."""
    kind = _STATUS_TYPES.get(status, "APIError")
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": status}})


class CompletionRequest(NamedTuple):
    """A request that was understood. `prompt` holds TOKEN_BYTES for each token."""

    chat: bool
    model: str
    stream: bool
    include_usage: bool
    prompt: bytes
    ask: AnswerSpec
    adapter: str = ""
    """The LoRA adapter that it names; \"\": the base model."""

    @property
    def prompt_tokens(self) -> int:
        """Length of the prompt in tokens."""
        return len(self.prompt) // TOKEN_BYTES


def parse(
    body: bytes, chat: bool, model: str, context_length: int, seed: int, adapters: Collection[str] = ()
) -> CompletionRequest:
    """Reads the body of /v1/chat/completions (chat) or /v1/completions.

    `seed` takes part in the choice of the answer. Raises ApiError as an engine would refuse: 400 for what is not
    JSON, lacks or mistypes a field, or is longer than the context; 404 for a model that is not `model`.
    """
    try:
        data = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise ApiError(400, f"the body is not JSON: {error}") from None
    except UnicodeDecodeError:
        raise ApiError(400, "the body is not UTF-8") from None
    if not isinstance(data, dict):
        raise ApiError(400, "the body must be a JSON object")
    return understand(data, chat, model, context_length, seed, adapters)


def understand(
    data: dict[str, object], chat: bool, model: str, context_length: int, seed: int, adapters: Collection[str] = ()
) -> CompletionRequest:
    """The same of a body that was decoded. An adapter is named as vLLM (NAME) or SGLang (MODEL:NAME) would have it."""
    asked_model = data.get("model", model)
    adapter = str(asked_model).removeprefix(f"{model}:")
    adapter = adapter if adapter in adapters else ""
    if asked_model != model and not adapter:
        raise ApiError(404, f"The model `{asked_model}` does not exist.", "model")
    if _number(data, "n", int, 1, 1) != 1:
        raise ApiError(400, "n: the simulator answers with one choice only", "n")
    texts, prompt = _chat_prompt(data) if chat else _completion_prompt(data)
    if adapter:  # its keys and values are its own: no prefix is shared with another's
        prompt = zlib.crc32(adapter.encode()).to_bytes(TOKEN_BYTES, "big") + prompt[TOKEN_BYTES:]
    options = data.get("stream_options") or {}
    if not isinstance(options, dict):
        raise ApiError(400, "stream_options must be an object", "stream_options")
    return CompletionRequest(
        chat=chat,
        model=str(asked_model),
        stream=_flag(data, "stream"),
        include_usage=_flag(options, "include_usage"),
        prompt=prompt,
        ask=_ask(data, chat, texts, prompt, context_length, seed),
        adapter=adapter,
    )


def _ask(
    data: dict[str, object], chat: bool, texts: tuple[str, ...], prompt: bytes, context_length: int, seed: int
) -> AnswerSpec:
    prompt_tokens = len(prompt) // TOKEN_BYTES
    room = context_length - prompt_tokens
    if room < 1:
        raise ApiError(
            400,
            f"This model's maximum context length is {context_length} tokens. However, your prompt has "
            f"{prompt_tokens} tokens. Please reduce its length.",
            "messages" if chat else "prompt",
        )
    default = room if chat else min(room, COMPLETION_DEFAULT_TOKENS)
    name = "max_completion_tokens" if data.get("max_completion_tokens") is not None else "max_tokens"
    max_tokens = _number(data, name, int, default, 1)
    if max_tokens > room:
        raise ApiError(
            400,
            f"This model's maximum context length is {context_length} tokens. However, you requested {max_tokens} "
            f"output tokens and your prompt has {prompt_tokens} tokens, {prompt_tokens + max_tokens} in all.",
            name,
        )
    _number(data, "temperature", float, 1.0, 0.0)
    _number(data, "top_p", float, 1.0, 0.0)
    template = data.get("chat_template_kwargs") or {}
    response_format, form = _wanted(data)
    tools, choice = (_tools(data), data.get("tool_choice") or "auto") if chat else ((), "none")
    thinking = template.get("enable_thinking", template.get("thinking")) if isinstance(template, dict) else None
    return AnswerSpec(
        texts=texts,
        prompt_hash=zlib.crc32(prompt, _number(data, "seed", int, 0, None) & 0xFFFFFFFF) ^ (seed & 0xFFFFFFFF),
        max_tokens=max_tokens,
        ignore_eos=_flag(data, "ignore_eos"),
        thinking=thinking if isinstance(thinking, bool) else None,
        response_format=response_format,
        text_form=form,
        tools=tools,
        tool_choice=choice,
        constraint=_constraint(response_format, form, tools, choice),
    )


def _constraint(
    response_format: Mapping[str, object] | None, form: TextForm | None, tools: tuple[Tool, ...], choice: object
) -> str:
    """The text of what an engine compiles before the first token: a schema, or those of tools that must be called."""
    if tools and choice not in ("auto", "none"):
        return json.dumps([choice, *([tool.name, tool.parameters] for tool in tools)], default=str)
    if form is not None:
        return json.dumps([form.kind, form.value])
    schema = schema_of_format(response_format) if response_format is not None else None
    return "" if schema is None else json.dumps(schema)


def _wanted(data: Mapping[str, object]) -> tuple[Mapping[str, object] | None, TextForm | None]:
    """The form of the answer that is asked for, in any of the fields of the known engines: as a
    response_format of the OpenAI API, or as a form of text."""
    if _FORMS.isdisjoint(data):
        return None, None
    response_format = data.get("response_format")
    wanted: dict[str, object] = dict(response_format) if isinstance(response_format, Mapping) else {}
    outputs = data.get("structured_outputs")
    for table in (outputs if isinstance(outputs, Mapping) else {}, data):
        for name, form in (
            ("json", "json"),
            ("json_schema", "json"),
            ("regex", "regex"),
            ("choice", "choice"),
            ("grammar", "grammar"),
            ("ebnf", "grammar"),
        ):
            if table.get(name) is not None and (
                table is not data or name in ("json_schema", "regex", "ebnf", "grammar")
            ):
                wanted = {"type": form, form: table[name]}
    kind = wanted.get("type")
    if kind == "regex_schema":
        kind, wanted = "regex", {"regex": wanted.get("regex_schema")}
    if kind == "json" or (kind == "json_object" and isinstance(wanted.get("schema"), Mapping)):
        schema = wanted.get("schema", wanted.get("json"))
        schema = _schema(schema) if isinstance(schema, str) else schema
        return {"type": "json_schema", "json_schema": {"schema": schema}}, None
    if kind == "regex" or kind == "choice" or kind == "grammar" or kind == "ebnf":
        name = "grammar" if kind in ("grammar", "ebnf") else kind
        try:
            return None, TextForm(name, wanted.get(str(kind)))  # type: ignore[arg-type]  # one of the three
        except ValueError as error:
            raise ApiError(400, f"Failed to compile the {name}: {error}", "response_format") from None
    return wanted or None, None


def _schema(text: str) -> object:
    try:
        return json_value(text)
    except ValueError:
        raise ApiError(400, "the schema is not JSON", "json_schema") from None


def refuse_large(request: CompletionRequest, most_chars: int | None) -> None:
    """Raises ApiError for a constraint that is longer than this engine compiles."""
    if most_chars is not None and len(request.ask.constraint) > most_chars:
        raise ApiError(
            400,
            f"Failed to compile the grammar: it has {len(request.ask.constraint):,} characters, at "
            f"most {most_chars:,} are supported",
            "response_format",
        )


def _tools(data: Mapping[str, object]) -> tuple[Tool, ...]:
    defined = data.get("tools") or []
    tools = []
    for each in defined if isinstance(defined, list) else [None]:
        function = each.get("function") if isinstance(each, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise ApiError(400, "tools must be a list of functions with a name", "tools")
        parameters = function.get("parameters")
        tools.append(Tool(function["name"], parameters if isinstance(parameters, dict) else {"type": "object"}))
    choice = data.get("tool_choice")
    if not tools and choice not in (None, "none", "auto"):
        raise ApiError(400, "tool_choice needs tools", "tool_choice")
    if isinstance(choice, dict) and called(tools, choice, Random(0)) is None:
        raise ApiError(400, "tool_choice names a tool that is not among tools", "tool_choice")
    return tuple(tools)


def _chat_prompt(data: dict[str, object]) -> tuple[tuple[str, ...], bytes]:
    messages = data.get("messages")
    if not isinstance(messages, list) or not messages:
        raise ApiError(400, "messages must be a list of at least one message", "messages")
    pairs: list[tuple[str, str | bytes]] = []
    if data.get("tools"):  # chat templates put them first
        pairs.append(("tools", json.dumps(data["tools"])))
    texts = []
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise ApiError(400, "each message must be an object with a role", "messages")
        content = _content(message.get("content"))
        texts.append(content)
        calls = message.get("tool_calls")
        pairs.append((message["role"], encode(content) + _calls(calls) if calls else content))
    return tuple(texts), render_chat(pairs)


def _calls(calls: object) -> bytes:
    """The tokens of an assistant's calls, those with which they were generated."""
    parts = []
    for call in calls if isinstance(calls, list) else [None]:
        function = call.get("function") if isinstance(call, dict) else None
        if (
            not isinstance(function, dict)
            or not isinstance(function.get("name"), str)
            or not isinstance(function.get("arguments"), str)
        ):
            raise ApiError(400, "tool_calls must be a list of functions with a name, and arguments as text", "messages")
        try:
            json_value(function["arguments"])
        except ValueError:
            raise ApiError(400, "the arguments of a call in the history are not JSON", "messages") from None
        parts.append(name_token(function["name"]) + encode(function["arguments"]))
    return b"".join(parts)


def _content(content: object) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        return "".join(str(part.get("text", f"[{part.get('type')}]")) for part in content)
    raise ApiError(400, "the content of a message must be a text or a list of parts", "messages")


def _completion_prompt(data: dict[str, object]) -> tuple[tuple[str, ...], bytes]:
    prompt = data.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
        prompt = prompt[0]
    if isinstance(prompt, str) and prompt:
        return (prompt,), encode(prompt)
    ids = prompt if isinstance(prompt, list) else []
    if ids and all(isinstance(token, int) and 0 <= token < 1 << 32 for token in ids):
        return (), b"".join(token.to_bytes(TOKEN_BYTES, "little") for token in ids)
    raise ApiError(400, "prompt must be one text or one list of token ids, not empty", "prompt")


def _flag(data: Mapping[str, object], key: str) -> bool:
    value = data.get(key)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise ApiError(400, f"{key} must be true or false", key)


def _number(data: Mapping[str, object], key: str, kind: type, default: float, minimum: float | None):
    value = data.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)):
        raise ApiError(400, f"{key} must be a number", key)
    if minimum is not None and value < minimum:
        raise ApiError(400, f"{key} must be at least {minimum}, not {value}", key)
    return value
