"""What an answer holds: prose, a label, JSON or reasoning, chosen by the prompt's own words. Pure, deterministic."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from tokenswarm.sim.constrained import REFUSAL, REFUSED, TextForm, Tool, called, json_text, name_token, schema_of_format
from tokenswarm.sim.jobs import TOKEN_BYTES
from tokenswarm.sim.text import Prose, slices

Reasoning = Literal["never", "always", "auto"]

REASONING_SHARE = 0.7
"""Share of the tokens of a reasoning answer that are reasoning."""

_SIGMA = 0.5
"""Spread of the log-normal answer lengths."""

# The patterns are slow on long texts: each is tried only where its keyword stands (see _asked). All are for lower case,
# except those whose match is quoted in the answer.
_CATEGORIES = re.compile(r"^[ \t>*-]*[Cc]ategories:[ \t]*(\S.*)$", re.MULTILINE)
_WANTS_JSON = re.compile(r"\b(?:in|as|only|valid|a|return|output)\s+json\b")
_WANTS_REASONING = re.compile(
    r"step[- ]by[- ]step|\breason (?:about|carefully|through|step)|show your (?:reasoning|work)"
)
_ARITHMETIC = re.compile(r"(?<![\w.])[\d(][\d\s()+*-]*[+*-][\d\s()+*-]*\d\)?(?![\w.])")
_NUMBERED_LINE = re.compile(r"^ *(\d+) \| ", re.MULTILINE)
_NAMES = re.compile(r": ([A-Z]\w+(?:, [A-Z]\w+)+)\.")

_EDGE_CHARS = 1500
"""Instructions stand at the beginning or end of a message; what is between may be any document."""

_THINK_OPEN, _THINK_CLOSE = rb"<think>\n", rb"\n</think>\n\n"
"""As pieces of a JSON string."""


@dataclass(frozen=True, slots=True)
class AnswerSettings:
    """Settings of the simulated model: mean answer length in tokens (without reasoning), when and how it reasons."""

    mean_tokens: int = 200
    reasoning: Reasoning = "auto"
    think_tags: bool = False
    seed: int = 0
    ignore_response_format: bool = False
    """Take the field and answer freely, as several releases of engines do."""
    invalid_share: float = 0.0
    """Share of the answers under a constraint that do not fit it."""
    refused_share: float = 0.0
    """Share of them that are refusals."""


class AnswerSpec(NamedTuple):
    """The parts of a request that decide what the answer holds. `texts`: the messages' contents, in order."""

    texts: tuple[str, ...]
    prompt_hash: int
    max_tokens: int
    ignore_eos: bool = False
    thinking: bool | None = None
    response_format: Mapping[str, object] | None = None
    text_form: TextForm | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: object = "auto"
    constraint: str = ""
    """What is to be compiled before the answer, as text."""


class PlannedAnswer(NamedTuple):
    """A planned answer: `pieces` (one JSON-escaped piece a token), the same as `data` (four bytes a token).

    The first `reasoning_tokens` pieces are reasoning (0 where raw think tags stand in the text).
    `thinking_tokens` counts reasoning in either form. `finish_reason` is stop, length, tool_calls or content_filter.
    `call`: the tool that is called; then the first piece stands for its name, and the others are its arguments.
    """

    pieces: list[bytes]
    data: bytes
    reasoning_tokens: int
    thinking_tokens: int
    finish_reason: str
    call: str = ""


class _Asked(NamedTuple):
    """What one message's instructions ask for: their text, and which keywords stand in it."""

    text: str
    labels: tuple[str, ...] | None
    """Of its last line of categories; None without such a line."""
    json: bool
    line: bool
    reasoning: bool


class _Body(NamedTuple):
    """An answer without its reasoning."""

    data: bytes
    pieces: list[bytes]
    finish_reason: str = "stop"
    call: str = ""


def plan(ask: AnswerSpec, prose: Prose, settings: AnswerSettings) -> PlannedAnswer:
    """The answer to a request: the same for the same prompt, settings and seed."""
    rng = random.Random(ask.prompt_hash * 1_000_003 + settings.seed)
    requested = [_asked(text) for text in ask.texts]
    body = _constrained(ask, rng, settings)
    if body is None:
        body = _Body(*_body(ask, requested, rng, prose, settings))
    data, pieces, finish_reason = body.data, body.pieces, body.finish_reason
    thinking = 0
    if not body.call and _reasons(ask, requested, settings):
        data, pieces, thinking = _with_reasoning(data, pieces, rng, prose, settings)
    if ask.ignore_eos and not body.call and len(pieces) < ask.max_tokens:
        more_data, more_pieces = prose.take(rng.getrandbits(30), ask.max_tokens - len(pieces))
        data, pieces = data + more_data, pieces + more_pieces
    if (ask.ignore_eos and not body.call) or len(pieces) > ask.max_tokens:
        pieces, data, finish_reason = pieces[: ask.max_tokens], data[: ask.max_tokens * TOKEN_BYTES], "length"
    thinking = min(thinking, len(pieces))
    return PlannedAnswer(pieces, data, 0 if settings.think_tags else thinking, thinking, finish_reason, body.call)


def _constrained(ask: AnswerSpec, rng: random.Random, settings: AnswerSettings) -> _Body | None:
    """The answer of a request with tools or a response_format; None where it is to be free."""
    tool = called(ask.tools, ask.tool_choice, rng)
    wanted = {} if settings.ignore_response_format else ask.response_format or {}
    form = None if settings.ignore_response_format else ask.text_form
    if tool is None and form is None and wanted.get("type") not in ("json_object", "json_schema"):
        return None
    fate = rng.random() if settings.invalid_share or settings.refused_share else 1.0
    if fate < settings.refused_share:
        return _Body(*_verbatim(REFUSAL), REFUSED)
    fits = fate >= settings.refused_share + settings.invalid_share
    if tool is None and form is not None:
        return _Body(*_verbatim(form.text(rng, fits=fits)))
    if tool is None:
        return _Body(*_verbatim(json_text(schema_of_format(wanted), rng, fits=fits)))
    data, pieces = _verbatim(json_text(tool.parameters, rng, fits=fits))
    return _Body(name_token(tool.name) + data, [b"", *pieces], "tool_calls", tool.name)


@lru_cache(maxsize=512)
def _asked(text: str) -> _Asked:
    """Of one message. Shared texts come again and again: they are remembered."""
    instructions = text if len(text) <= 2 * _EDGE_CHARS else text[:_EDGE_CHARS] + "\n" + text[-_EDGE_CHARS:]
    lower = instructions.lower()
    # each way to ask for it has one of these words
    reasoning = any(word in lower for word in ("step", "reason", "show your")) and _WANTS_REASONING.search(lower)
    labels = _labels(instructions) if "categories:" in lower else None
    return _Asked(instructions, labels, "json" in lower, "answer:" in lower, bool(reasoning))


def _draw_length(mean: float, rng: random.Random) -> int:
    """A log-normal length with the given mean, at least 1."""
    return max(1, round(mean * rng.lognormvariate(-_SIGMA * _SIGMA / 2, _SIGMA)))


def _body(
    ask: AnswerSpec, requested: Sequence[_Asked], rng: random.Random, prose: Prose, settings: AnswerSettings
) -> tuple[bytes, list[bytes]]:
    labels = next((each.labels for each in reversed(requested) if each.labels is not None), None)
    if labels:
        return _verbatim(rng.choice(labels))
    if (
        any(each.json for each in requested)
        and (settings.ignore_response_format or not (ask.response_format or {}).get("type"))
        and _WANTS_JSON.search(_instructions(requested).lower())
    ):
        return _verbatim(json_text(None, rng))
    choice = rng.getrandbits(30)
    length = prose.round_to_sentence(choice, _draw_length(settings.mean_tokens, rng))
    data, pieces = prose.take(choice, length)
    if any(each.line for each in requested):
        line_data, line_pieces = _verbatim(f"\nAnswer: {_final_answer(_instructions(requested), rng)}")
        return data + line_data, pieces + line_pieces
    return data, pieces


def _instructions(requested: Sequence[_Asked]) -> str:
    return "\n".join(each.text for each in requested)


def _verbatim(text: str) -> tuple[bytes, list[bytes]]:
    """ASCII text as tokens; `data` is filled up to whole tokens, the pieces are not."""
    pieces = slices(text.encode("ascii", "replace"))
    return text.encode("ascii", "replace").ljust(len(pieces) * TOKEN_BYTES, b"\0"), pieces


def _labels(instructions: str) -> tuple[str, ...] | None:
    """The categories of the last line `Categories: a, b, c`; None without such a line."""
    lines = _CATEGORIES.findall(instructions)
    if not lines:
        return None
    labels = [label.strip(" .`'\"*") for label in lines[-1].split(",")]
    return tuple(label for label in labels if label) if len(labels) > 1 else ()


def _final_answer(instructions: str, rng: random.Random) -> str:
    """The value of the first sum or product in the text; else a guess: a line, a name, or any number."""
    for match in _ARITHMETIC.finditer(instructions):
        expression = match.group().strip()
        if len(expression) <= 60 and re.fullmatch(r"[\d\s()+*-]+", expression) and "**" not in expression:
            value = _evaluate(expression)
            if value is not None:
                return str(value)
    lines, names = _NUMBERED_LINE.findall(instructions), _NAMES.search(instructions)
    if lines:
        return rng.choice(lines)
    return rng.choice(names[1].split(", ")) if names else str(rng.randrange(1000))


def _evaluate(expression: str) -> int | None:
    """Value of + - * ( ) over whole numbers; None if it is not well formed. Recursive descent: no eval."""
    tokens = re.findall(r"\d+|[()+*-]", expression)
    position = 0

    def factor() -> int:
        nonlocal position
        token = tokens[position]
        position += 1
        if token == "(":
            value = total()
            if tokens[position] != ")":
                raise ValueError
            position += 1
            return value
        if token == "-":
            return -factor()
        return int(token)

    def product() -> int:
        nonlocal position
        value = factor()
        while position < len(tokens) and tokens[position] == "*":
            position += 1
            value *= factor()
        return value

    def total() -> int:
        nonlocal position
        value = product()
        while position < len(tokens) and tokens[position] in "+-":
            sign = 1 if tokens[position] == "+" else -1
            position += 1
            value += sign * product()
        return value

    try:
        value = total()
    except (IndexError, ValueError):
        return None
    return value if position == len(tokens) else None


def _reasons(ask: AnswerSpec, requested: Sequence[_Asked], settings: AnswerSettings) -> bool:
    if settings.reasoning != "auto" or ask.thinking is not None:
        return settings.reasoning != "never" and ask.thinking is not False
    return any(each.reasoning for each in requested)


def _with_reasoning(
    data: bytes, pieces: list[bytes], rng: random.Random, prose: Prose, settings: AnswerSettings
) -> tuple[bytes, list[bytes], int]:
    """Puts reasoning before an answer, so that REASONING_SHARE of the whole is reasoning. Returns its tokens too."""
    choice = rng.getrandbits(30)
    length = prose.round_to_sentence(choice, round(len(pieces) * REASONING_SHARE / (1 - REASONING_SHARE)))
    thought, thought_pieces = prose.take(choice, length)
    if settings.think_tags:  # of no tokens of their own: the answer is the same in either form, at the same times
        thought_pieces = [_THINK_OPEN + thought_pieces[0], *thought_pieces[1:]]
        pieces = [_THINK_CLOSE + pieces[0], *pieces[1:]]
    return thought + data, thought_pieces + pieces, len(thought_pieces)
