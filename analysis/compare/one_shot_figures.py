"""What one prompt, sent repeatedly, shows: figures of each engine, and which engines differ. Pure functions.

The unit of evidence is the repeat. Two cases of one engine are paired by repeat, and so are two engines that
alternated. Engines measured one after the other are tested by Welch's test, since nothing pairs their repeats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tokenswarm.analysis.compare.ab_test import Difference, Reading, Rules, difference, holm
from tokenswarm.analysis.figures.statistics import CONFIDENCE, t_quantile
from tokenswarm.analysis.wording import number

from tokenswarm.contract.one_shot_record import OneShot, Shot, ShotContrast, ShotRow
from tokenswarm.contract.summary.figure import Figure

DIFFERENT, EQUAL, UNDECIDED, UNKNOWN = "different", "equal", "undecided", "unknown"
TOKENS_S, TTFT, DURATION = "tokens_s", "ttft_ms", "duration_s"
TITLES = {DURATION: "duration", TOKENS_S: "tokens/s", TTFT: "TTFT"}
CASES = ("cold", "fresh", "cached", "cached_again", "small")
CASE_WORDS = {
    "cold": "cold",
    "fresh": "fresh context",
    "cached": "cached",
    "cached_again": "cached again",
    "small": "without the context",
}
_BETWEEN = (TOKENS_S, TTFT)
"""The figures that a verdict between engines rests on, chosen in advance."""
_HIGHER_IS_BETTER = frozenset({TOKENS_S})
_MS_PER_S = 1000.0


def _duration_s(shot: Shot) -> float | None:
    return None if shot.e2e_ms is None else shot.e2e_ms / _MS_PER_S


def _tokens_s(shot: Shot) -> float | None:
    seconds = _duration_s(shot)
    return shot.completion_tokens / seconds if seconds and shot.completion_tokens else None


_VALUES: Mapping[str, Callable[[Shot], float | None]] = {
    DURATION: _duration_s,
    TOKENS_S: _tokens_s,
    TTFT: lambda shot: shot.ttft_ms,
}
_UNITS = {DURATION: "s", TOKENS_S: "tokens/s", TTFT: "ms"}


def geometric(values: Sequence[float], unit: str) -> Figure:
    """Geometric mean of positive values with a 95% t interval on their logarithms; a single value has no interval."""
    if not values:
        return Figure(unit=unit, why="no answer was measured")
    logs = np.log(np.array(values))
    mean = float(logs.mean())
    if len(values) == 1:
        return Figure(math.exp(mean), unit, 1)
    half = t_quantile(0.5 + CONFIDENCE / 2.0, len(values) - 1) * float(logs.std(ddof=1)) / len(values) ** 0.5
    return Figure(math.exp(mean), unit, len(values), [math.exp(mean - half), math.exp(mean + half)])


def _mean(values: Sequence[int | None], why: str) -> Figure:
    counted = [value for value in values if value is not None]
    return Figure(sum(counted) / len(counted), "tokens", len(counted)) if counted else Figure(unit="tokens", why=why)


def rows_of(record: OneShot) -> list[ShotRow]:
    """One row per engine and case, in the order of the engines. Failed requests are counted but enter no figure."""
    rows = []
    for case in CASES:
        for engine in record.engines:
            shots = [shot for shot in record.shots if shot.engine == engine.label and shot.case == case]
            if not shots:
                continue
            good = [shot for shot in shots if shot.status == "ok"]
            row = ShotRow(engine.label, case, len(shots), len(shots) - len(good))
            for name, value_of in _VALUES.items():
                values = [value for shot in good if (value := value_of(shot)) is not None and value > 0]
                setattr(row, name, geometric(values, _UNITS[name]))
            row.tokens = _mean([shot.completion_tokens for shot in good], "no answer had tokens")
            row.prompt_tokens = _mean([shot.prompt_tokens for shot in good], "the engine does not count them")
            row.cached_tokens = _mean([shot.cached_tokens for shot in good], "the engine does not report them")
            rows.append(row)
    return rows


@dataclass(frozen=True, slots=True)
class _Side:
    engine: str
    case: str


def contrasts_of(record: OneShot) -> list[ShotContrast]:
    """Engines against each other in each case, then each engine's repeated question against its first.

    Over all contrasts together, at most one in twenty records of equal engines calls one different (Holm).
    """
    rules = Rules(margin=record.margin)
    labels = [engine.label for engine in record.engines]
    cases = [case for case in CASES if any(shot.case == case for shot in record.shots)]
    questions = [
        (what, _Side(labels[0], case), _Side(other, case))
        for other in labels[1:]
        for case in cases
        for what in _BETWEEN
    ]
    first = cases[0] if cases else ""
    questions += [
        (what, _Side(label, first), _Side(label, case))
        for label in labels
        for case in cases[1:]
        for what in (DURATION, TTFT)
    ]
    results = [_contrast(record, *question, rules) for question in questions]
    known = [contrast for contrast, apart in results if apart is not None]
    kept = {id(contrast): keep for contrast, keep in zip(known, holm([each.p or 0.0 for each in known]), strict=True)}
    for contrast, apart in results:
        if apart is not None:
            contrast.state = _state(apart, rules, kept[id(contrast)])
        contrast.sentence = _sentence(contrast, rules)
    return [contrast for contrast, _ in results]


def _contrast(record: OneShot, what: str, a: _Side, b: _Side, rules: Rules) -> tuple[ShotContrast, Difference | None]:
    by_repeat = [_by_repeat(record, what, side) for side in (a, b)]
    both = sorted(by_repeat[0].keys() & by_repeat[1].keys())
    paired = record.interleaved or a.engine == b.engine
    sides = [[Reading(values[repeat]) for repeat in (both if paired else sorted(values))] for values in by_repeat]
    contrast = ShotContrast(what, a.engine, a.case, b.engine, b.case, UNKNOWN, paired=paired)
    if min(map(len, sides)) < 2:
        contrast.why = "fewer than two repeats of both: the spread between repeats is unknown"
        return contrast, None
    apart = difference(*sides, ratio=True, paired=paired)
    if apart is None:
        contrast.why = "too few repeats for an interval"
        return contrast, None
    contrast.ratio, contrast.ci95, contrast.p = apart.change, [apart.low, apart.high], apart.p
    contrast.repeats_needed = apart.repeats_needed(rules.margin)
    return contrast, apart


def _by_repeat(record: OneShot, what: str, side: _Side) -> dict[int, float]:
    values = {
        shot.repeat: _VALUES[what](shot)
        for shot in record.shots
        if shot.status == "ok" and (shot.engine, shot.case) == (side.engine, side.case)
    }
    return {repeat: value for repeat, value in values.items() if value is not None and value > 0}


def _state(apart: Difference, rules: Rules, kept: bool) -> str:
    if apart.is_equal(rules.margin):
        return EQUAL
    return DIFFERENT if kept and apart.significant else UNDECIDED


def _times(contrast: ShotContrast) -> str:
    low, high = contrast.ci95 or (0.0, 0.0)
    return f"{number(contrast.ratio)} times ({number(low)} to {number(high)})"


def subject(contrast: ShotContrast) -> str:
    """`sglang / vllm, cached: tokens/s`, or `vllm, cached / cold: TTFT`."""
    title = TITLES[contrast.what]
    if contrast.engine_a != contrast.engine_b:
        return f"{contrast.engine_b} / {contrast.engine_a}, {CASE_WORDS[contrast.case_a]}: {title}"
    return f"{contrast.engine_a}, {CASE_WORDS[contrast.case_b]} / {CASE_WORDS[contrast.case_a]}: {title}"


def state_words(contrast: ShotContrast, margin: float) -> str:
    """`no difference (equal within 5%)`, `different`, or what it would take to decide."""
    if contrast.state == EQUAL:
        return f"no difference (equal within {100 * margin:.3g}%)"
    low, high = contrast.ci95 or (0.0, 0.0)
    if contrast.state == UNDECIDED and (low > 1.0 or high < 1.0):
        return (
            "not sure: 1 is outside its interval, but of so many ratios one may be so by chance; repeat it more often"
        )
    if contrast.state == UNDECIDED:
        more = f": about {contrast.repeats_needed} repeats would tell" if contrast.repeats_needed else ""
        return f"no difference shown (undecided{more})"
    return contrast.why if contrast.state == UNKNOWN else contrast.state


def _sentence(contrast: ShotContrast, rules: Rules) -> str:
    words = state_words(contrast, rules.margin)
    if contrast.ratio is None:
        return f"{subject(contrast)} is not known: {words}."
    return f"{subject(contrast)} {_times(contrast)}: {words}."


def verdict(record: OneShot) -> str:
    """The overall sentence: which engine is better in what, or that no difference was shown."""
    between = [each for each in record.contrasts if each.engine_a != each.engine_b]
    if len(record.engines) < 2:
        return _single(record)
    known = [each for each in between if each.ratio is not None]
    if not known:
        return "No verdict: " + (between[0].why if between else "only one engine answered") + "."
    sure = [each for each in known if each.state == DIFFERENT]
    if not sure:
        if all(each.state == EQUAL for each in known):
            return f"No difference: all figures are equal within {100 * record.margin:.3g}%."
        return "No difference shown: the intervals hold equality as well as differences that matter. Repeat more often."
    groups: dict[tuple[str, str], list[ShotContrast]] = {}
    for each in sure:
        groups.setdefault((each.case_a, _winner(each)), []).append(each)
    return " ".join(_better(case, winner, group) for (case, winner), group in groups.items())


def _better(case: str, winner: str, group: Sequence[ShotContrast]) -> str:
    """`sglang is better (cached): its tokens/s is 1.25 times vllm's (1.2 to 1.3).`"""
    figures = []
    for each in group:
        of, to = ("its", f"{each.engine_a}'s") if winner == each.engine_b else (f"{each.engine_b}'s", "its own")
        low, high = each.ci95 or (0.0, 0.0)
        figures.append(f"{of} {TITLES[each.what]} is {number(each.ratio)} times {to} ({number(low)} to {number(high)})")
    return f"{winner} is better ({CASE_WORDS[case]}): {'; '.join(figures)}."


def _winner(contrast: ShotContrast) -> str:
    rises = (contrast.ratio or 1.0) > 1.0
    return contrast.engine_b if rises == (contrast.what in _HIGHER_IS_BETTER) else contrast.engine_a


def _single(record: OneShot) -> str:
    first = next((each for each in record.contrasts if each.what == DURATION), None)
    return first.sentence if first else "One engine was asked: there is nothing to compare."


def with_answer(record: OneShot) -> OneShot:
    """The record completed with rows, contrasts and the overall sentence."""
    record.simulated = any(engine.simulated for engine in record.engines)
    record.engine = ", ".join(dict.fromkeys(engine.title for engine in record.engines))
    record.model = ", ".join(dict.fromkeys(engine.model for engine in record.engines))
    record.rows = rows_of(record)
    record.contrasts = contrasts_of(record)
    record.sentence = verdict(record)
    return record
