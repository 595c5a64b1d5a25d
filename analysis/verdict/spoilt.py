"""Validity by figure: a spoilt figure is withheld with the reason. The run is INVALID only if a headline or gate is
affected.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
from msgspec.structs import replace
from tokenswarm.analysis.figures.flow import in_flight, output_flow
from tokenswarm.analysis.figures.interference import sentence
from tokenswarm.analysis.figures.plausibility import Answers, Contradiction, EngineCounts, contradictions
from tokenswarm.analysis.figures.quantities import counter_growth, is_ok
from tokenswarm.analysis.figures.slo import objectives_of_classes
from tokenswarm.analysis.figures.unanswered import unanswered
from tokenswarm.analysis.figures.window import Window
from tokenswarm.analysis.read.run_folder import Run
from tokenswarm.analysis.verdict.outcome import INVALID, NOTE

from tokenswarm.contract.manifest import VIRTUAL, Reason
from tokenswarm.contract.metric import Latency, Rate
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.objectives import RequestBounds, SloKey, parse_slo_key
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.interference_records import Interference
from tokenswarm.contract.summary.level_records import LevelFigures
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.summary.verdict_records import SloGate

_MOMENTS = 61
"""Number of times at which requests in flight are counted over a window."""
HEADLINES = frozenset(metric.name for metric in METRICS if metric.headline)


def judged_metrics(run: Run) -> frozenset[str]:
    """The metrics that a run is judged by: the headlines, and those with a gate."""
    return HEADLINES | {each.metric.name for each in _gates(run)}


def _gates(run: Run) -> list[SloKey]:
    table = run.manifest.scenario.table("slo")
    keys = [*table, *(key for lines in objectives_of_classes(run.manifest).values() for key in lines)]
    return [parsed for key in keys if (parsed := parse_slo_key(str(key))) is not None]


def _is_about(gate: SloGate, metrics: Collection[str]) -> bool:
    key = gate.key.removeprefix(f"level{gate.level}.") if gate.level else gate.key
    key = key.removeprefix(f"{gate.user_class}.") if gate.user_class else key
    parsed = parse_slo_key(key)
    return parsed is not None and parsed.metric.name in metrics


def with_goodput(metrics: Collection[str], bounds: RequestBounds) -> list[str]:
    """These metrics, and what is counted by them: an answer is good only if its own latencies are known."""
    bounded = {key for each in (bounds.default, *bounds.classes.values()) for key in each}
    counts = any(each.key in bounded for each in METRICS.latencies() if each.name in metrics)
    return [*metrics, *(("goodput_rps", "attainment") if counts else ())]


def withhold(summary: Summary, metrics: Collection[str], why: str, level: LevelFigures | None = None) -> None:
    """Remove the values of these metrics from a summary, including its levels and gates, which become undetermined.
    With `level`, only of that level.
    """
    parts: list[Summary | LevelFigures] = [summary, *summary.levels] if level is None else [level]
    for part in parts:
        for figure in _figures(part, metrics):
            _withheld(figure, why)
    if "ttft" in metrics and level is None:
        for use in summary.constraints:
            for figure in (use.first_ttft_ms, use.later_ttft_ms):
                _withheld(figure, why)
    if summary.interference is not None and level is None:
        _withhold_interference(summary.interference, metrics, why)
    if summary.adapters is not None and level is None:
        for figure in summary.adapters.figures(ttft="ttft" in metrics, tpot="tpot" in metrics):
            _withheld(figure, why)
    summary.slo = [
        _withheld_gate(gate, why)
        if _is_about(gate, metrics) and (level is None or gate.level == level.number)
        else gate
        for gate in summary.slo
    ]


def withhold_steady_part(summary: Summary, metrics: Collection[str], why: str) -> None:
    """The same for the stationary part, and the sentence about how one of these metrics changed."""
    steady = summary.steady_part
    for metric in (METRICS[name] for name in metrics):
        if isinstance(metric, Latency):
            for figure in steady.latency.get(metric.key, {}).values():
                _withheld(figure, why)
        if (steady.sentence or "").startswith(f"{metric.title} "):
            steady.sentence = f"Within the measured phase {metric.title} moved; by how much is not given: {why}."


def _withheld(figure: Figure, why: str) -> None:
    figure.value, figure.ci95, figure.bucket, figure.why = None, None, None, why


_BYSTANDERS = {"ttft": "ttft_ms", "tpot": "icl_max_ms"}
"""The bystanders' latency that a metric's error affects: gaps are between tokens."""


def _withhold_interference(result: Interference, metrics: Collection[str], why: str) -> None:
    for name, key in _BYSTANDERS.items():
        if name in metrics and key in result.latencies:
            for figure in result.latencies[key].figures():
                _withheld(figure, why)
            result.sentences = [sentence(result, each) for each in result.latencies]


def _withheld_gate(gate: SloGate, why: str) -> SloGate:
    figure = Figure(unit=gate.figure.unit, n=gate.figure.n, why=why)
    return replace(gate, figure=figure, state="undetermined", certain=False, margin=None)


def _figures(part: Summary | LevelFigures, metrics: Collection[str]) -> Iterator[Figure]:
    """Every figure of these metrics, including those of single user classes."""
    classes = part.user_classes.values() if isinstance(part, Summary) else ()
    for name in metrics:
        metric = METRICS[name]
        if isinstance(metric, Latency):
            for table in (part.latency, *(each.latency for each in classes)):
                yield from table.get(metric.key, {}).values()
        elif isinstance(metric, Rate):
            of_classes = (getattr(each, name, each.rates.get(name)) for each in classes)
            yield from (figure for figure in (metric.figure_of(part), *of_classes) if isinstance(figure, Figure))
    if "server_ttft_mean" in metrics and isinstance(part, Summary):
        for own in (part.server_ttft, *part.server_latency.values()):
            yield from (own.p50, own.p95, own.p99, own.mean)


def implausible(run: Run, window: Window | None, summary: Summary, of_one_load: bool) -> list[Contradiction]:
    """The contradictions in a run.

    `of_one_load`: it had a single load that the engine could serve; otherwise requests cancelled at the end are another
    rule's matter.
    """
    by_themselves = contradictions(_answers(run), _counted(run, window, summary))
    if not of_one_load:
        return by_themselves
    return [*by_themselves, *unanswered(run.requests, window, _judged_percentiles(run))]


def _judged_percentiles(run: Run) -> list[tuple[str, float]]:
    """Latencies with the percentiles that the run is judged by: p95 for headlines, and those of its gates."""
    gated = [(each.metric.name, each.percentile) for each in _gates(run) if each.percentile is not None]
    return [*((name, 95.0) for name in HEADLINES), *gated]


def reason_of(each: Contradiction, judged: Collection[str]) -> Reason:
    """A contradiction as a reason: INVALID if it affects a metric that the run is judged by, else a remark."""
    verdict = INVALID if each.whole_run or each.metrics & set(judged) else NOTE
    return Reason(each.rule, verdict, each.value, each.limit, each.unit, each.sentence)


def _answers(run: Run) -> Answers:
    ok = run.measured[is_ok(run.measured)]
    cells = {
        name: ok[name].to_numpy(dtype=float)
        for name in ("chunks", "completion_tokens", "prompt_tokens", "cached_tokens", "prompt_chars")
    }
    return Answers(
        **cells,
        by_usage=(ok["token_source"] == "usage").to_numpy(),
        seconds=ok["e2e_ms"].to_numpy() / 1e3,
        ttft_ms=np.empty(0) if run.manifest.engine.runtime == VIRTUAL else ok["ttft_ms"].to_numpy(dtype=float),
        stream_ms=(ok["last_token_ms"] - ok["ttft_ms"]).to_numpy(dtype=float),
        ended_itself=(ok["finish_reason"] == "stop").to_numpy()
        if _asked_for_whole_length(run)
        else np.empty(0, dtype=bool),
    )


def _asked_for_whole_length(run: Run) -> bool:
    return run.manifest.scenario.table("output").get("ignore_eos") is True


def _counted(run: Run, window: Window | None, summary: Summary) -> EngineCounts:
    rows, cache, ttft = run.requests, summary.cache, summary.server_latency.get("ttft")
    made = counter_growth(run, window, "generation_tokens")
    client = ttft.client if ttft is not None else None
    ranged = cache.yardstick.ideal_range
    return EngineCounts(
        requests=summary.counts.measured.ok,
        in_flight=0.0
        if window is None or window.seconds <= 0
        else float(in_flight(rows, np.linspace(window.start, window.end, _MOMENTS)).max()),
        unseen=int((rows["ttft_ms"].isna() & ~is_ok(rows)).sum()),
        engine_tokens=made,
        our_tokens=None if made is None or window is None else _tokens_between_readings(run, window),
        engine_first_tokens=ttft.p50.n if ttft is not None and client is not None else None,
        our_first_tokens=client.p50.n if client is not None else None,
        usage_hit_rate=cache.usage_hit_rate,
        counters_hit_rate=cache.counters_hit_rate,
        ideal_hit_rate_most=ranged[1] if ranged else None,
        measured_hit_rate=cache.yardstick.engine.value if cache.yardstick.recorded else None,
    )


def _tokens_between_readings(run: Run, window: Window) -> float:
    """Output tokens of our answers between the first and the last reading of the counter inside the window."""
    table = run.engine_metrics
    inside = (table["at"] >= window.start) & (table["at"] <= window.end) & table["generation_tokens"].notna()
    at = table["at"].to_numpy()[inside.to_numpy()]
    return float(output_flow(run.requests).between(np.array([at.min(), at.max()]))[0])
