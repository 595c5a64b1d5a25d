"""The registry of metrics: each is one entry here, and everything that names metrics derives from it.

summary.json, the dashboard's tables, [slo] and its gates, comparisons, live figures, Prometheus, the tab in the web UI
and the tables of docs/metrics.md. To add a metric, add an entry; docs/metrics.md says more.
"""

from __future__ import annotations

from collections.abc import Callable

from tokenswarm.contract.metric import HIGHER, LOWER, Label, Latency, Place, Rate, Registry, Row, Sums
from tokenswarm.contract.summary.engine_records import Energy, Speculation
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.level_records import LevelFigures
from tokenswarm.contract.summary.summary_record import Summary

_NOWHERE: frozenset[Place] = frozenset()
_TABLES = frozenset({Place.TABLE, Place.TERMINAL, Place.TAB})
_NOT_TAB = frozenset({Place.TABLE, Place.TERMINAL})


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


def share_of(above: str, *below: str) -> Callable[[Sums], float | None]:
    """The function of sums that divides one by the sum of others; None where one is not known or all below are 0."""

    def of_sums(sums: Sums) -> float | None:
        whole = sum(sums[name] for name in below)
        return sums[above] / whole if above in sums and whole > 0 else None

    return of_sums


def per_second(*names: str) -> Callable[[Sums], float | None]:
    """The function of sums that divides the sum of these by the stretch's seconds."""

    def of_sums(sums: Sums) -> float | None:
        known = all(name in sums for name in names)
        return sum(sums[name] for name in names) / sums["seconds"] if known and sums["seconds"] > 0 else None

    return of_sums


def hit_rate(sums: Sums) -> float | None:
    """Share of the prompt tokens that were cached, as the answers tell it.

    An engine that tells hits and never a 0 leaves out its misses, so an answer that tells nothing is one.
    """
    prompt_tokens = sums["prompt_tokens_with_cache_info"] if sums["explicit_zero_hits"] else sums["prompts_of_ok"]
    return sums["cached_tokens"] / prompt_tokens if sums["prompt_tokens_with_cache_info"] and prompt_tokens else None


def computed_tok_s(sums: Sums) -> float | None:
    """Prompt and output tokens a second without the prompt tokens that the engine found in its cache."""
    share, prompt, output = hit_rate(sums), per_second("window_prompt")(sums), per_second("window_output")(sums)
    return None if share is None or prompt is None or output is None else output + prompt * (1.0 - share)


def _rise(summary: Summary | LevelFigures, key: str) -> Figure | None:
    """How much a latency of bystanders rises, where a run tells; a load level does not."""
    interference = getattr(summary, "interference", None)
    disturbed = None if interference is None else interference.latencies.get(key)
    return None if disturbed is None else disturbed.rise.get("p95")


def _energy(summary: Summary | LevelFigures) -> Energy:
    """What the GPUs took; empty of a load level."""
    return getattr(summary, "energy", None) or Energy()


def _speculation(summary: Summary | LevelFigures) -> Speculation:
    """What is known of speculative decoding; empty of a run without it and of a load level."""
    return getattr(summary, "speculation", None) or Speculation()


METRICS = Registry(
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
        usually=_TABLES,
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
        usually=_TABLES,
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
        usually=_TABLES,
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
        usually=_TABLES,
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
        usually=_NOT_TAB,
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
        usually=_NOT_TAB,
    ),
    Rate(
        name="output_tok_s",
        title="Output tokens",
        unit="tok/s",
        better=HIGHER,
        meaning="arrived in the measure window",
        formula="output tokens that **arrived inside the window** / seconds of the window",
        notes="of all requests that overlap the window, whatever their phase or outcome: a stream's tokens are spread "
        "evenly from its first to its last token, those of an answer that was not streamed arrive at its end",
        source="the engine's count of tokens (`token_source`)",
        columns=("sent_at", "ttft_ms", "last_token_ms", "e2e_ms", "completion_tokens"),
        of_sums=per_second("window_output"),
        gauge=False,
        headline=True,
        regression=True,
        set_by_arrivals=True,
        usually=_TABLES,
        places={
            Place.GATE: Label("Output rate", "at least this many output tokens per second", 4),
            Place.CARD: Label("Output rate", "tokens that arrived in the window"),
            Place.TABLE: Label(rank=1),
            Place.TERMINAL: Label(rank=1),
            Place.MARKDOWN: Label(rank=1),
            Place.TAB: Label("Output tok/s", rank=1),
            Place.TILE: Label("Output"),
            Place.CHART: Label(),
            Place.DRIFT: Label(),
            Place.TIME: Label("Output tokens per second", "tokens counted when they arrived"),
        },
    ),
    Rate(
        name="input_tok_s",
        title="Prompt tokens",
        unit="tok/s",
        better=HIGHER,
        meaning="arrived in the measure window",
        formula="prompt tokens / seconds",
        notes="a prompt counts at the time of its first output token",
        source="the engine's `usage`",
        columns=("sent_at", "ttft_ms", "e2e_ms", "prompt_tokens"),
        of_sums=per_second("window_prompt"),
        gauge=False,
        slo=False,
        live=False,
        compared=False,
        usually=_NOWHERE,
    ),
    Rate(
        name="total_tok_s",
        title="Total tokens",
        unit="tok/s",
        better=HIGHER,
        meaning="arrived in the measure window",
        formula="(prompt + output) tokens / seconds",
        notes="a prompt counts at the time of its first output token",
        source="the engine's `usage`",
        columns=("sent_at", "ttft_ms", "last_token_ms", "e2e_ms", "prompt_tokens", "completion_tokens"),
        of_sums=per_second("window_output", "window_prompt"),
        gauge=False,
        slo=False,
        set_by_arrivals=True,
        usually=_TABLES,
        places={
            Place.TABLE: Label("Prompt + output tokens", rank=2),
            Place.TERMINAL: Label("Total tokens (prompt + output)", rank=2),
            Place.TAB: Label("Total tok/s", rank=2),
            Place.TILE: Label("Prompt + output"),
            Place.CHART: Label(),
            Place.TIME: Label("Prompt and output tokens per second", "a prompt counts when its first token came"),
        },
    ),
    Rate(
        name="computed_tok_s",
        title="Computed tokens",
        unit="tok/s",
        better=HIGHER,
        meaning="total tokens less cached prompt tokens",
        formula="(prompt × (1 − hit rate) + output) tokens / seconds",
        notes="what the engine had to compute; the hit rate is that of the measured requests' answers",
        source="the engine's `usage`",
        columns=(
            "sent_at",
            "ttft_ms",
            "last_token_ms",
            "e2e_ms",
            "status",
            "prompt_tokens",
            "cached_tokens",
            "completion_tokens",
        ),
        of_sums=computed_tok_s,
        gauge=False,
        slo=False,
        set_by_arrivals=True,
        compared=False,
        usually=_NOWHERE,
        places={
            Place.TABLE: Label("of which computed", rank=2),
            Place.TERMINAL: Label("  of which computed", rank=2),
            Place.TAB: Label("of which computed", rank=2),
            Place.TILE: Label("of which computed"),
        },
    ),
    Rate(
        name="requests_s",
        title="Answers completed",
        unit="req/s",
        better=HIGHER,
        meaning="in the measure window",
        formula="answers that ended well inside the window / seconds",
        source="outcomes",
        columns=("sent_at", "e2e_ms", "status"),
        of_sums=per_second("window_done"),
        gauge=False,
        slo=False,
        set_by_arrivals=True,
        usually=_NOWHERE,
        places={
            Place.TABLE: Label(rank=3),
            Place.TERMINAL: Label(rank=3),
            Place.MARKDOWN: Label(rank=2),
            Place.CHART: Label(),
        },
    ),
    Rate(
        name="sent_s",
        title="Requests sent",
        unit="req/s",
        better=HIGHER,
        meaning="in the measure window",
        formula="requests sent inside the window / seconds",
        notes="the load that was actually offered",
        source="the load generator",
        columns=("sent_at",),
        slo=False,
        live=False,
        compared=False,
        usually=_NOWHERE,
        places={Place.TABLE: Label(rank=4)},
    ),
    Rate(
        name="goodput_rps",
        title="Goodput",
        unit="req/s",
        better=HIGHER,
        meaning="met every latency objective",
        formula="answers that ended inside the window and met every objective / seconds of the window",
        notes="counted by when the answer ended, like answers completed, so it is never above them",
        source="the scenario's [slo]",
        columns=("sent_at", "e2e_ms", "status"),
        of_sums=per_second("window_good"),
        gauge=False,
        regression=True,
        set_by_arrivals=True,
        of_objectives=True,
        stored=lambda summary: summary.goodput.goodput_rps,
        usually=_TABLES,
        places={
            Place.GATE: Label(note="at least this many requests per second met all latency limits", rank=2),
            Place.CARD: Label(note="requests that met every SLO"),
            Place.TABLE: Label(rank=5),
            Place.TERMINAL: Label("Goodput (met every SLO)", rank=4),
            Place.TAB: Label("Goodput req/s", rank=3),
            Place.TIME: Label(note="answers that ended then and met every latency objective"),
            Place.TILE: Label(),
            Place.CHART: Label(),
        },
    ),
    Rate(
        name="attainment",
        title="SLO attainment",
        unit="share",
        better=HIGHER,
        ratio=False,
        meaning="of all requests sent",
        formula="requests that met **every** objective / all requests sent",
        notes="failures and cancelled requests are in the denominator",
        source="the scenario's [slo]",
        columns=("status",),
        of_sums=share_of("good", "ok", "failed", "cancelled"),
        gauge=False,
        of_objectives=True,
        stored=lambda summary: summary.goodput.attainment,
        usually=_TABLES,
        places={
            Place.GATE: Label(note="at least this share (0 to 1) of all requests met all latency limits", rank=3),
            Place.CARD: Label(),
            Place.TABLE: Label(rank=6),
            Place.TERMINAL: Label(rank=5),
            Place.TIME: Label(note="share of the requests sent that met every latency objective"),
            Place.TAB: Label("SLOs met", rank=4),
        },
    ),
    Rate(
        name="per_user_tok_s",
        title="Tokens/s one user sees, median",
        unit="tok/s",
        better=HIGHER,
        meaning="1000 / TPOT",
        formula="1000 / TPOT",
        notes="what one reader sees while an answer streams",
        source="TPOT",
        columns=("ttft_ms", "last_token_ms", "completion_tokens"),
        slo=False,
        live=False,
        compared=False,
        stored=lambda summary: summary.per_user_tok_s.get("p50"),
        usually=_NOWHERE,
        places={Place.TABLE: Label(rank=7)},
    ),
    Rate(
        name="per_user_tok_s_low",
        title="Tokens/s one user sees, p5",
        unit="tok/s",
        better=HIGHER,
        meaning="one request in twenty is slower",
        formula="the 5th percentile of 1000 / TPOT",
        source="TPOT",
        columns=("ttft_ms", "last_token_ms", "completion_tokens"),
        slo=False,
        live=False,
        compared=False,
        stored=lambda summary: summary.per_user_tok_s.get("p5"),
        usually=_NOWHERE,
        places={Place.TABLE: Label(rank=8)},
    ),
    Rate(
        name="error_rate",
        title="Error rate",
        unit="share",
        better=LOWER,
        ratio=False,
        meaning="failed / (ok + failed)",
        formula="failed / (ok + failed)",
        notes="a request still in flight when the run ended is *cancelled*: neither, but counted and shown",
        source="outcomes",
        columns=("status",),
        of_sums=share_of("failed", "ok", "failed"),
        gauge=False,
        regression=True,
        stored=lambda summary: summary.errors.rate,
        usually=_NOWHERE,
        places={
            Place.GATE: Label(note="failed / (ok + failed) is at most this share (0 to 1)", rank=1),
            Place.CARD: Label(note="of the requests that ended"),
            Place.TABLE: Label(rank=11),
            Place.TERMINAL: Label(rank=6),
            Place.MARKDOWN: Label(rank=3),
            Place.TIME: Label(note="failed, of the requests sent that ended"),
            Place.DRIFT: Label(),
            Place.CLASSES: Label("error rate"),
        },
    ),
    Rate(
        name="usd_per_million_output_tokens",
        title="Cost of 1M output tokens",
        unit="$",
        better=LOWER,
        meaning="the whole price over what came",
        formula="price per hour / output tokens per hour x 1,000,000",
        notes="see Cost below",
        source="the given price",
        slo=False,
        live=False,
        usually=_NOWHERE,
        stored=lambda summary: summary.cost.per_million_output_tokens if summary.cost else None,
        places={Place.TABLE: Label(rank=13), Place.TERMINAL: Label(rank=10)},
    ),
    Rate(
        name="usd_per_million_input_tokens",
        title="Cost of 1M prompt tokens",
        unit="$",
        better=LOWER,
        meaning="the whole price over what came",
        formula="price per hour / prompt tokens per hour x 1,000,000",
        source="the given price",
        slo=False,
        live=False,
        compared=False,
        usually=_NOWHERE,
        stored=lambda summary: summary.cost.per_million_input_tokens if summary.cost else None,
        places={Place.TABLE: Label(rank=14), Place.TERMINAL: Label(rank=11)},
    ),
    Rate(
        name="usd_per_million_tokens",
        title="Cost of 1M tokens (prompt + output)",
        unit="$",
        better=LOWER,
        meaning="the whole price over what came",
        formula="price per hour / tokens of both kinds per hour x 1,000,000",
        source="the given price",
        slo=False,
        live=False,
        compared=False,
        usually=_NOWHERE,
        stored=lambda summary: summary.cost.per_million_tokens if summary.cost else None,
        places={Place.TABLE: Label(rank=15), Place.TERMINAL: Label(rank=12)},
    ),
    Rate(
        name="usd_per_million_requests",
        title="Cost of 1M requests",
        unit="$",
        better=LOWER,
        meaning="the whole price over what came",
        formula="price per hour / answers per hour x 1,000,000",
        source="the given price",
        slo=False,
        live=False,
        usually=_NOWHERE,
        stored=lambda summary: summary.cost.per_million_requests if summary.cost else None,
        places={Place.TABLE: Label(rank=16), Place.TERMINAL: Label(rank=13)},
    ),
    Rate(
        name="joules_per_output_token",
        title="Energy of an output token",
        unit="J",
        better=LOWER,
        meaning="of the engine's GPUs, all of it",
        formula="energy of the GPUs in the window / output tokens in it",
        notes="see Energy below",
        source="NVML's energy counter, or its power",
        slo=False,
        live=False,
        usually=_NOWHERE,
        stored=lambda summary: _energy(summary).per_output_token,
        places={Place.TABLE: Label(rank=17), Place.TERMINAL: Label(rank=14)},
    ),
    Rate(
        name="joules_per_request",
        title="Energy of a request",
        unit="J",
        better=LOWER,
        meaning="of the engine's GPUs, all of it",
        formula="energy of the GPUs in the window / answers in it",
        source="NVML's energy counter, or its power",
        slo=False,
        live=False,
        usually=_NOWHERE,
        stored=lambda summary: _energy(summary).per_request,
        places={Place.TABLE: Label(rank=18), Place.TERMINAL: Label(rank=15)},
    ),
    Rate(
        name="hit_rate",
        title="Prefix cache hit rate",
        unit="share",
        better=HIGHER,
        ratio=False,
        meaning="of the prompt tokens",
        formula="cached prompt tokens / prompt tokens",
        notes="from each answer's usage if the engine reports it (if it reports hits and never a 0, an answer without "
        "the field is a miss: older vLLM and SGLang omit it then), else from the engine's own counters over the "
        "window; `source` says which",
        source="the engine's `usage`, or its counters",
        columns=("status", "prompt_tokens", "cached_tokens"),
        of_sums=hit_rate,
        gauge=False,
        slo=False,
        stored=lambda summary: summary.cache.hit_rate,
        usually=_TABLES,
        places={
            Place.CARD: Label("Prefix cache hits"),
            Place.TABLE: Label(rank=9),
            Place.TERMINAL: Label(rank=7),
            Place.TIME: Label(note="prompt tokens found in the cache, as the answers tell it"),
            Place.MARKDOWN: Label(rank=4),
            Place.TAB: Label("Hit rate", rank=5),
        },
    ),
    Rate(
        name="cache_efficiency",
        title="Cache efficiency",
        unit="share",
        better=HIGHER,
        ratio=False,
        meaning="of what the prompts allow",
        formula="hit rate / ideal hit rate",
        notes="over the same requests",
        source="docs/cache.md",
        slo=False,
        live=False,
        compared=False,
        stored=lambda summary: summary.cache.efficiency,
        usually=_NOWHERE,
        places={Place.TERMINAL: Label("  of what the prompts allow", rank=8)},
    ),
    Rate(
        name="acceptance_length",
        title="Tokens of a speculative step",
        unit="tokens",
        better=HIGHER,
        meaning="accepted and the model's own",
        formula="1 + accepted tokens / drafts over the window",
        notes="from the engine's counters; if it has only gauges, their mean (`speculation.source`)",
        source="the engine's /metrics",
        slo=False,
        live=False,
        usually=_NOWHERE,
        stored=lambda summary: _speculation(summary).length,
        places={Place.TABLE: Label(rank=9.1), Place.TERMINAL: Label(rank=8.1)},
    ),
    Rate(
        name="acceptance_rate",
        title="Drafted tokens accepted",
        unit="share",
        better=HIGHER,
        ratio=False,
        meaning="of those drafted",
        formula="accepted tokens / drafted tokens over the window",
        source="the engine's /metrics",
        slo=False,
        live=False,
        usually=_NOWHERE,
        stored=lambda summary: _speculation(summary).rate,
        places={Place.TABLE: Label(rank=9.2), Place.TERMINAL: Label(rank=8.2)},
    ),
    Rate(
        name="server_ttft_mean",
        title="Engine's own mean TTFT",
        unit="ms",
        better=LOWER,
        meaning="as the engine measured it",
        formula="growth of the sum / growth of the count of its TTFT histogram",
        source="the engine's /metrics",
        slo=False,
        live=False,
        compared=False,
        stored=lambda summary: summary.server.server_ttft_mean_ms,
        usually=_NOWHERE,
        places={Place.TABLE: Label(rank=10)},
    ),
    Rate(
        name="bystander_ttft_rise",
        title="Bystanders' TTFT p95, during / before",
        unit="times",
        better=LOWER,
        meaning="while long prefills are under way",
        formula="TTFT p95 of bystanders during / before a disturbance",
        notes="only in an open loop, for a mix with `mix.disturbs`",
        source="docs/interference.md",
        slo=False,
        live=False,
        usually=_NOWHERE,
        stored=lambda summary: _rise(summary, "ttft_ms"),
        places={Place.TABLE: Label(rank=17)},
    ),
    Rate(
        name="bystander_gap_rise",
        title="Bystanders' longest gap p95, during / before",
        unit="times",
        better=LOWER,
        meaning="while long prefills are under way",
        formula="p95 of the longest gap of bystanders' answers during / before a disturbance",
        notes="only in an open loop, for a mix with `mix.disturbs`",
        source="docs/interference.md",
        slo=False,
        live=False,
        usually=_NOWHERE,
        stored=lambda summary: _rise(summary, "icl_max_ms"),
        places={Place.TABLE: Label(rank=18)},
    ),
    Rate(
        name="valid_output",
        title="Valid output",
        unit="share",
        better=HIGHER,
        ratio=False,
        meaning="passed the scenario's check",
        formula="answers that passed the scenario's own check / answers checked",
        source="the scenario",
        columns=("status", "valid_output"),
        live=False,
        compared=False,
        stored=lambda summary: summary.valid_output,
        usually=_NOWHERE,
        places={
            Place.GATE: Label(note="at least this share (0 to 1) of the answers checked was valid", rank=5),
            Place.TIME: Label(note="answers that passed the scenario's check, of those checked"),
            Place.CARD: Label(note="of the answers checked"),
            Place.TABLE: Label(rank=12),
            Place.TERMINAL: Label(rank=9),
        },
    ),
    Rate(
        name="task_p50_ms",
        title="Task completion p50",
        unit="ms",
        better=LOWER,
        meaning="first request to the end of the last answer",
        formula="median time from a task's first request to the end of its last answer",
        notes="tools and sub-agents included; tasks unfinished at the end of the phase count as longer than observed "
        "(Kaplan-Meier; docs/agents.md)",
        source="tasks of the workload",
        columns=("status", "sent_at", "e2e_ms"),
        live=False,
        stored=lambda summary: summary.tasks.completion_p50_ms if summary.tasks else None,
        usually=_NOWHERE,
        places={Place.TERMINAL: Label(rank=9.1), Place.MARKDOWN: Label(rank=5)},
    ),
    Rate(
        name="task_p95_ms",
        title="Task completion p95",
        unit="ms",
        better=LOWER,
        meaning="first request to the end of the last answer",
        formula="the 95th percentile of it",
        source="tasks of the workload",
        columns=("status", "sent_at", "e2e_ms"),
        live=False,
        stored=lambda summary: summary.tasks.completion_p95_ms if summary.tasks else None,
        usually=_NOWHERE,
        places={
            Place.CARD: Label("Task completion p95"),
            Place.TERMINAL: Label(rank=9.2),
            Place.MARKDOWN: Label(rank=6),
        },
    ),
    Rate(
        name="tasks_s",
        title="Tasks completed",
        unit="task/s",
        better=HIGHER,
        meaning="in the measure window",
        formula="tasks whose last answer was asked for in the measure phase / seconds",
        source="tasks of the workload",
        columns=("status", "sent_at"),
        live=False,
        set_by_arrivals=True,
        stored=lambda summary: summary.tasks.completed_s if summary.tasks else None,
        usually=_NOWHERE,
        places={Place.TERMINAL: Label(rank=9.3)},
    ),
)
"""Every metric, in the order in which it is shown."""
