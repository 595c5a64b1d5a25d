"""Latencies: durations of each request."""

from __future__ import annotations

from collections.abc import Callable

from tokenswarm.contract.metric import NOT_IN_TAB, TABLES, Label, Latency, Place, Row


def _cell(column: str) -> Callable[[Row], float | None]:
    return lambda row: row[column]


def _tpot_ms(row: Row) -> float | None:
    tokens, last, first = row["completion_tokens"], row["last_token_ms"], row["ttft_ms"]
    if tokens is None or tokens < 2 or last is None or first is None:
        return None
    return float((last - first) / (tokens - 1))


def _one_token_has_none(row: Row) -> bool | None:
    tokens = row["completion_tokens"]
    return True if tokens is not None and tokens <= 1 else None


def _never_left_reasoning(row: Row) -> bool | None:
    return None if row["ttft_ms"] is None else False


def _since_due(column: str) -> Callable[[Row], float | None]:
    def of_row(row: Row) -> float | None:
        value, late = row[column], row["lateness_ms"]
        return None if value is None or late is None else value + late

    return of_row


LATENCIES = (
    Latency(
        name="ttft",
        title="TTFT",
        meaning="time to first token, of reasoning or answer",
        formula="first event with non-empty text in any channel − sent",
        notes="answer, reasoning and tool calls are channels. An event with only a role, or with empty text, is not a "
        "token: some servers send one long before any token",
        source="the client's monotonic clock",
        columns=("ttft_ms",),
        of_row=_cell("ttft_ms"),
        always_shown=True,
        headline=True,
        regression=True,
        usually=TABLES,
        places={
            Place.CARD: Label(note="to the first token"),
            Place.CURVES: Label(),
            Place.PROMETHEUS: Label("Time to the first token of any channel."),
            Place.TILE: Label(percentiles=(50, 95, 99)),
            Place.CHART: Label(percentiles=(50, 95, 99)),
            Place.DRIFT: Label(),
            Place.CLASSES: Label(percentiles=(50, 95)),
        },
    ),
    Latency(
        name="ttfo",
        title="TTFO",
        meaning="time to first output: the first token of the answer, after reasoning",
        formula="first event with non-empty *answer* text − sent",
        notes="what a reader of the answer waits for. Without reasoning it equals TTFT. With raw `<think>` tags the "
        "answer starts after `</think>`",
        source="the client's monotonic clock",
        columns=("ttfo_ms", "ttft_ms"),
        of_row=_cell("ttfo_ms"),
        absent=_never_left_reasoning,
        always_shown=True,
        repeats="ttft",
        usually=TABLES,
        places={
            Place.CARD: Label(note="to the first answer token"),
            Place.PROMETHEUS: Label("Time to the first token of the answer."),
            Place.TIME: Label(note="time to the first answer token"),
            Place.TAB: Label(percentiles=(95,)),
            Place.TILE: Label(percentiles=(95,)),
        },
    ),
    Latency(
        name="tpot",
        title="TPOT",
        meaning="time per output token, after the first",
        formula="(last token − TTFT) / (completion tokens − 1)",
        notes="an answer of one token has no TPOT; it is left empty, never 0",
        source="the client's clock, and the engine's count of tokens (`token_source`)",
        columns=("ttft_ms", "last_token_ms", "completion_tokens"),
        of_row=_tpot_ms,
        absent=_one_token_has_none,
        always_shown=True,
        scale="token",
        regression=True,
        usually=TABLES,
        places={
            Place.CARD: Label(note="per output token"),
            Place.CURVES: Label(),
            Place.PROMETHEUS: Label("Time per output token after the first."),
            Place.TAB: Label(percentiles=(50, 95)),
            Place.TILE: Label(percentiles=(50,)),
            Place.CHART: Label(percentiles=(50,)),
            Place.DRIFT: Label(percentiles=(50,)),
            Place.TIME: Label(note="time per output token"),
        },
    ),
    Latency(
        name="e2e",
        title="E2E",
        meaning="whole answer",
        formula="last token − sent for a stream; end of the body − sent otherwise",
        notes="`[DONE]` is not part of the answer",
        source="the client's monotonic clock",
        columns=("e2e_ms",),
        of_row=_cell("e2e_ms"),
        always_shown=True,
        headline=True,
        regression=True,
        usually=TABLES,
        places={
            Place.CARD: Label(note="to the whole answer"),
            Place.CURVES: Label(),
            Place.PROMETHEUS: Label("Time to the last token, or to the end of the body."),
            Place.TAB: Label(percentiles=(95,)),
            Place.TIME: Label(note="time to the whole answer"),
            Place.CLASSES: Label(),
        },
    ),
    Latency(
        name="scheduled_ttft",
        title="Scheduled TTFT",
        meaning="TTFT from when the request was due: free of coordinated omission",
        formula="TTFT + (sent − due)",
        notes="open loop only. A load generator that sends late hides the waits that matter; this figure does not",
        source="the open loop's schedule",
        columns=("ttft_ms", "lateness_ms"),
        of_row=_since_due("ttft_ms"),
        live=False,
        usually=NOT_IN_TAB,
    ),
    Latency(
        name="scheduled_e2e",
        title="Scheduled E2E",
        meaning="E2E from when the request was due: free of coordinated omission",
        formula="E2E + (sent − due)",
        notes="open loop only",
        source="the open loop's schedule",
        columns=("e2e_ms", "lateness_ms"),
        of_row=_since_due("e2e_ms"),
        live=False,
        usually=NOT_IN_TAB,
    ),
)
"""In display order."""
