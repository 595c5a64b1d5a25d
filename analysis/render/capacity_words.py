"""What is known of a capacity, in sentences and in lines for the terminal."""

from __future__ import annotations

import math

from tokenswarm.analysis import wording as text

from tokenswarm.contract.capacity import Capacity, CapacityFigure, CapacityLevel

UNITS = {"users": "users", "requests_s": "requests/s"}
REASONS = {
    "precision": "the interval is as narrow as was asked for",
    "neighbours": "pass and fail are neighbouring numbers of users",
    "undecided": "a level at the target was measured as long as is sensible",
    "levels": "as many loads were tried as is sensible",
    "below_least": "not even the least load passes",
    "limited": "the load generator was the limit",
    "refused": "the endpoint refused requests for a limit of its own (429)",
    "budget": "the budget was spent",
    "interrupted": "it was interrupted; --resume goes on",
    "going on": "the search goes on",
}
_MARKS = {"pass": "P", "fail": "F", "limited": "L"}
_COLUMNS = 44


def load_words(value: float | None, unit: str = "") -> str:
    """A load to three digits, whole where it is of users."""
    if value is None or not math.isfinite(value):
        return "?"
    number = f"{value:,.0f}" if unit == "users" or value >= 1000 else f"{value:.3g}"
    return f"{number} {UNITS[unit]}" if unit in UNITS else number


def interval_words(figure: CapacityFigure) -> str:
    """`40 to 45`; an end that is not known is `?`."""
    low, high = (load_words(end) if figure.unit != "users" or end is None else f"{end:,.0f}" for end in figure.ci95)
    return f"{low} to {high}"


def capacity_sentence(record: Capacity) -> str:
    """`capacity: 42 users (95%: 40 to 45), sure pass 38, sure fail 48; ended because ...`."""
    figure, unit = record.capacity, UNITS[record.capacity.unit]
    simulated = "SIMULATED: " if record.simulated else ""
    ended = f"; ended because {REASONS.get(figure.reason, figure.reason)}"
    if figure.sure_fail is None and figure.limit is not None:
        least = "not known" if figure.sure_pass is None else f">= {load_words(figure.sure_pass)} {unit}"
        who = "a limit of rates" if figure.reason == "refused" else "the load generator"
        advice = "" if figure.reason == "refused" else " Use WORKERS=... or a quieter machine."
        why = f" {figure.limit_why.rstrip('.')}." if figure.limit_why else ""
        at = f"limited by {who} at {load_words(figure.limit)} {unit}"
        return f"{simulated}capacity: {least}, {at}{ended}.{why}{advice}"
    value = f"{load_words(figure.estimate)} {unit}"
    if figure.estimate is None:
        value = "not known" if figure.sure_pass is None else f"at least {load_words(figure.sure_pass)} {unit}"
    sure = f"surely passes: {load_words(figure.sure_pass)}, surely fails: {load_words(figure.sure_fail)}".replace(
        "?", "none yet")
    remarks = "".join(words for flag, words in ((figure.cliff, "; attainment falls as at a cliff"),
                                               (figure.non_monotone, "; a higher load passes: not monotone")) if flag)
    return f"{simulated}capacity: {value} (95%: {interval_words(figure)} {unit}); {sure}{ended}{remarks}"


def level_words(level: CapacityLevel, unit: str) -> str:
    """`256 users: pass, 99.2% (98.1% to 99.9%) of 1,240 requests`."""
    share = "nothing measured" if level.attainment is None else (
        f"{text.percent(level.attainment)} ({text.percent(level.ci95[0])} to {text.percent(level.ci95[1])}) of "
        f"{level.requests:,} requests in time")
    why = f"; {level.why}" if level.why else ""
    return f"{load_words(level.load, unit)}: {level.state}, {share}{why}"


def progress_lines(record: Capacity, left_s: float | None) -> list[str]:
    """After a run: what its level came to, and the bracket as a picture."""
    figure, last = record.capacity, record.runs[-1]
    level = next(each for each in record.levels if each.load == last.load)
    left = "" if left_s is None else f"; {text.duration(left_s)} left"
    know = f"surely passes: {load_words(figure.sure_pass)}, surely fails: {load_words(figure.sure_fail)}"
    guess = "" if figure.estimate is None else f", about {load_words(figure.estimate)} ({interval_words(figure)})"
    return [level_words(level, figure.unit), scale(record), f"{know.replace('?', 'none yet')}{guess}{left}"]


def scale(record: Capacity) -> str:
    """The loads that were measured, on a logarithmic scale: P passes, F fails, L was limited, ? is undecided; = between
    what surely passes and what surely fails."""
    loads = sorted(level.load for level in record.levels)
    first, last = math.log(loads[0]), math.log(max(loads[-1], loads[0] * 2.0))

    def column(load: float) -> int:
        return round((math.log(load) - first) / (last - first) * (_COLUMNS - 1))

    line = ["-"] * _COLUMNS
    low, high = record.capacity.sure_pass, record.capacity.sure_fail
    if low is not None and high is not None:
        line[column(low):column(high) + 1] = ["="] * (column(high) - column(low) + 1)
    for level in record.levels:
        line[column(level.load)] = _MARKS.get(level.state, "?")
    return f"{load_words(loads[0])} {''.join(line)} {load_words(max(loads[-1], loads[0] * 2.0))}"
