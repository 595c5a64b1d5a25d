"""Whether the run is complete, and whether the load generator was the bottleneck. Rules as a table: facts in, reasons
out.

A rule is a limit and a sentence that says what to do. A new rule is a new row of RULES.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace
from tokenswarm.analysis.read.run_folder import Run
from tokenswarm.analysis.verdict.facts import Facts
from tokenswarm.analysis.verdict.outcome import (
    BY_NAME,
    COMPLETE,
    INCOMPLETE,
    INTERRUPTED,
    INVALID,
    NOTE,
    OVERLOADED,
    decide,
    facts_of_reasons,
)

from tokenswarm.base.numbers import significant
from tokenswarm.base.sentences import in_a_row
from tokenswarm.contract.limits import CPU_SHARE_LIMIT, LATE_FLOOR_MS, RELATIVE_LIMIT
from tokenswarm.contract.manifest import Reason
from tokenswarm.contract.summary.verdict_records import Check
from tokenswarm.contract.tables import MANIFEST_JSON

MANY_CANCELLED = 0.01
MANY_USER_ERRORS = 0.01
STALLED_LIMIT = 0.01
"""Share of the measured time for which a worker may be blocked."""
ENDED_EARLY = frozenset({"running", INTERRUPTED, "aborted", "failed"})
"""Values in run.json of a run that did not reach its end; `running` if its process died."""


BUSY = 0.7
"""Share of a core from which a worker's own work explains its lateness."""
STOLEN = 0.02
"""Share of the machine's CPU time given to other machines on its host from which that is mentioned."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found: the value, its limit, and the values for its sentence."""

    value: float | None
    limit: float | None
    broken: bool
    detail: str = ""
    verdict: str | None = None
    """Set if it differs from the rule's."""


@dataclass(frozen=True, slots=True)
class Rule:
    """`check` returns None if the rule does not apply.

    `verdict`: what a broken rule makes of the run, the name of an outcome (`outcome.OUTCOMES`), or NOTE if it changes
    nothing.
    """

    name: str
    title: str
    verdict: str
    unit: str
    sentence: str
    check: Callable[[Facts], Finding | None]


def _over(value: float | None, limit: float | None) -> Finding | None:
    return None if value is None or limit is None else Finding(value, limit, value > limit)


def _relative_limit(facts: Facts, floor_ms: float) -> float:
    return max(floor_ms, RELATIVE_LIMIT * (facts.median_latency_ms or 0.0))


def late_because(facts: Facts) -> str:
    """Why the load generator was late, and what helps: its own work, or a machine shared with others."""
    if facts.cpu_share is None:
        return "Use more WORKERS, less load, or a quieter machine."
    if facts.cpu_share > BUSY:
        return f"The busiest worker used {facts.cpu_share:.0%} of a core: {more_workers(facts)}"
    if facts.steal_share is not None and facts.steal_share > STOLEN:
        return (
            f"The workers used no more than {facts.cpu_share:.0%} of a core, but {facts.steal_share:.1%} of this "
            "machine's CPU time went to other machines on its host: use one that is yours alone. More WORKERS "
            "would not help."
        )
    return (
        f"The workers used no more than {facts.cpu_share:.0%} of a core, so something else on this machine took "
        "its CPU, or held the process: use a quieter one. More WORKERS would not help."
    )


def more_workers(facts: Facts) -> str:
    """`use more WORKERS`, if there are cores for them."""
    if facts.cores is not None and facts.workers is not None and facts.workers >= facts.cores:
        return (
            f"use less load, or more machines (docs/distributed.md): each of the {facts.cores} cores here has one "
            "of the WORKERS already."
        )
    return "use more WORKERS" + (f" (up to {facts.cores} here)" if facts.cores else "") + " or less load."


def _timing(facts: Facts) -> Finding | None:
    if not facts.timing:
        return None
    spoilt = [each for each in facts.timing if each.is_spoilt]
    worst = max(facts.timing, key=lambda each: each.error_ms / each.limit_ms)
    titles = in_a_row([each.title for each in spoilt], "and")
    counts = any(each.name in facts.judged_metrics for each in spoilt)
    detail = f"{titles} {'is' if len(spoilt) == 1 else 'are'} not given"
    return Finding(worst.error_ms, worst.limit_ms, bool(spoilt), detail, INVALID if counts else NOTE)


def _files(facts: Facts) -> Finding | None:
    names = facts.missing_files
    detail = f"{in_a_row(names, 'and')} {'is' if len(names) == 1 else 'are'}"
    return Finding(len(names), 0, bool(names), detail)


def _could_not_run(facts: Facts) -> bool:
    return facts.status in ENDED_EARLY and facts.status != INTERRUPTED and not facts.going and not facts.rows


def _began(facts: Facts) -> Finding | None:
    return Finding(None, None, _could_not_run(facts), facts.ended_early or "why is not known")


def _ended(facts: Facts) -> Finding | None:
    why = facts.ended_early or "it was interrupted, or its process died"
    early = facts.status in ENDED_EARLY or facts.ended_early is not None
    return Finding(None, None, early and not facts.going and not _could_not_run(facts), why)


def _end_known(facts: Facts) -> Finding | None:
    unknown = facts.status not in {*ENDED_EARLY, COMPLETE}
    return Finding(None, None, unknown and MANIFEST_JSON not in facts.missing_files)


def _rows(facts: Facts) -> Finding | None:
    if facts.counted is None:
        return None
    lost = max(facts.counted - facts.rows, facts.rows_lost)
    more = facts.rows - facts.counted
    detail = f"{more:,} requests fewer" if more > 0 else f"{lost:,.0f} requests more"
    return Finding(lost, 0, lost > 0 or more != 0, detail)


def _successes(facts: Facts) -> Finding | None:
    failed = facts.measured_sent - facts.cancelled
    why = "see the errors" if failed else "none ended before the run did" if facts.measured_sent else "none was sent"
    return Finding(facts.measured_ok, None, facts.measured_ok == 0, why)


def _guard(facts: Facts) -> Finding | None:
    limit, seen, held = facts.in_flight_limit, facts.in_flight_max, facts.held_back
    if not facts.open_loop or not limit:
        return None
    if held is None:  # an older run: requests in flight were looked at once a second
        return None if seen is None else Finding(seen, limit, seen >= limit, "arrivals")
    return Finding(limit if held else seen, limit, held > 0, f"{held:,.0f} arrivals")


RULES: tuple[Rule, ...] = (
    Rule(
        "worker_cpu",
        "Load generator CPU, busiest worker",
        "INVALID",
        "share",
        "A worker of the load generator used {value:.0%} of a core (limit {limit:.0%}), so waiting for it reads as "
        "latency: {more_workers}",
        lambda f: _over(f.cpu_share, CPU_SHARE_LIMIT),
    ),
    Rule(
        "timing_error",
        "Timing error bound (p99)",
        "INVALID",
        "ms",
        "{detail}: the load generator read answers late, by up to {short_value} ms (p99, limit {short_limit} ms). "
        "{late_because}",
        _timing,
    ),
    Rule(
        "arrivals_late",
        "Lateness of arrivals (p99)",
        "INVALID",
        "ms",
        "Requests left {value:,.1f} ms late (p99, limit {limit:,.1f} ms), so the engine got another load than asked "
        "for: use less RATE, unless load.max_in_flight was what held them back. {late_because}",
        lambda f: _over(f.lateness_p99_ms, _relative_limit(f, LATE_FLOOR_MS)) if f.open_loop else None,
    ),
    Rule(
        "generator_failures",
        "Requests failed by the load generator",
        "INVALID",
        "",
        "{value:.0f} requests failed because of the load generator (`generator_limit`: out of open files, ports or "
        "memory; `client_error`: a bug), so the engine did not get the load that was asked for: raise the limit "
        "(ulimit -n), or use fewer users.",
        lambda f: Finding(f.generator_failures, 0, f.generator_failures > 0),
    ),
    Rule(
        "user_errors",
        "Tasks of the locustfile that raised",
        "INVALID",
        "share",
        "Tasks of the locustfile raised errors ({value:.1%} of all that was begun, limit {limit:.0%}), so the engine "
        "got less load than asked for: locust.log has the tracebacks.",
        lambda f: _over(f.user_errors / (f.user_errors + f.rows), MANY_USER_ERRORS) if f.user_errors else None,
    ),
    Rule(
        "stalled",
        "Load generator stood still",
        "INVALID",
        "share",
        "The load generator stalled for {value:.1%} of the measured time (limit {limit:.0%}): nothing was sent and "
        "nothing stamped meanwhile. Something took its CPU, or it was suspended: run on a quieter machine.",
        lambda f: _over(f.stalled_share, STALLED_LIMIT),
    ),
    Rule(
        "workers_lost",
        "Workers lost",
        "INVALID",
        "",
        "{value:.0f} of the load-generating workers died during the run, so the engine got less load than asked for: "
        "see locust.log and run again.",
        lambda f: Finding(f.workers_lost, 0, f.workers_lost > 0) if f.workers_lost is not None else None,
    ),
    Rule(
        "unsent",
        "Arrivals never sent",
        "INVALID",
        "",
        "{value:.0f} requests that were due were never sent, because load.max_in_flight requests were under way: the "
        "engine does not keep up with this RATE, or max_in_flight is too low for it.",
        lambda f: Finding(f.unsent, 0, f.unsent > 0) if f.unsent is not None else None,
    ),
    Rule(
        "began",
        "Anything was sent",
        "COULD_NOT_RUN",
        "",
        "The run ended before anything was sent ({detail}): there is nothing to measure.",
        _began,
    ),
    Rule(
        "run_ended",
        "Run ended as planned",
        "ENDED_EARLY",
        "",
        "The run did not end as planned ({detail}): figures cover what was measured.",
        _ended,
    ),
    Rule(
        "files_missing",
        "Files of the run are there",
        "INCOMPLETE",
        "",
        "{detail} missing or damaged, so not everything is known of this run: neither its figures nor its ending can "
        "be trusted.",
        _files,
    ),
    Rule(
        "end_known",
        "How the run ended is known",
        "INCOMPLETE",
        "",
        "run.json does not tell whether the run came to its end, so nothing shows that these figures are of a whole "
        "run.",
        _end_known,
    ),
    Rule(
        "rows_missing",
        "Requests without a row",
        "INCOMPLETE",
        "",
        "The run counted {detail} than its file holds, so figures are about the rows that are there.",
        _rows,
    ),
    Rule(
        "rows_misfit",
        "Rows are those of this run",
        "INCOMPLETE",
        "",
        "The folder's files do not fit each other: {detail}. Restore them from where the run was made, or run again.",
        lambda f: Finding(None, None, bool(f.misfits), in_a_row(f.misfits, "and")),
    ),
    Rule(
        "still_going",
        "Run is over",
        "INCOMPLETE",
        "",
        "The run is still going: figures cover what was measured until now.",
        lambda f: Finding(None, None, f.going),
    ),
    Rule(
        "window",
        "Measure window known",
        "INCOMPLETE",
        "",
        "The folder does not tell when the run measured, so rates cannot be given.",
        lambda f: Finding(None, None, not f.has_window),
    ),
    Rule(
        "successes",
        "Successful requests",
        "NO_SUCCESS",
        "",
        "No request succeeded in the measure window, so there is nothing to measure: {detail}.",
        _successes,
    ),
    Rule(
        "health_known",
        "Load generator watched",
        "INCOMPLETE",
        "",
        "Nothing was recorded about the load generator itself, so nothing shows that it was not the bottleneck.",
        lambda f: (
            None
            if f.imported
            else Finding(None, None, f.measured_ok > 0 and f.error_bound_ms is None and f.cpu_share is None)
        ),
    ),
    Rule(
        "imported",
        "Measured by tokenswarm",
        "UNCHECKED",
        "",
        "{detail} measured these requests, and records nothing about its own load generator: nothing shows that the "
        "engine, and not that tool, was the limit.",
        lambda f: Finding(None, None, bool(f.imported), f.imported) if f.imported else None,
    ),
    Rule(
        "damaged_lines",
        "Damaged lines left out",
        NOTE,
        "",
        "{value:.0f} lines of the folder's tables were not whole rows and were left out.",
        lambda f: Finding(f.damaged_lines, 0, f.damaged_lines > 0),
    ),
    Rule(
        "cancelled",
        "Cancelled at the end",
        NOTE,
        "share",
        "{value:.1%} of the requests were still under way when the run ended and are in no latency figure, which "
        "flatters the tail: run longer, or allow a longer drain.",
        lambda f: _over(f.cancelled / f.measured_sent, MANY_CANCELLED) if f.measured_sent else None,
    ),
    Rule(
        "endpoint_limits",
        "Refused by the endpoint's rate limit",
        NOTE,
        "share",
        "{value:.1%} of the requests were refused by the endpoint's rate limit ({detail}): what the run met is that "
        "limit, which is not the engine's capacity. Ask for less, or have the limit raised.",
        lambda f: None if f.limited_share is None else Finding(f.limited_share, 0, f.limited_share > 0, f.limits),
    ),
    Rule(
        "limit_reached",
        "Ended by a limit of the run",
        NOTE,
        "",
        "The run ended cleanly because {detail} was reached: figures cover what was measured until then.",
        lambda f: Finding(None, None, bool(f.limit_reached), f.limit_reached),
    ),
    Rule(
        "spent",
        "Cost of the tokens",
        NOTE,
        "USD",
        "All requests of the run, the warm-up's too, cost about ${value:,.4f} at the prices of [endpoint].",
        lambda f: None if f.usd is None else Finding(f.usd, None, True),
    ),
    Rule(
        "in_flight_limit",
        "Requests in flight, at most",
        NOTE,
        "",
        "The guard load.max_in_flight ({limit:.0f}) was reached: it held {detail} back.",
        _guard,
    ),
)


def judge(facts: Facts, recorded: Sequence[Reason] = ()) -> tuple[str, list[Reason], list[Check]]:
    """The verdict on the figures, the reasons for it, and every rule's result.

    The most serious reasons come first; those with verdict NOTE do not change the verdict. `recorded`: reasons that the
    measuring side wrote down; they are kept unless a rule here judges the same thing.
    """
    checks: list[Check] = []
    reasons: list[Reason] = []
    words = {"late_because": late_because(facts), "more_workers": more_workers(facts)}
    for rule in RULES:
        outcome = rule.check(facts)
        if outcome is None:
            continue
        value, limit = outcome.value, outcome.limit
        verdict = outcome.verdict or rule.verdict
        checks.append(Check(rule.name, rule.title, verdict, value, limit, rule.unit, outcome.broken))
        if outcome.broken:
            short = {"short_value": significant(value or 0.0, 2), "short_limit": significant(limit or 0.0, 2)}
            sentence = rule.sentence.format(value=value, limit=limit, detail=outcome.detail, **short, **words)
            reasons.append(Reason(rule.name, verdict, value, limit, rule.unit, sentence))
    known = {rule.name for rule in RULES}
    return *ranked([*reasons, *(reason for reason in recorded if reason.rule not in known)]), checks


def ranked(reasons: Sequence[Reason]) -> tuple[str, list[Reason]]:
    """The verdict that these reasons lead to, and the reasons, most serious first."""
    verdict = decide(facts_of_reasons(reason.verdict for reason in reasons)).outcome.verdict
    return verdict, sorted(reasons, key=lambda reason: _GRAVITY[reason.verdict])


_GRAVITY = {name: place for place, name in enumerate((*BY_NAME, NOTE))}


_BLAMES = (INVALID, INCOMPLETE, OVERLOADED)


def recorded_reasons(run: Run) -> list[Reason]:
    """The reasons against the run in run.json itself, each with a verdict and a sentence."""
    checked, recorded = run.manifest.preflight, run.manifest.validity
    unenforced = (
        []
        if checked is None or checked.enforced is not False
        else [
            Reason(
                "not_enforced",
                "INVALID",
                value=None,
                limit=None,
                unit="",
                sentence=(
                    "The engine took a constraint on its answers and did not enforce it. What it answered to a prompt "
                    f"that asks for something else, by kind of constraint: {checked.enforced_words}"
                ),
            )
        ]
    )
    if recorded is None or recorded.verdict not in _BLAMES:
        return unenforced
    return [
        *unenforced,
        *(
            replace(
                reason,
                verdict=reason.verdict if reason.verdict in _GRAVITY else recorded.verdict,
                sentence=reason.sentence or reason.rule,
            )
            for reason in recorded.reasons
        ),
    ]
