"""A capacity in sentences, and in lines for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tokenswarm.analysis import wording as text

from tokenswarm.base.numbers import significant
from tokenswarm.contract.capacity_record import ENDINGS, UNITS, Capacity, CapacityFigure, CapacityLevel
from tokenswarm.contract.metrics import METRICS

_MARKS = {"pass": "P", "fail": "F", "limited": "L"}
_COLUMNS = 44


def load_words(value: float | None, unit: str = "") -> str:
    """A load with three digits; users as an integer."""
    if value is None or not math.isfinite(value):
        return "?"
    number = f"{value:,.0f}" if unit == "users" else significant(value)
    return f"{number} {UNITS[unit]}" if unit in UNITS else number


def interval_words(figure: CapacityFigure) -> str:
    """`40 to 45`; an unknown end is `?`."""
    low, high = (load_words(end) if figure.unit != "users" or end is None else f"{end:,.0f}" for end in figure.ci95)
    return f"{low} to {high}"


def limits_words(slo: Mapping[str, float], target: float) -> str:
    """`TTFT of at most 500 ms and TPOT of at most 50 ms for 95% of the requests`."""
    limits = [f"{METRICS[key.removesuffix('_ms')].title} of at most {value:g} ms" for key, value in slo.items()]
    return f"{' and '.join(limits) or 'no limits'} for {100 * target:g}% of the requests"


def answer_sentence(record: Capacity) -> str:
    """The load that the engine carries, in one sentence."""
    figure, unit = record.capacity, UNITS[record.capacity.unit]
    if figure.sure_fail is None and figure.limit is not None:
        who = "the endpoint's rate limit" if figure.reason == "refused" else "the load generator"
        least = (
            "It is not known how much load it can serve"
            if figure.sure_pass is None
            else f"It can serve at least {load_words(figure.sure_pass)} {unit}"
        )
        return f"{least}: {who} was the limit at {load_words(figure.limit)} {unit}."
    if figure.estimate is not None:
        return f"It can serve {load_words(figure.estimate)} {unit} (95%: {interval_words(figure)})."
    if figure.sure_pass is not None:
        return f"It can serve at least {load_words(figure.sure_pass)} {unit}; its limit was not reached."
    if figure.sure_fail is not None:
        return f"It cannot serve {load_words(figure.sure_fail)} {unit}; no lower load certainly passes."
    return "It is not known how much load it can serve."


def ending_sentence(record: Capacity) -> str:
    """The certain ends, why the search ended, and other remarks."""
    figure = record.capacity
    unit = UNITS[figure.unit]
    sure = [
        f"{load_words(load)} {unit} surely {verb}"
        for load, verb in ((figure.sure_pass, "pass"), (figure.sure_fail, "fail"))
        if load is not None
    ]
    sentences = [
        f"{' and '.join(sure)}." if sure else "",
        f"The search ended because {ENDINGS.get(figure.reason, figure.reason)}." if figure.reason else "",
    ]
    if figure.sure_pass is not None and figure.sure_fail is not None and not figure.curve:
        sentences.append("The interval is the bracket between what surely passes and what surely fails.")
    if figure.cliff:
        sentences.append("Attainment falls off a cliff: with a little more load, almost no request is in time.")
    if figure.non_monotone:
        sentences.append("A higher load passes than one that fails: attainment is not monotone.")
    if figure.limit_why:
        # Most reasons already say what helps.
        advised = figure.reason == "refused" or "WORKERS" in figure.limit_why
        advice = "" if advised else " Use more WORKERS or a quieter machine."
        sentences.append(f"{figure.limit_why.rstrip('.')}.{advice}")
    return " ".join(sentence for sentence in sentences if sentence)


def capacity_sentence(record: Capacity) -> str:
    """Both, for the terminal."""
    simulated = "SIMULATED: " if record.simulated else ""
    return f"{simulated}{answer_sentence(record)} {ending_sentence(record)}"


def level_words(level: CapacityLevel, unit: str) -> str:
    """`256 users: pass, 99.2% (98.1% to 99.9%) of 1,240 requests`."""
    share = (
        "nothing measured"
        if level.attainment is None
        else (
            f"{text.percent(level.attainment)} ({text.percent(level.ci95[0])} to {text.percent(level.ci95[1])}) of "
            f"{level.requests:,} requests in time"
        )
    )
    why = f"; {level.why}" if level.why else ""
    return f"{load_words(level.load, unit)}: {level.state}, {share}{why}"


def progress_lines(record: Capacity, left_s: float | None) -> list[str]:
    """After a run: the state of its level, and the bracket as a picture."""
    figure, last = record.capacity, record.runs[-1]
    level = next((each for each in record.levels if each.load == last.load), None)
    if level is None:
        return [f"{load_words(last.load, figure.unit)}: the run was interrupted, so it says nothing"]
    left = "" if left_s is None else f"; {text.duration(left_s)} left"
    know = f"surely passes: {load_words(figure.sure_pass)}, surely fails: {load_words(figure.sure_fail)}"
    guess = "" if figure.estimate is None else f", about {load_words(figure.estimate)} ({interval_words(figure)})"
    return [level_words(level, figure.unit), scale(record), f"{know.replace('?', 'none yet')}{guess}{left}"]


def scale(record: Capacity) -> str:
    """The measured loads on a logarithmic scale: P passes, F fails, L was limited, ? is undecided; = fills the gap
    between the certain pass and the certain fail.
    """
    loads = sorted(level.load for level in record.levels)
    first, last = math.log(loads[0]), math.log(max(loads[-1], loads[0] * 2.0))

    def column(load: float) -> int:
        return round((math.log(load) - first) / (last - first) * (_COLUMNS - 1))

    line = ["-"] * _COLUMNS
    low, high = record.capacity.sure_pass, record.capacity.sure_fail
    if low is not None and high is not None:
        line[column(low) : column(high) + 1] = ["="] * (column(high) - column(low) + 1)
    for level in record.levels:
        line[column(level.load)] = _MARKS.get(level.state, "?")
    return f"{load_words(loads[0])} {''.join(line)} {load_words(max(loads[-1], loads[0] * 2.0))}"
