"""Parses one JSON document of an answer into typed values: choices, deltas, usage, errors, in every shape that engines
use. Documents that follow the API are decoded straight into structs. If that fails, the document is read again without
types, field by field: an odd optional field is dropped and reported, and the answer stands. Raises `NoEvent` for
anything that is not a JSON object or lacks a choice where one should be. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from tokenswarm.base.numbers import loose_json, without_halves
from tokenswarm.client.answer import Usage
from tokenswarm.client.tool_calls import CallsSoFar

MAX_COUNT = 10**12
"""Larger token counts are ignored: no request has so many, and they would spoil every sum."""
_MAX_DEPTH = 8
"""How deep content parts may be nested; deeper ones are ignored."""
_THOUGHTS = frozenset({"thinking", "reasoning", "reasoning_content", "thought", "reasoning_text", "summary_text"})
"""Types of a part that is reasoning; also the names of the field that holds its text."""
_TEXTS = ("text", "content", "output_text", "refusal")


class NoEvent(Exception):
    """The document does not follow the API; `str()` says why and shows its beginning."""


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _Custom(msgspec.Struct, gc=False):
    name: str | None = None
    input: str | None = None


class _ToolCall(msgspec.Struct, gc=False):
    function: _Function | None = None
    custom: _Custom | None = None
    name: str | None = None
    arguments: str | None = None
    index: Any = None
    id: Any = None

    def parts(self) -> tuple[str | None, str | None]:
        """(name, arguments), wherever they are."""
        if self.function is not None:
            return self.function.name, self.function.arguments
        if self.custom is not None:
            return self.custom.name, self.custom.input
        return self.name, self.arguments

    def words(self) -> str:
        """Name and arguments as one text."""
        name, arguments = self.parts()
        return (name or "") + (arguments or "")


class MessageDelta(msgspec.Struct, gc=False):
    """What a chunk adds, or a whole message."""

    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _ToolCall | None = None

    def texts(self) -> Iterator[str]:
        """The texts of the answer, in order: content, refusal, names and arguments of calls."""
        if self.content:
            yield self.content
        if self.refusal:
            yield self.refusal
        for call in self.calls():
            if words := call.words():
                yield words

    def calls(self) -> Iterator[_ToolCall]:
        """Tool calls, or pieces of them."""
        yield from self.tool_calls or ()
        if self.function_call is not None:
            yield self.function_call

    def gather(self, calls: CallsSoFar) -> None:
        """Add the tool calls, or pieces of them, to the earlier ones."""
        for call in self.calls():
            calls.add(call.index, call.id, *call.parts())

    @property
    def thought(self) -> str:
        """The reasoning, under either engine's name."""
        return self.reasoning or self.reasoning_content or ""


class _Details(msgspec.Struct, gc=False):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    """Token counts under each name that engines and gateways give them."""

    prompt_tokens: int | None = None
    input_tokens: int | None = None
    completion_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None
    cached_tokens: int | None = None
    prompt_cache_hit_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    num_cached_tokens: int | None = None

    def read(self) -> Usage:
        """The four counts; negative or absurdly large ones become None."""
        prompt = self.prompt_tokens_details or self.input_tokens_details
        completion = self.completion_tokens_details or self.output_tokens_details
        return Usage(
            _first(self.prompt_tokens, self.input_tokens),
            _first(
                prompt.cached_tokens if prompt else None,
                self.cached_tokens,
                self.prompt_cache_hit_tokens,
                self.cache_read_input_tokens,
                self.num_cached_tokens,
            ),
            _first(self.completion_tokens, self.output_tokens),
            _first(self.reasoning_tokens, completion.reasoning_tokens if completion else None),
        )


def _first(*counts: int | None) -> int | None:
    return next((count for count in counts if count is not None and 0 <= count <= MAX_COUNT), None)


class Choice(msgspec.Struct, gc=False):
    """One of an event's choices."""

    delta: MessageDelta | None = None
    message: MessageDelta | None = None
    text: str | None = None
    finish_reason: str | None = None
    usage: _Usage | None = None


class _Timings(msgspec.Struct, gc=False):
    cache_n: int | None = None


class _Gateway(msgspec.Struct, gc=False):
    usage: _Usage | None = None


class Event(msgspec.Struct, gc=False):
    """An event of a stream, or a whole body that was not streamed."""

    choices: list[Choice] | None = None
    usage: _Usage | None = None
    x_groq: _Gateway | None = None
    timings: _Timings | None = None
    model: Any = None
    error: Any = None
    object: Any = None
    type: Any = None
    message: Any = None
    detail: Any = None
    msg: Any = None
    errors: Any = None
    base_resp: Any = None

    def tells_error(self) -> bool:
        """Whether this reports a failure, in any of the shapes that engines and gateways use."""
        if self.error:
            return True
        if self.choices:
            return False
        if isinstance(self.base_resp, dict) and self.base_resp.get("status_code") not in (0, "0", None):
            return True
        if self.choices is not None or self.usage is not None:
            return False
        error_fields = (self.error, self.message, self.detail, self.msg, self.errors)
        return "error" in (self.object, self.type) or any(field is not None for field in error_fields)

    def counts(self) -> Iterator[Usage]:
        """All token counts in this event; the event's own `usage` comes last."""
        if self.timings is not None:
            yield Usage(cached_tokens=_first(self.timings.cache_n))
        if self.x_groq is not None and self.x_groq.usage is not None:
            yield self.x_groq.usage.read()
        if self.choices and self.choices[0].usage is not None:
            yield self.choices[0].usage.read()
        if self.usage is not None:
            yield self.usage.read()


_decode_event = msgspec.json.Decoder(Event).decode


def read_event(payload: bytes) -> tuple[Event, Collection[str]]:
    """The event of one JSON document, and its oddities (such as `usage.prompt_tokens is a text`). Raises NoEvent."""
    try:
        return _decode_event(payload), ()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        lenient = _Lenient(payload, error)
        return lenient.event(), lenient.odd


def merged(known: Usage | None, new: Usage) -> Usage:
    """`known` updated with `new`, field by field. Later counts win, except that zero does not replace a count."""
    if known is None:
        return new
    return Usage(
        new.prompt_tokens or _kept(known.prompt_tokens, new.prompt_tokens),
        new.cached_tokens or _kept(known.cached_tokens, new.cached_tokens),
        new.completion_tokens or _kept(known.completion_tokens, new.completion_tokens),
        new.reasoning_tokens or _kept(known.reasoning_tokens, new.reasoning_tokens),
    )


def _kept(known: int | None, new: int | None) -> int | None:
    return new if known is None else known


class _Lenient:
    """Reads an event without types, field by field, and records oddities."""

    def __init__(self, payload: bytes, reason: Exception) -> None:
        self.odd: dict[str, None] = {}
        self._problem = f"{reason}: {payload[:120].decode('utf-8', 'replace')}"
        try:
            document = msgspec.json.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            document = self._nearly_json(payload)
        if not isinstance(document, dict):
            raise NoEvent(self._problem)
        self._document: dict[str, object] = document

    def _nearly_json(self, payload: bytes) -> object:
        """Parse JSON with common faults. NaN, Infinity and numbers out of range become None: they occur in fields that
        are not needed here, such as log probabilities. Texts with control characters, invalid UTF-8 or lone surrogates
        are kept. Raises NoEvent for any other fault."""
        try:
            document = loose_json(payload)
        except ValueError:
            raise NoEvent(self._problem) from None
        known = len(self.odd)
        try:
            json.loads(payload)
        except UnicodeDecodeError:
            self.odd["its text is not UTF-8"] = None
        except ValueError:
            self.odd["its JSON has a control character in a text"] = None
        if b"\\ud" in payload.lower() and _has_half(document):
            self.odd["its text has half a character"] = None
        if len(self.odd) == known:
            self.odd["its JSON has a number that is not finite"] = None
        return document

    def event(self) -> Event:
        """The event. Raises NoEvent if a choice is not an object."""
        document = self._document
        choices = document.get("choices")
        if choices == {}:
            self._note("choices", choices)
            choices = []
        if choices is not None and not isinstance(choices, list):
            raise NoEvent(self._problem)
        gateway, timings = self._table(document, "x_groq"), self._table(document, "timings")
        return Event(
            choices=None if choices is None else [self._choice(choice) for choice in choices[:1]],
            usage=self._usage(document, ""),
            x_groq=_Gateway(self._usage(gateway, "x_groq.")) if gateway else None,
            timings=_Timings(self._count(timings, "cache_n", "timings.")) if timings else None,
            **{
                name: document.get(name)
                for name in ("model", "error", "object", "type", "message", "detail", "msg", "errors", "base_resp")
            },
        )

    def _note(self, name: str, value: object) -> None:
        self.odd[f"{name} is {_kind(value)}"] = None

    def _choice(self, choice: object) -> Choice:
        if not isinstance(choice, dict):
            raise NoEvent(self._problem)
        text = choice.get("text")
        finish = choice.get("finish_reason")
        if finish is not None and not isinstance(finish, str):
            self._note("finish_reason", finish)
            finish = msgspec.json.encode(finish).decode()[:40] if finish else None
        finish = finish and without_halves(finish)
        return Choice(
            self._delta(choice, "delta"),
            self._delta(choice, "message"),
            None if text is None else self._said("text", text)[0],
            finish,
            self._usage(choice, "choices."),
        )

    def _delta(self, choice: Mapping[str, object], name: str) -> MessageDelta | None:
        delta = choice.get(name)
        if delta is None:
            return None
        if delta == []:
            self._note(name, delta)
            return MessageDelta()
        if not isinstance(delta, dict):
            raise NoEvent(self._problem)
        text, thought = self._said("content", delta.get("content"))
        for key in ("reasoning", "reasoning_content"):
            thought = thought or "".join(self._said(key, delta.get(key)))
        return MessageDelta(
            content=text,
            reasoning=thought,
            refusal="".join(self._said("refusal", delta.get("refusal"))),
            tool_calls=list(self._calls(delta.get("tool_calls"))),
            function_call=next(self._calls(delta.get("function_call")), None),
        )

    def _said(self, name: str, value: object, depth: int = 0) -> tuple[str, str]:
        """(answer, reasoning) of `content` in any shape: a text, a part, or a list of parts."""
        if value is None:
            return "", ""
        if isinstance(value, str):
            return value, ""
        if isinstance(value, list) and depth < _MAX_DEPTH:
            pairs = [self._said(name, part, depth + 1) for part in value]
            return "".join(text for text, _ in pairs), "".join(thought for _, thought in pairs)
        if isinstance(value, dict) and value and depth < _MAX_DEPTH:
            return self._part(name, value, depth)
        self._note(name, value)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return (str(value), "") if is_number else ("", "")

    def _part(self, name: str, part: Mapping[str, object], depth: int) -> tuple[str, str]:
        kind = part.get("type")
        keys = (*_THOUGHTS, *_TEXTS) if isinstance(kind, str) and kind in _THOUGHTS else _TEXTS
        for key in keys:
            if part.get(key):
                text, thought = self._said(name, part[key], depth + 1)
                return ("", text + thought) if kind in _THOUGHTS else (text, thought)
        if not any(key in part for key in keys):
            self.odd[f"{name} has a part without text"] = None
        return "", ""

    def _calls(self, calls: object) -> Iterator[_ToolCall]:
        """Tool calls: a list, a single call, or nothing; with or without `function` around them."""
        if calls is None or calls == []:
            return
        if not isinstance(calls, list):
            self._note("tool_calls", calls)
        for call in calls if isinstance(calls, list) else [calls]:
            if not isinstance(call, dict):
                self._note("tool_calls", call)
                continue
            function = next((call[key] for key in ("function", "custom") if isinstance(call.get(key), dict)), call)
            name, arguments = function.get("name"), function.get("arguments", function.get("input"))
            if arguments is not None and not isinstance(arguments, str):
                self._note("tool_calls.function.arguments", arguments)
                arguments = msgspec.json.encode(arguments).decode() if arguments else None
            yield _ToolCall(
                name=without_halves(name) if isinstance(name, str) else None,
                arguments=arguments and without_halves(arguments),
                index=call.get("index"),
                id=call.get("id"),
            )

    def _usage(self, holder: Mapping[str, object], where: str) -> _Usage | None:
        usage = self._table(holder, "usage", where)
        if usage is None:
            return None
        here = f"{where}usage."
        fields: dict[str, Any] = {}
        for name in _Usage.__struct_fields__:
            if name.endswith("_details"):
                details = self._table(usage, name, here)
                fields[name] = details and _Details(
                    self._count(details, "cached_tokens", f"{here}{name}."),
                    self._count(details, "reasoning_tokens", f"{here}{name}."),
                )
            else:
                fields[name] = self._count(usage, name, here)
        return _Usage(**fields)

    def _table(self, holder: Mapping[str, object], name: str, where: str = "") -> dict[str, object] | None:
        value = holder.get(name)
        if value is not None and not isinstance(value, dict):
            self._note(where + name, value)
            return None
        return value or None

    def _count(self, holder: Mapping[str, object], name: str, where: str) -> int | None:
        value = holder.get(name)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        self._note(where + name, value)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        return (
            int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 15 else None
        )


def _has_half(document: object) -> bool:
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _kind(value: object) -> str:
    """The JSON type of a value, in words."""
    if value is None:
        return "null"
    kinds = ((bool, "true or false"), (str, "a text"), (int | float, "a number"), (list, "a list"), (dict, "an object"))
    return next(word for kind, word in kinds if isinstance(value, kind))
