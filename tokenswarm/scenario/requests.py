"""Tables of a scenario about single requests: what a user does between them, their body, limits, retries, prompts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from tokenswarm.base.bounded_patterns import NoPattern, bounded
from tokenswarm.base.sentences import unknown
from tokenswarm.contract.tables import ERROR_KINDS
from tokenswarm.scenario.distribution import Distribution
from tokenswarm.scenario.values import Count, PositiveSeconds, Seconds, Section, seconds_of_distribution

RESERVED_BODY_KEYS = frozenset({"model", "messages", "stream", "stream_options", "max_tokens", "temperature"})
"""The client writes these itself; a scenario or a prompt that overrode them would change what is measured."""
_INSTEAD = {
    "stream": "output.stream",
    "stream_options": "endpoint.send_stream_options",
    "max_tokens": "output.max_tokens",
    "temperature": "output.temperature",
}
SEVERAL_ANSWERS = frozenset({"n", "best_of"})
SECOND_LIMIT = "max_completion_tokens"


AUTO: Literal["auto"] = "auto"
USUAL_CHARS_PER_TOKEN, LEAST_CHARS_PER_TOKEN, MOST_CHARS_PER_TOKEN = 4.0, 0.5, 20.0
"""Characters per token: typical English, and the range that any text stays within."""


def refuse_reserved(keys: Iterable[str]) -> None:
    """Raise ValueError if one of the request body's keys is reserved."""
    for key in sorted(RESERVED_BODY_KEYS.intersection(keys)):
        instead = f": set {_INSTEAD[key]}" if key in _INSTEAD else ""
        raise ValueError(f"may not hold '{key}', which tokenswarm sets itself{instead}")


def refuse_unaccountable(body: Mapping[str, object]) -> None:
    """Raise ValueError for what would make an answer that cannot be timed or counted as one."""
    for key in sorted(SEVERAL_ANSWERS & body.keys()):
        if body[key] not in (None, 1):
            raise ValueError(
                f"may not hold '{key}' other than 1: several answers to one request have no TTFT and no "
                "length of their own"
            )
    if body.get(SECOND_LIMIT) is not None:
        raise ValueError(
            f"may not hold '{SECOND_LIMIT}' beside max_tokens, which tokenswarm sends: the limit is output.max_tokens, "
            f"and endpoint.length_field={SECOND_LIMIT} sends it under that name"
        )


class UserBehaviour(Section):
    """What a user does between two requests."""

    think_time_s: Annotated[Distribution, BeforeValidator(seconds_of_distribution)] = Field(
        default=Distribution(kind="constant", value=0.0),
        description="pause between an answer and the user's next request; in an open loop, part of the planned "
        "interval between turns",
    )


class Output(Section):
    """Generation settings sent in each request's body."""

    max_tokens: Count = Field(default=128, description="maximum answer length, tokens")
    temperature: Annotated[float, Field(strict=True, ge=0, le=2)] = Field(
        default=0.0, description="sampling temperature"
    )
    stream: bool = Field(default=True, strict=True, description="stream the answer token by token")
    ignore_eos: bool = Field(
        default=False, strict=True, description="generate up to max_tokens even if the model would stop (equal lengths)"
    )
    extra: dict[str, object] = Field(default_factory=dict, description="further keys of the request body")
    keep_answers: Annotated[int, Field(strict=True, ge=0, le=1000)] = Field(
        default=0,
        description="how many answers are kept as text, in answers.jsonl and on the page: invalid ones first; they "
        "may quote prompts",
    )
    check: Literal["json", "json_schema", "regex"] | None = Field(
        default=None,
        description="what an answer must be to count as valid (valid_output), in addition to the workload's own "
        "check: json, json_schema or regex",
    )
    check_schema: dict[str, object] | None = Field(
        default=None, description="JSON Schema for json_schema; unset: the one in output.extra.response_format"
    )
    check_pattern: str | None = Field(
        default=None,
        description="regular expression that the whole answer must match, ignoring white space at its ends; if it "
        "takes more than 0.05 s on an answer it is dropped, and valid_output stays empty from then on",
    )

    @model_validator(mode="after")
    def _check_can_be_made(self) -> Output:
        if self.check == "regex":
            try:
                bounded(self.check_pattern or "")
            except NoPattern as error:
                raise ValueError(f"check_pattern is not a regular expression: {error}") from None
            if not self.check_pattern:
                raise ValueError("check is regex, but check_pattern does not say which")
        if self.check == "json_schema" and self.schema_to_check is None:
            raise ValueError("check is json_schema, but neither check_schema nor extra.response_format has a schema")
        return self

    @property
    def schema_to_check(self) -> Mapping[str, object] | None:
        """The schema that answers are validated against when `check` = json_schema."""
        if self.check_schema is not None:
            return self.check_schema
        wanted: object = self.extra.get("response_format")
        for key in ("json_schema", "schema"):
            wanted = wanted.get(key) if isinstance(wanted, Mapping) else None
        return wanted if isinstance(wanted, Mapping) else None

    @field_validator("extra")
    @classmethod
    def _not_reserved(cls, extra: Mapping[str, object]) -> dict[str, object]:
        refuse_reserved(extra)
        refuse_unaccountable(extra)
        return {key: value for key, value in extra.items() if value is not None}


class RequestLimits(Section):
    """When a request counts as failed."""

    connect_s: PositiveSeconds = Field(default=5.0, description="longest wait for a connection")
    first_token_s: PositiveSeconds = Field(default=60.0, description="longest wait for the first token")
    gap_s: PositiveSeconds = Field(default=30.0, description="longest silence between two tokens")
    total_s: PositiveSeconds = Field(default=300.0, description="longest total time of a request")


class Retry(Section):
    """What a user does after a failed request. Each retry is a separate request with its own row."""

    attempts: Count = Field(default=1, description="maximum number of tries for one prompt; 1 = no retry")
    errors: tuple[str, ...] = Field(
        default=("rate_limited", "overloaded"), description="kinds of failure (docs/results.md) that are retried"
    )
    pause_s: Seconds = Field(
        default=1.0, description="pause before a retry; a Retry-After from the server takes precedence"
    )
    max_pause_s: Seconds = Field(default=30.0, description="longest pause, whatever the server asks for")

    @field_validator("errors")
    @classmethod
    def _known(cls, errors: tuple[str, ...]) -> tuple[str, ...]:
        for kind in errors:
            if kind not in ERROR_KINDS:
                raise ValueError(unknown("kind of failure", kind, list(ERROR_KINDS)))
        return errors

    def pause_before(self, tries: int, error: str | None, retry_after_s: float | None) -> float | None:
        """Seconds to wait before the next try; None if no try follows after `tries` tries and this failure."""
        if tries >= self.attempts or error not in self.errors:
            return None
        return min(self.pause_s if retry_after_s is None else max(retry_after_s, 0.0), self.max_pause_s)


class Prompts(Section):
    """What makes prompts repeatable, and what keeps a run from hitting the cache of the run before."""

    seed: Annotated[int, Field(strict=True, ge=0)] = Field(default=1, description="same seed, same prompts")
    salt: str = Field(
        default="run",
        description='text at the start of every shared part: "run" = new for each run, "" = none, or any text',
    )
    state: Literal["steady", "cold"] = Field(
        default="steady",
        description="steady: warm-up and measured phase share documents and system prompts, and sessions continue "
        "from one into the other; cold: the measured phase begins with prompts that no cache has seen",
    )
    chars_per_token: (
        Literal["auto"] | Annotated[float, Field(strict=True, ge=LEAST_CHARS_PER_TOKEN, le=MOST_CHARS_PER_TOKEN)]
    ) = Field(
        default=AUTO,
        description='characters per token, to convert lengths given in tokens; "auto": in the check before the load '
        "the engine counts two known texts (4 if the engine does not count)",
    )

    tokens_per_piece: Annotated[float, Field(strict=True, ge=0, le=20)] = Field(
        default=0.0,
        description="additional tokens for each word, number or sign that a text has beyond the usual; set by the "
        'check if chars_per_token is "auto"',
    )
    pieces_per_char: Annotated[float, Field(strict=True, ge=0, le=1)] = Field(
        default=0.0, description="words, numbers and signs per character of a usual text; set by the check"
    )

    @property
    def factor(self) -> float:
        """Characters per token: the measured or given value, otherwise that of English."""
        return USUAL_CHARS_PER_TOKEN if isinstance(self.chars_per_token, str) else self.chars_per_token
