"""The cache yardstick: what a prefix cache could have found in the prompts sent, and what the engine found."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import numpy as np
import pandas as pd
from msgspec.structs import replace
from tokenswarm.analysis.cache.explanation import Allowed, all_fits, limiting_factor, sentence, steps
from tokenswarm.analysis.cache.hit_curve import Uses
from tokenswarm.analysis.cache.models import Replay, Request, block_hits, hits
from tokenswarm.analysis.cache.prefix_tree import PrefixTree, build
from tokenswarm.analysis.cache.run_curve import curve_points, run_curve, uses_of_requests
from tokenswarm.analysis.cache.token_sizes import TokenModel, fit, prefix_error, refined
from tokenswarm.analysis.figures import quantities as metrics
from tokenswarm.analysis.figures.statistics import Estimate
from tokenswarm.analysis.figures.window import Window, ended_at
from tokenswarm.analysis.read.prompts import RecordedPrompts, key_of, read_prompts
from tokenswarm.analysis.read.run_folder import Run

from tokenswarm.contract.summary.cache_records import Cache, CacheStep, CurvePoint, Yardstick
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.tables import PROMPTS_CSV

_MS = 1000.0


@dataclasses.dataclass(frozen=True)
class _Recorded:
    """The rows whose prompt is known, in the order sent; `which`: the position of each in `prompts`."""

    prompts: RecordedPrompts
    rows: pd.DataFrame
    which: np.ndarray

    @cached_property
    def counted(self) -> np.ndarray:
        """The rows that shares cover: successes of the measure phase; if only some report cached tokens, only those."""
        phase = self.rows["phase"]
        chosen = metrics.is_ok(self.rows) & (phase.isna().all() | (phase == "measure").to_numpy())
        reported = chosen & (self.rows["cached_tokens"].notna() & self.rows["prompt_tokens"].notna()).to_numpy()
        return reported if reported.any() else chosen


def cache_figures(run: Run, rows: pd.DataFrame, window: Window | None) -> Cache:
    """The engine's hit rate (see `quantities.cache_figures`), its efficiency, and the yardstick.

    efficiency = hit rate / ideal hit rate, both over the requests that the yardstick covers.
    """
    figures = metrics.cache_figures(run, rows, window)
    measured = _yardstick(run, figures.counters_hit_rate)
    ideal, got = measured.ideal.value, measured.engine.value
    why = (
        measured.why
        if not measured.recorded
        else "the engine does not report its hits"
        if got is None
        else "no two prompts begin alike"
    )
    value = got / ideal if got is not None and ideal else None
    share = Estimate(value, n=measured.requests, why=why if value is None else None)
    return replace(figures, efficiency=share.figure("share"), yardstick=measured)


def _absent(why: str) -> Yardstick:
    return Yardstick(recorded=False, why=why)


def _yardstick(run: Run, counters: float | None) -> Yardstick:
    """The yardstick's part of the summary. If it cannot be computed, `recorded` is false and `why` has the reason."""
    if run.manifest.scenario.table("lora").get("adapters"):
        return _absent("prompts are recorded without their adapters, and no prefix is shared between two of these")
    try:
        prompts = read_prompts(run.folder / PROMPTS_CSV)
    except OSError as error:
        return _absent(f"{PROMPTS_CSV} cannot be read: {error.strerror or error}")
    if prompts is None:
        return _absent(f"not recorded: the run has no {PROMPTS_CSV}")
    recorded = _joined(run, prompts)
    rows, counted = recorded.rows, recorded.counted
    if not counted.any():
        return _absent("no successful request of the measure phase was recorded")
    tokens = _token_model(recorded)
    effective = run.manifest.engine.effective
    block, capacity = (_positive(effective.get(name)) for name in ("block_size", "kv_capacity_tokens"))
    reported = rows["cached_tokens"].notna().to_numpy() & counted
    cached, asked_for = (rows[name].to_numpy()[reported] for name in ("cached_tokens", "prompt_tokens"))
    paths = _paths(recorded, tokens)
    allowed = dataclasses.replace(
        _allowed(recorded, tokens, paths, block, capacity),
        cache_is_off=effective.get("prefix_cache") is False,
        got=_ratio(cached, asked_for) if reported.any() else counters,
    )
    described = _described(run, recorded, tokens, allowed, "usage" if reported.any() else "counters")
    size = block or 1
    curve = run_curve(paths.uses(size), size)
    return replace(described, curve=[CurvePoint(at, rate) for at, rate in curve_points(curve)], curve_block=size)


@dataclasses.dataclass(frozen=True)
class RunPaths:
    """The requests of a run that reached a cache, in the order sent, as paths of a prefix tree.

    - segment_tokens: of each of its segments
    - prompt_tokens: of each request
    - counted: which requests the shares cover
    - rows: their rows among the recorded ones
    """

    requests: list[Request]
    tree: PrefixTree
    segment_tokens: np.ndarray
    prompt_tokens: np.ndarray
    counted: np.ndarray
    in_cache: np.ndarray

    def uses(self, block_tokens: int) -> Uses:
        """As uses of a cache with blocks of this many tokens."""
        return uses_of_requests(self.requests, self.segment_tokens, self.prompt_tokens, self.counted, block_tokens)

    def asked(self, block_tokens: int) -> Uses:
        """The uses by prompts alone, of every request."""
        prompts = [dataclasses.replace(request, answer=()) for request in self.requests]
        return uses_of_requests(
            prompts, self.segment_tokens, self.prompt_tokens, np.ones(len(prompts), dtype=bool), block_tokens
        )


def paths_of_run(run: Run) -> tuple[RunPaths, pd.DataFrame] | None:
    """The paths of a run's requests, and their rows; None if its prompts were not recorded. Raises OSError."""
    prompts = read_prompts(run.folder / PROMPTS_CSV)
    recorded = None if prompts is None else _joined(run, prompts)
    if recorded is None or not recorded.counted.any():
        return None
    paths = _paths(recorded, _token_model(recorded))
    return paths, recorded.rows[paths.in_cache]


def _paths(recorded: _Recorded, model: TokenModel) -> RunPaths:
    tree, rows = build(recorded.prompts), recorded.rows
    requests, in_cache = _requests(recorded, tree)
    paths = [request.prompt for request in requests]
    prompt_tokens = rows["prompt_tokens"].to_numpy()[in_cache]
    segment_tokens = refined(model.tokens(tree.chars, tree.assistant, tree.ends), paths, prompt_tokens)
    fitted = np.array([sum(segment_tokens[path].tolist()) for path in paths])
    total = np.where(prompt_tokens > 0, prompt_tokens, fitted)
    return RunPaths(requests, tree, segment_tokens, total, recorded.counted[in_cache], in_cache)


def _described(run: Run, recorded: _Recorded, tokens: TokenModel, allowed: Allowed, source: str) -> Yardstick:
    prompts, rows, n = recorded.prompts, recorded.rows, int(recorded.counted.sum())
    reasons = {
        "blocks": "the engine does not report its block size",
        "capacity": "the engine does not report the size of its KV cache",
        "got": "the engine does not report its hits",
    }
    to_blame, reason = limiting_factor(allowed)

    def figure(name: str) -> Figure:
        return Estimate(getattr(allowed, name), n=n, why=reasons.get(name)).figure("share")

    limited = None
    if prompts.more:
        limited = f"It covers the first {len(prompts):,} of {len(run.requests):,} requests."
    return Yardstick(
        recorded=True,
        requests=n,
        requests_known=len(prompts),
        requests_lost=0 if prompts.more else len(run.requests) - len(rows),
        damaged_lines=prompts.damaged,
        limited=limited,
        block_size=allowed.block_size,
        kv_capacity_tokens=allowed.capacity_tokens,
        ideal=figure("ideal"),
        ideal_range=[allowed.at_least, allowed.at_most],
        ideal_computed=figure("computed"),
        ideal_prompts=figure("prompts"),
        blocks=figure("blocks"),
        blocks_range=list(allowed.blocks_range) if allowed.blocks_range else None,
        capacity=figure("capacity"),
        engine=figure("got"),
        engine_source=source if allowed.got is not None else None,
        token_error=Estimate(tokens.error, n=len(rows), why="prompt tokens were not counted").figure("share"),
        steps=[CacheStep(step.stage, step.title, step.share, step.lost) for step in steps(allowed)],
        blame=to_blame,
        sentence=sentence(allowed),
        reason=reason,
        fits=all_fits(allowed),
    )


def _joined(run: Run, prompts: RecordedPrompts) -> _Recorded:
    if not len(prompts):
        return _Recorded(prompts, run.requests.iloc[:0], np.zeros(0, dtype=np.int64))
    tails = [
        int(tail) if (tail := str(name).rpartition("-")[2]).isdecimal() and len(tail) < 12 else -1
        for name in run.requests["request_id"].tolist()
    ]
    workers = run.requests["worker"].fillna(-1).to_numpy().astype(np.int64)
    numbers = np.array(tails, dtype=np.int64)
    wanted = np.where((numbers >= 0) & (workers >= 0), key_of(workers, numbers), -1)
    order = np.argsort(prompts.keys)
    at = np.minimum(np.searchsorted(prompts.keys, wanted, sorter=order), len(order) - 1)
    known = prompts.keys[order[at]] == wanted
    return _Recorded(prompts, run.requests[known], order[at][known])


def _positive(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 1 else None


def _ratio(part: np.ndarray, whole: np.ndarray) -> float | None:
    return float(part.sum() / whole.sum()) if whole.sum() > 0 else None


def _sums(prompts: RecordedPrompts, values: np.ndarray) -> np.ndarray:
    """For each request, the sum over its prompt's messages of a value per message."""
    total = np.append(0, np.cumsum(values[prompts.sequence]))
    return total[prompts.starts[1:]] - total[prompts.starts[:-1]]


def _token_model(recorded: _Recorded) -> TokenModel:
    rows, which, prompts, messages = recorded.rows, recorded.which, recorded.prompts, recorded.prompts.messages
    answers = prompts.answers[which]
    answer_chars = np.where(answers >= 0, messages.chars[np.maximum(answers, 0)], 0)
    return fit(
        _sums(prompts, messages.chars * ~messages.assistant)[which],
        _sums(prompts, messages.chars * messages.assistant)[which],
        np.diff(prompts.starts)[which],
        rows["prompt_tokens"].to_numpy(),
        answer_chars,
        rows["completion_tokens"].to_numpy(),
    )


def _allowed(
    recorded: _Recorded, model: TokenModel, paths: RunPaths, block: int | None, capacity: int | None
) -> Allowed:
    """What a cache with these blocks and this size could have found; without the engine's own figure."""
    tree, chosen, total = paths.tree, paths.counted, paths.prompt_tokens
    step_tokens = model.tokens(tree.step, tree.assistant, np.zeros(len(tree.step)))
    replay = Replay(paths.segment_tokens, step_tokens, block or 1, capacity)
    shared = replay.run(paths.requests)

    error = prefix_error(model, shared.ideal, total) + (shared.at_most - shared.ideal)
    blocks, least, most = block_hits(shared.ideal, error, total, block or 1)
    # Evicted text ends at a block boundary, which is known.
    limited = np.where(
        shared.capacity >= shared.ideal, blocks, np.minimum(hits(shared.capacity, total, block or 1), blocks)
    )

    def share(tokens: np.ndarray) -> float:
        return _ratio(tokens[chosen], total[chosen]) or 0.0

    return Allowed(
        at_least=share(hits(shared.at_least, total)),
        ideal=share(hits(shared.ideal, total)),
        at_most=share(hits(shared.at_most, total)),
        computed=share(hits(shared.computed, total)),
        prompts=share(hits(shared.prompts, total)),
        blocks=share(blocks) if block else None,
        blocks_range=(share(least), share(most)) if block else None,
        capacity=share(limited) if capacity else None,
        got=None,
        block_size=block,
        capacity_tokens=capacity,
        all_kept_tokens=replay.all_kept_tokens if capacity else None,
    )


def _requests(recorded: _Recorded, tree: PrefixTree) -> tuple[list[Request], np.ndarray]:
    """The requests that reached the engine's cache, in the order sent, and their rows.

    Requests that failed or were cancelled before their first token are assumed not to have been computed.
    """
    rows, which, prompts = recorded.rows, recorded.which, recorded.prompts
    ttft = rows["ttft_ms"].to_numpy()
    in_cache = metrics.is_ok(rows) | ~np.isnan(ttft)
    sent, ended = rows["sent_at"].to_numpy(), ended_at(rows)
    first = np.where(np.isnan(ttft), ended, sent + ttft / _MS)
    more = np.where(prompts.answers[which] >= 0, 0.0, np.nan_to_num(rows["completion_tokens"].to_numpy()))
    columns = zip(
        tree.prompt[which][in_cache].tolist(),
        tree.full[which][in_cache].tolist(),
        *(column[in_cache].tolist() for column in (sent, first, ended, more)),
        strict=True,
    )
    requests = [Request(tree.path(prompt), tree.path(full, down_from=prompt), *rest) for prompt, full, *rest in columns]
    return requests, in_cache
