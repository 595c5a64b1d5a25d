"""Faults that the simulator can be asked for: their names, their parameters, and when one strikes. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.sentences import unknown


@dataclass(frozen=True, slots=True)
class Kind:
    """A fault: what it does, and its parameters (name, default); a default of None means `for ever` or `none`."""

    meaning: str
    parameters: tuple[tuple[str, float | None], ...] = ()


_AFTER = (("tokens", 3.0),)

KINDS: Mapping[str, Kind] = {
    # before an answer
    "status": Kind("answers with this status; 429 and 503 carry Retry-After", (("code", 500), ("retry_after_s", 1))),
    "reset_before_headers": Kind("resets the connection (RST) instead of answering"),
    "close_before_headers": Kind("closes the connection (FIN) instead of answering"),
    "no_headers": Kind("is silent for this long before the headers", (("seconds", None),)),
    "invalid_http": Kind("answers with bytes that are not HTTP, then closes"),
    # in place of the rest of an answer
    "no_first_token": Kind("sends headers and the role event, then is silent", (("seconds", None),)),
    "stall": Kind("is silent after this many tokens", (("tokens", 1), ("seconds", None))),
    "reset_mid_stream": Kind("resets the connection (RST) after this many tokens", _AFTER),
    "close_mid_stream": Kind("closes the connection (FIN) in the middle of the body after this many tokens", _AFTER),
    "bad_chunk": Kind("sends a chunk size that is not a number after this many tokens, then closes", _AFTER),
    "truncate": Kind("ends the body cleanly after this many tokens: no finish_reason, no [DONE]", _AFTER),
    "error_event": Kind("sends an event {\"error\": ...} after this many tokens, then [DONE]", _AFTER),
    "endless_tokens": Kind("never finishes: further tokens, every that many seconds", (("seconds", 0.01),)),
    "endless_pings": Kind("never ends the body: comments, every that many seconds", (("seconds", 0.05),)),
    # wrong contents
    "malformed_json": Kind("cuts the JSON of the event after this many tokens, then goes on", _AFTER),
    "no_usage": Kind("leaves the usage out"),
    "no_done": Kind("leaves [DONE] out"),
    "no_finish_reason": Kind("leaves every finish_reason out, but sends [DONE]"),
    "huge_event": Kind("one event of so many MB", (("megabytes", 8),)),
    # unusual but legal
    "split_utf8": Kind("writes each token in two packets, cut inside a UTF-8 character"),
    "dribble": Kind("writes packets of this many bytes", (("bytes", 7),)),
    "coalesce": Kind("writes this many events in one packet", (("events", 8),)),
    "merge_tokens": Kind("puts this many tokens into one event", (("tokens", 4),)),
    "crlf": Kind("ends lines with CR LF"),
    "comments": Kind("puts comments, pings and the fields id, event and retry between events"),
    "multi_line": Kind("spreads each event over two data lines"),
    "no_space": Kind("writes no space behind `data:`"),
    "close_delimited": Kind("sends neither length nor chunks: the body ends with the connection"),
}  # fmt: skip
"""Every fault by name. docs/simulator.md has the same table."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault to commit. `value(name)` is the parameter given, or its default."""

    kind: str
    arguments: tuple[float, ...] = ()

    def value(self, name: str) -> Any:
        """The parameter `name` of this kind: a number, or None where it may be left out."""
        for position, (parameter, default) in enumerate(KINDS[self.kind].parameters):
            if parameter == name:
                return self.arguments[position] if position < len(self.arguments) else default
        raise KeyError(name)


def parse(text: str) -> Fault:
    """Reads `kind` or `kind:a` or `kind:a,b`. Raises ValueError with a sentence."""
    kind, _, rest = text.strip().partition(":")
    if kind not in KINDS:
        raise ValueError(unknown("fault", kind, KINDS))
    parameters = KINDS[kind].parameters
    try:
        arguments = tuple(float(part) for part in rest.split(",")) if rest else ()
    except ValueError:
        raise ValueError(f"fault {text!r}: {rest!r} is not a list of numbers") from None
    if len(arguments) > len(parameters):
        names = ", ".join(name for name, _ in parameters) or "none"
        raise ValueError(f"fault {text!r}: too many parameters; {kind} takes: {names}")
    if any(not 0 <= argument < 1e6 for argument in arguments):
        raise ValueError(f"fault {text!r}: parameters must lie between 0 and 1,000,000")
    fault = Fault(kind, arguments)
    if kind == "status" and not 200 <= fault.value("code") <= 599:
        raise ValueError(f"fault {text!r}: a status lies between 200 and 599")
    return fault


class Chaos:
    """Server-wide faults: each request draws, in order of arrival, from a generator with a fixed seed."""

    def __init__(self, rules: list[str], seed: int) -> None:
        """rules: `kind[:parameters]@probability` each. Raises UserError(Exit.USAGE) for one that cannot be read."""
        self._rng = random.Random(f"chaos/{seed}")
        self._rules = [_parse_rule(rule) for rule in rules]

    def draw(self) -> Fault | None:
        """The fault of the next request: that of the first rule that strikes."""
        struck = None
        for fault, probability in self._rules:
            # every rule draws every time, so that one rule's probability does not shift another's luck
            if self._rng.random() < probability and struck is None:
                struck = fault
        return struck


def _parse_rule(rule: str) -> tuple[Fault, float]:
    text, at, probability = rule.rpartition("@")
    try:
        fault = parse(text if at else rule)
        share = float(probability) if at else 1.0
        if not 0 <= share <= 1:
            raise ValueError(f"fault {rule!r}: the probability behind @ lies between 0 and 1")
    except ValueError as error:
        message = str(error) if "fault" in str(error) else f"fault {rule!r}: {probability!r} is not a probability"
        raise UserError(Exit.USAGE, f"--fault: {message}") from None
    return fault, share
