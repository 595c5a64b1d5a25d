"""Two things that are both known must agree: what answers report, what the engine counts, and what was sent.

If they do not, one of them is wrong, and it is unknown which, so the figures based on them are withheld. Pure functions
of arrays and sums; `verdict/spoilt.py` draws the consequences.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

OUTPUT_TOKENS = frozenset(
    {
        "output_tok_s",
        "total_tok_s",
        "computed_tok_s",
        "tpot",
        "per_user_tok_s",
        "per_user_tok_s_low",
        "usd_per_million_output_tokens",
        "usd_per_million_tokens",
    }
)
PROMPT_TOKENS = frozenset(
    {
        "input_tok_s",
        "total_tok_s",
        "computed_tok_s",
        "hit_rate",
        "cache_efficiency",
        "usd_per_million_input_tokens",
        "usd_per_million_tokens",
    }
)
CACHED_TOKENS = frozenset({"hit_rate", "cache_efficiency", "computed_tok_s"})
ENGINES_OWN = frozenset({"server_ttft_mean"})
"""Metrics of the registry that each count enters."""

FEWEST_TOKENS_PER_EVENT = 0.5
"""An event with text holds a token or more; half leaves room for gateways that cut tokens in two."""
OTHERS_USAGE = 0.05
"""Share of the answers whose usage may count fewer tokens than that: beyond, it is that of other answers."""
FASTEST_TOK_S = 100_000.0
"""No engine gives one request so many tokens a second; the fastest of today are below a twentieth of it."""
MOST_TOKENS_PER_CHAR, TEMPLATE_TOKENS = 8.0, 4096
"""A character is at most four bytes, each at most a token, and twice that; beside it what a chat template adds."""
MOST_CHARS_PER_TOKEN = 20.0
"""Texts have 1 to 6 characters a token, code up to 10."""
HIT_RATES_APART = 0.15
"""Between answers and counters, whose windows differ at both ends by what was in flight."""
FEWEST_TO_TELL = 20
"""Requests below which a window's ends are too large a part of it."""
COUNTS_APART = 0.25
"""By which share the engine's count of tokens may differ from the answers', beyond what was in flight or unseen."""
OTHERS = 0.1
"""Share of requests of others from which they are told of."""
ABOVE_IDEAL = 0.03
SAME_LATENCY = 0.5
"""Share of the successes that may have one and the same latency. Rows hold microseconds, of which no two answers have
the same by more than chance: an interval of such values is a single point, and its certainty is false."""
FIRST_TOKENS = frozenset({"ttft", "ttfo", "scheduled_ttft"})
"""Metrics that are no better than the stamps of first tokens."""

BETWEEN_TOKENS = frozenset({"tpot", "per_user_tok_s", "per_user_tok_s_low"})
"""Metrics of the time between an answer's first and last token."""
AT_ONCE_MS = 0.05
"""Milliseconds a token below which an answer came at once: twenty times what the fastest engines need."""
AT_ONCE_TOKENS = 8
"""An answer of fewer may be one piece of several tokens."""
MOST_AT_ONCE = 0.5
"""Share of such answers from which the time between tokens is not the engine's."""
WITHOUT_TEXT, HARDLY_ANY = 0.1, 0.01
"""Shares of successes without content: from the first, the run measured something else; from the second, it is
noted.
"""
ENDED_ITSELF = 0.1
"""Share of answers that may end before their length although output.ignore_eos was sent."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two known things that disagree: the metrics withheld because of it, and a sentence.

    `whole_run`: it concerns the whole measurement, not only certain figures.
    """

    rule: str
    metrics: frozenset[str]
    sentence: str
    value: float | None = None
    limit: float | None = None
    unit: str = ""
    whole_run: bool = False


@dataclass(frozen=True, slots=True)
class Answers:
    """The successes of the measure phase, one entry each; NaN = not known. `by_usage`: the engine counted output."""

    chunks: np.ndarray
    completion_tokens: np.ndarray
    by_usage: np.ndarray
    seconds: np.ndarray
    prompt_tokens: np.ndarray
    cached_tokens: np.ndarray
    prompt_chars: np.ndarray
    ttft_ms: np.ndarray = field(default_factory=lambda: np.empty(0))
    """Empty for a run in virtual time, whose times were computed."""
    stream_ms: np.ndarray = field(default_factory=lambda: np.empty(0))
    """From the first to the last token; NaN if the answer was not streamed."""
    ended_itself: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=bool))
    """Whether it ended before its length although told not to; empty if no answer was told so."""


@dataclass(frozen=True, slots=True)
class EngineCounts:
    """What the engine counted between two readings, and what our answers report for that time; None = not known.

    `in_flight`: the most requests in flight at once. `unseen`: our requests whose tokens no row reports.
    """

    requests: int = 0
    in_flight: float = 0.0
    unseen: int = 0
    engine_tokens: float | None = None
    our_tokens: float | None = None
    engine_first_tokens: float | None = None
    our_first_tokens: float | None = None
    usage_hit_rate: float | None = None
    counters_hit_rate: float | None = None
    ideal_hit_rate_most: float | None = None
    measured_hit_rate: float | None = None


def contradictions(answers: Answers, counted: EngineCounts) -> list[Contradiction]:
    """All contradictions, in the order of this module."""
    all_checks: Iterable[Contradiction | None] = (
        without_text(answers),
        same_latency(answers),
        at_once(answers),
        ended_early(answers),
        output_tokens(answers),
        output_speed(answers),
        prompt_tokens(answers),
        cached_tokens(answers),
        others_served(counted),
        engine_output(counted),
        hit_rates(counted),
        above_ideal(counted),
    )
    return [each for each in all_checks if each is not None]


def same_latency(answers: Answers) -> Contradiction | None:
    """Latencies that were not measured: most answers took the same time to the microsecond."""
    known = answers.ttft_ms[~np.isnan(answers.ttft_ms)]
    if len(known) < FEWEST_TO_TELL:
        return None
    different, times = np.unique(known, return_counts=True)
    share, value = float(times.max()) / len(known), float(different[times.argmax()])
    if share <= SAME_LATENCY:
        return None
    return Contradiction(
        "same_latency",
        FIRST_TOKENS,
        f"{share:.0%} of the answers have the same TTFT to the microsecond ({value:,.6g} ms): such times were "
        "rounded or made up, not measured, and their interval means nothing.",
        share,
        SAME_LATENCY,
        "share",
    )


def without_text(answers: Answers) -> Contradiction | None:
    """Successes that contain nothing: no event with text, and no token by the engine's count."""
    held = np.nan_to_num(answers.chunks) + np.nan_to_num(answers.completion_tokens)
    empty, n = int((held == 0).sum()), len(held)
    if not n or empty < HARDLY_ANY * n:
        return None
    return Contradiction(
        "without_text",
        frozenset(),
        f"{empty:,} of {n:,} answers hold no text and no token: a filter, a gateway or the model ended them at once. "
        "They count as answers, but were no work for the engine. See their finish_reason in requests.csv.",
        empty / n,
        WITHOUT_TEXT,
        "share",
        whole_run=empty > WITHOUT_TEXT * n,
    )


def at_once(answers: Answers) -> Contradiction | None:
    """Answers of many tokens that came in one piece: the time between their tokens is that of a buffer."""
    if not len(answers.stream_ms):
        return None
    streamed = (answers.completion_tokens >= AT_ONCE_TOKENS) & ~np.isnan(answers.stream_ms)
    n = int(streamed.sum())
    a_token = answers.stream_ms[streamed] / (answers.completion_tokens[streamed] - 1.0)
    pieces = int((a_token < AT_ONCE_MS).sum())
    if n < FEWEST_TO_TELL or pieces <= MOST_AT_ONCE * n:
        return None
    return Contradiction(
        "at_once",
        BETWEEN_TOKENS,
        f"{pieces:,} of {n:,} streamed answers came in one piece, all tokens at once: something between engine and "
        "client (a proxy, a gateway) holds answers back until they are whole. Their TTFT is the time of the whole "
        "answer, and nothing is known of the time between tokens. Switch its buffering off.",
        pieces / n,
        MOST_AT_ONCE,
        "share",
    )


def ended_early(answers: Answers) -> Contradiction | None:
    """Answers that ended by themselves although the scenario required their full length."""
    n, short = len(answers.ended_itself), int(answers.ended_itself.sum())
    if not n or short <= ENDED_ITSELF * n:
        return None
    return Contradiction(
        "ended_early",
        frozenset(),
        f"{short:,} of {n:,} answers ended before their length although output.ignore_eos asks for it: the endpoint "
        "ignores the field, so answers are shorter than asked, and two engines may give different lengths.",
        short / n,
        ENDED_ITSELF,
        "share",
    )


def output_tokens(answers: Answers) -> Contradiction | None:
    """Usage with fewer tokens than events with text: over all answers, as when it counts each chunk alone, or in many
    of them, as when it is that of other answers.
    """
    has_counts = answers.by_usage & (answers.chunks >= 2) & ~np.isnan(answers.completion_tokens)
    tokens, events = answers.completion_tokens[has_counts], answers.chunks[has_counts]
    fewer, n = int((tokens + 1 < FEWEST_TOKENS_PER_EVENT * events).sum()), len(tokens)
    if n and tokens.sum() < FEWEST_TOKENS_PER_EVENT * events.sum():
        claim = f"reports {tokens.sum():,.0f} output tokens, and {events.sum():,.0f} events with text came"
    elif n >= FEWEST_TO_TELL and fewer > OTHERS_USAGE * n:
        claim = f"reports less than half of the tokens that came in {fewer:,} of {n:,} answers"
    else:
        return None
    return Contradiction(
        "usage_output",
        OUTPUT_TOKENS,
        f"The answers' usage {claim}: usage does not count what was sent. Ask whoever runs the gateway in front of "
        "the engine.",
        float(tokens.sum() / events.sum()),
        FEWEST_TOKENS_PER_EVENT,
        "",
    )


def output_speed(answers: Answers) -> Contradiction | None:
    """Usage with more tokens than any engine could have generated in the time."""
    with np.errstate(divide="ignore", invalid="ignore"):
        several = answers.by_usage & (answers.completion_tokens > 1)
        speed = np.where(several, answers.completion_tokens / answers.seconds, np.nan)
    fast = speed[speed > FASTEST_TOK_S]
    if not len(fast):
        return None
    return Contradiction(
        "usage_speed",
        OUTPUT_TOKENS,
        f"The usage of {len(fast):,} answers reports up to {fast.max():,.0f} output tokens/s in one "
        f"request (limit {FASTEST_TOK_S:,.0f}): no engine is that fast, so these cannot be real counts.",
        float(fast.max()),
        FASTEST_TOK_S,
        "tok/s",
    )


def prompt_tokens(answers: Answers) -> Contradiction | None:
    """Usage whose prompt tokens cannot match the characters sent: none, far too few or far too many."""
    known = ~np.isnan(answers.prompt_tokens) & (answers.prompt_chars > 0)
    tokens, chars = answers.prompt_tokens[known], answers.prompt_chars[known]
    if not len(tokens):
        return None
    many = tokens > MOST_TOKENS_PER_CHAR * chars + TEMPLATE_TOKENS
    if not many.any() and tokens.sum() * MOST_CHARS_PER_TOKEN >= chars.sum():
        return None
    least, most = (
        (float(tokens[many].max()), float(chars[many].max()))
        if many.any()
        else (float(tokens.sum()), float(chars.sum()))
    )
    return Contradiction(
        "usage_prompt",
        PROMPT_TOKENS,
        f"The answers' usage reports {least:,.0f} prompt tokens where {most:,.0f} characters were "
        "sent: these cannot be counts of the prompts.",
        least,
        None,
        "",
    )


def cached_tokens(answers: Answers) -> Contradiction | None:
    """More cached prompt tokens than prompt tokens."""
    more = answers.cached_tokens > answers.prompt_tokens
    if not more.any():
        return None
    return Contradiction(
        "usage_cached",
        CACHED_TOKENS,
        f"{int(more.sum()):,} answers report more cached prompt tokens than prompt tokens, so they have no valid hit "
        "rate.",
        float(more.sum()),
        0.0,
        "",
    )


def others_served(counted: EngineCounts) -> Contradiction | None:
    """The engine answered requests that were not ours (or fewer than ours: it is one of several)."""
    theirs, ours = counted.engine_first_tokens, counted.our_first_tokens
    if theirs is None or ours is None or max(theirs, ours) < FEWEST_TO_TELL / 2:
        return None
    slack = 3 + counted.unseen
    if theirs > ours * (1 + OTHERS) + slack:
        return Contradiction(
            "others_served",
            ENGINES_OWN | CACHED_TOKENS,
            f"The engine began {theirs:,.0f} answers in the measured time, and "
            f"{ours:,.0f} of them were ours: others use this engine, so its own figures include their requests, and "
            "ours were measured beside an unknown load. Run alone.",
            theirs,
            ours,
            "",
            whole_run=True,
        )
    if theirs * (1 + OTHERS) + slack < ours:
        return Contradiction(
            "engine_sees_less",
            ENGINES_OWN,
            f"The engine began {theirs:,.0f} answers in the measured time, and ours are "
            f"{ours:,.0f}: its metrics are those of one of several engines behind this endpoint.",
            theirs,
            ours,
            "",
        )
    return None


def engine_output(counted: EngineCounts) -> Contradiction | None:
    """Answers that report more output tokens than the engine generated, or far fewer although it served us alone."""
    made, answered = counted.engine_tokens, counted.our_tokens
    if made is None or answered is None or counted.requests < FEWEST_TO_TELL:
        return None
    an_answer = answered / counted.requests
    if answered > made * (1 + COUNTS_APART) + counted.in_flight * an_answer:
        explanation = "one of the two is wrong."
    elif made > answered * (1 + COUNTS_APART) + (counted.in_flight + counted.unseen) * an_answer:
        if others_served(counted) is not None:
            return None
        explanation = (
            "either an event with text holds more tokens than are counted for it, or others use this engine. Have the "
            "endpoint report usage, or run alone."
        )
    else:
        return None
    return Contradiction(
        "engine_output",
        OUTPUT_TOKENS,
        f"The answers report {answered:,.0f} output tokens, and the engine counted {made:,.0f} in the same "
        f"time: {explanation}",
        answered,
        made,
        "",
    )


def hit_rates(counted: EngineCounts) -> Contradiction | None:
    """Answers and counters of one engine that report different hit rates."""
    usage, counters = counted.usage_hit_rate, counted.counters_hit_rate
    if usage is None or counters is None or counted.requests < FEWEST_TO_TELL:
        return None
    if abs(usage - counters) <= HIT_RATES_APART:
        return None
    return Contradiction(
        "hit_rates",
        CACHED_TOKENS,
        f"The answers report a prefix cache hit rate of {usage:.1%}, and the engine's counters one of "
        f"{counters:.1%}: one of them is wrong, or the counters include other clients' requests.",
        usage,
        counters,
        "share",
    )


def above_ideal(counted: EngineCounts) -> Contradiction | None:
    """More hits than the prompts sent allow."""
    most, got = counted.ideal_hit_rate_most, counted.measured_hit_rate
    if most is None or got is None or counted.requests < FEWEST_TO_TELL or got <= most + ABOVE_IDEAL:
        return None
    return Contradiction(
        "above_ideal",
        frozenset({"cache_efficiency"}),
        f"The engine reports a hit rate of {got:.1%}, and the prompts sent allow "
        f"{most:.1%} at most: it found what was there before this run, or counts otherwise.",
        got,
        most,
        "share",
    )


RULES = (
    "without_text",
    "same_latency",
    "at_once",
    "ended_early",
    "usage_output",
    "usage_speed",
    "usage_prompt",
    "usage_cached",
    "others_served",
    "engine_sees_less",
    "engine_output",
    "hit_rates",
    "above_ideal",
    "never_begun",
    "never_ended",
)
"""Names of all contradictions, in the order of docs/metrics.md."""
