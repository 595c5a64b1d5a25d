"""How faithful a replay was: what the trace asked for, and what was sent and measured."""

from __future__ import annotations

import numpy as np
import pandas as pd
from tokenswarm.analysis.cache.hit_curve import HitCurve, hit_curve, uses_of_blocks
from tokenswarm.analysis.figures.statistics import Estimate
from tokenswarm.analysis.read.replay_table import ReplayPlan, read_replay_plan
from tokenswarm.analysis.read.run_folder import Run

from tokenswarm.base.numbers import significant
from tokenswarm.base.presence import present
from tokenswarm.contract.summary.cache_records import Yardstick
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.replay_records import Fidelity, Limit

UNSENT_LIMIT, PROMPT_LIMIT, OUTPUT_LIMIT, SHARING_LIMIT = 0.01, 0.03, 0.02, 0.05
"""Shares: of requests not sent; by which lengths may differ; of prompt tokens, by which sharing may differ."""
LATENESS_LIMIT_MS, SLIP_LIMIT_S, SLIP_LIMIT_SHARE = 100.0, 1.0, 0.01
"""The slip may be a second, or 1% of the trace's length if that is more."""
_MS = 1e3
_SMALLEST_BLOCK = 16


def fidelity_of(run: Run, cache: Yardstick) -> Fidelity | None:
    """The replay compared with its trace; None if the run is not a replay. `cache`: what the prompts sent allow."""
    plan = read_replay_plan(run.folder)
    start = next((phase.start for phase in run.manifest.phases or () if phase.name == "measure"), None)
    if plan is None or start is None:
        return None
    sent = joined(plan, run.measured)
    fidelity = Fidelity(requests=len(plan.requests), sent=int(sent["sent_at"].notna().sum()))
    _lengths(fidelity, sent, run.manifest.scenario.table("replay").get("output") != "free")
    _times(fidelity, sent, start)
    _sharing(fidelity, plan, run, cache)
    span_s = float(plan.requests["at_s"].max() - plan.requests["at_s"].min()) if fidelity.requests else 0.0
    fidelity.limits = _limits(fidelity, span_s)
    fidelity.faithful = all(each.kept is not False for each in fidelity.limits)
    fidelity.sentence = _sentence(fidelity)
    return fidelity


def joined(plan: ReplayPlan, rows: pd.DataFrame) -> pd.DataFrame:
    """The plan's requests, each with its outcome: times of its first attempt, lengths of its last."""
    keys = ["conversation", "turn"]
    rows = rows.assign(conversation=rows["conversation"].astype(str)).sort_values("attempt", kind="stable")
    first = rows.drop_duplicates(keys, keep="first")[[*keys, "scheduled_at", "sent_at", "lateness_ms"]]
    last = rows.drop_duplicates(keys, keep="last")[[*keys, "status", "prompt_tokens", "completion_tokens"]]
    plan_rows = plan.requests.rename(columns={"prompt_tokens": "prompt_asked", "output_tokens": "output_asked"})
    return plan_rows.merge(first, on=keys, how="left").merge(last, on=keys, how="left")


def _lengths(fidelity: Fidelity, sent: pd.DataFrame, output_recorded: bool) -> None:
    answered = sent[(sent["status"] == "ok").to_numpy()]
    both = answered[(answered["prompt_asked"].notna() & answered["prompt_tokens"].notna()).to_numpy()]
    why = "no answer says its prompt's length" if sent["prompt_asked"].notna().any() else "the trace has text alone"
    planned, made = both["prompt_asked"].to_numpy(float), both["prompt_tokens"].to_numpy(float)
    error = np.abs(made - planned) / np.maximum(planned, 1)
    fidelity.asked_p50, fidelity.asked_p99 = _percentiles(planned, "tokens", why)
    fidelity.made_p50, fidelity.made_p99 = _percentiles(made, "tokens", why)
    fidelity.prompt_error_p50, fidelity.prompt_error_p99 = _percentiles(error, "share", why)
    fidelity.prompt_total_error = _total_error(planned, made, why)
    both = answered[(answered["output_asked"].notna() & answered["completion_tokens"].notna()).to_numpy()]
    why = "the model decides how long answers are" if not output_recorded else "the trace does not say how long"
    planned, made = both["output_asked"].to_numpy(float), both["completion_tokens"].to_numpy(float)
    if not output_recorded:
        planned = made = np.zeros(0)
    _, fidelity.output_error_p99 = _percentiles(np.abs(made - planned) / np.maximum(planned, 1), "share", why)
    fidelity.output_total_error = _total_error(planned, made, why)


def _total_error(planned: np.ndarray, made: np.ndarray, why: str) -> Figure:
    total = abs(float(made.sum() / planned.sum() - 1)) if planned.sum() else None
    return Estimate(total, n=len(planned), why=why).figure("share")


def _times(fidelity: Fidelity, sent: pd.DataFrame, start: float) -> None:
    known = sent[(sent["at_s"].notna() & sent["scheduled_at"].notna()).to_numpy()]
    slip_ms = (known["scheduled_at"] - start - known["at_s"]).to_numpy(float) * _MS
    why = "no request with a recorded time was sent"
    fidelity.slip_p50_ms, fidelity.slip_p99_ms = _percentiles(slip_ms, "ms", why)
    lateness = known["lateness_ms"].to_numpy(float)
    fidelity.lateness_p99_ms = _percentiles(lateness[~np.isnan(lateness)], "ms", why)[1]
    fidelity.rate_asked = _rate(sent["at_s"].to_numpy(float))
    fidelity.rate_made = _rate(sent["sent_at"].to_numpy(float))


def _rate(times: np.ndarray) -> Figure:
    times = times[~np.isnan(times)]
    span_s = float(times.max() - times.min()) if len(times) else 0.0
    return Estimate(
        len(times) / span_s if span_s > 0 else None, n=len(times), why="there is no time between them"
    ).figure("req/s")


def _percentiles(values: np.ndarray, unit: str, why: str) -> tuple[Figure, Figure]:
    """p50 and p99. No interval: these are all the requests there are, not a sample."""
    made = [float(np.quantile(values, share)) if len(values) else None for share in (0.5, 0.99)]
    middle, high = (Estimate(value, n=len(values), why=why).figure(unit) for value in made)
    return middle, high


def _sharing(fidelity: Fidelity, plan: ReplayPlan, run: Run, cache: Yardstick) -> None:
    effective = run.manifest.engine.effective
    block, capacity = effective.get("block_size"), effective.get("kv_capacity_tokens")
    fidelity.block_size = int(block) if isinstance(block, int | float) and block >= 1 else _SMALLEST_BLOCK
    by_blocks = cache.blocks.value is not None
    fidelity.engine, fidelity.sent_allow = cache.engine, cache.blocks if by_blocks else cache.ideal
    fidelity.sent_allow_range = (cache.blocks_range if by_blocks else cache.ideal_range) or None
    curve = implied_curve(plan, fidelity.block_size)
    why = "the trace does not say what its prompts share"
    fidelity.implied = Estimate(curve.unbounded if curve else None, why=why).figure("share")
    known = isinstance(capacity, int | float) and capacity > 0
    at_capacity = curve.rate(float(capacity or 0)) if curve is not None and known else None
    fidelity.implied_capacity = Estimate(
        at_capacity, why=why if curve is None else "the engine's KV cache is of unknown size"
    ).figure("share")


def implied_curve(plan: ReplayPlan, block_tokens: int) -> HitCurve | None:
    """Hits by cache size of the trace itself, in an engine's blocks of `block_tokens`; None if it has no ids.

    An engine's block is identified by the trace's block in which it ends and the position there, because an id stands
    for everything before it too. It must be whole, and one token of a prompt is always computed.
    """
    if not plan.has_blocks:
        return None
    requests = plan.requests[plan.requests["prompt_tokens"].notna().to_numpy()]
    lengths = requests["prompt_tokens"].to_numpy(np.int64)
    sizes = requests["block_tokens"].fillna(0).to_numpy(np.int64)
    every: list[np.ndarray] = []
    own = -1
    for row, length, size in zip(requests.index.to_numpy(), lengths, sizes, strict=True):
        ids = plan.ids[plan.starts[row] : plan.starts[row + 1]]
        last = (np.arange(max(0, (length - 1) // block_tokens)) + 1) * block_tokens - 1
        block = last // size if size else last
        known = block < len(ids)
        codes = np.empty(len(last), dtype=np.int64)
        codes[known] = ids[block[known]] * (size + 1) + last[known] % size if size else 0
        unknown = int((~known).sum())
        codes[~known] = np.arange(own, own - unknown, -1)
        own -= unknown
        every.append(codes)
    starts = np.concatenate(([0], np.cumsum([len(each) for each in every])))
    uses = uses_of_blocks(np.concatenate(every), starts, lengths, block_tokens)
    return hit_curve(uses, block_tokens, leaf_first=True)


def _limits(fidelity: Fidelity, span_s: float) -> list[Limit]:
    unsent = Estimate(
        1 - fidelity.sent / fidelity.requests if fidelity.requests else None,
        n=fidelity.requests,
        why="the trace has no request",
    ).figure("share")
    apart = None
    if fidelity.implied.value is not None and fidelity.sent_allow.value is not None:
        low, high = fidelity.sent_allow_range or [fidelity.sent_allow.value] * 2
        apart = max(0.0, low - fidelity.implied.value, fidelity.implied.value - high)
    sharing = Estimate(apart, why=fidelity.implied.why or "what the prompts sent share is not known").figure("share")
    slip_limit_ms = max(SLIP_LIMIT_S, SLIP_LIMIT_SHARE * span_s) * _MS
    return [
        _limit(name, figure, limit)
        for name, figure, limit in (
            ("requests that were not sent", unsent, UNSENT_LIMIT),
            ("difference of prompt lengths, p50", fidelity.prompt_error_p50, PROMPT_LIMIT),
            ("difference of all prompts' length", fidelity.prompt_total_error, PROMPT_LIMIT),
            ("difference of all answers' length", fidelity.output_total_error, OUTPUT_LIMIT),
            ("lateness, p99", fidelity.lateness_p99_ms, LATENESS_LIMIT_MS),
            ("slip from the trace, p99", fidelity.slip_p99_ms, slip_limit_ms),
            ("difference of what prompts share", sharing, SHARING_LIMIT),
        )
    ]


def _limit(name: str, figure: Figure, limit: float) -> Limit:
    return Limit(name, figure, limit, None if figure.value is None else figure.value <= limit)


def _sentence(fidelity: Fidelity) -> str:
    parts = [f"{fidelity.sent:,} of {fidelity.requests:,} requests were sent"]
    if fidelity.prompt_error_p50.value is not None:
        parts.append(
            f"prompts have {fidelity.made_p50.value:,.0f} tokens at the median where "
            f"{fidelity.asked_p50.value:,.0f} were asked for ({_percent(fidelity.prompt_error_p50)} apart, "
            f"{_percent(fidelity.prompt_error_p99)} at p99)"
        )
    if fidelity.output_total_error.value is not None:
        parts.append(f"answers are {_percent(fidelity.output_total_error)} apart in all")
    if fidelity.slip_p99_ms.value is not None:
        parts.append(
            f"they were due up to {max(fidelity.slip_p99_ms.value, 0.0):,.0f} ms after the trace (p99), and sent "
            f"{fidelity.lateness_p99_ms.value:,.1f} ms after that"
        )
    if fidelity.rate_asked.value is not None and fidelity.rate_made.value is not None:
        made, wanted = significant(fidelity.rate_made.value), significant(fidelity.rate_asked.value)
        parts.append(f"{made} requests/s where {wanted} were asked for")
    if fidelity.implied.value is not None:
        within = (
            ""
            if fidelity.implied_capacity.value is None
            else f", {_percent(fidelity.implied_capacity)} in this KV cache"
        )
        engine = "" if fidelity.engine.value is None else f"; the engine found {_percent(fidelity.engine)}"
        parts.append(
            f"the trace implies a hit rate of {_percent(fidelity.implied)} in blocks of {fidelity.block_size}"
            f"{within}{engine}"
        )
    text = "; ".join(parts) + "."
    missed = [
        f"{each.name} is {_shown(each.figure)}, limit {_shown_value(each.limit, each.figure.unit)}"
        for each in fidelity.limits
        if each.kept is False
    ]
    return f"{text} This is no replay of the trace: {'; '.join(missed)}." if missed else text


def _percent(figure: Figure) -> str:
    return f"{100 * present(figure.value):.1f}%"


def _shown(figure: Figure) -> str:
    return _shown_value(present(figure.value), figure.unit)


def _shown_value(value: float, unit: str) -> str:
    return f"{100 * value:.3g}%" if unit == "share" else f"{value:,.0f} {unit}"
