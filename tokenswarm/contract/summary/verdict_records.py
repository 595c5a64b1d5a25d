"""Whether the run can be trusted, and the results of its gates."""

from __future__ import annotations

from typing import ClassVar

from msgspec import field

from tokenswarm.base.errors import Exit
from tokenswarm.contract.summary.figure import Figure, Number, Record


class OutcomeRecord(Record):
    """How the run came out, gates included (docs/gates.md): its name, as people read it, the exit code, and why."""

    name: str = "INCOMPLETE"
    headline: str = "INCOMPLETE"
    code: int = int(Exit.INCOMPLETE)
    sentence: str = "The summary does not tell how the run came out."


class Check(Record):
    """What a rule of validity came to."""

    rule: str = ""
    title: str = ""
    verdict: str = ""
    value: Number | None = None
    limit: Number | None = None
    unit: str = ""
    broken: bool = False


class Generator(Record):
    """The load generator's own health inside the window."""

    workers: int | None = None
    cpu_share_max: Figure = field(default_factory=Figure)
    cpu_us_per_token: Figure = field(default_factory=Figure)
    timing_error_bound_ms: Figure = field(default_factory=Figure)
    loop_lag_max_ms: Figure = field(default_factory=Figure)
    read_lag_p99_max_ms: Figure = field(default_factory=Figure)
    lateness_p99_ms: Figure = field(default_factory=Figure)
    rss_max_mb: Figure = field(default_factory=Figure)
    in_flight_max: Figure = field(default_factory=Figure)
    checks: list[Check] = field(default_factory=list)


class Certification(Record):
    """Whether "percentile <= limit" is certified at 99%: of `requests` measured so many were `over` the limit, and they
    count for so many independent ones (`n_eff`)."""

    certified: bool = False
    requests: int = 0
    over: int = 0
    n_eff: Number = 0


class SloGate(Record):
    """An objective and whether it was met, missed or is undetermined. `user_class`: where it is of one class alone;
    `level`: the number of the load level that it is about, where the run had several.

    `certain`: whether the whole 95% interval lies on one side of the limit, or the objective is certified. `margin`:
    the distance to the limit as a share of it, positive on the good side. What is no objective has neither `op` nor
    `limit`.
    """

    may_be_left_out: ClassVar[frozenset[str]] = frozenset({"user_class", "level", "certification"})

    key: str = ""
    title: str = ""
    op: str | None = None
    limit: Number | None = None
    unit: str = ""
    state: str = "undetermined"
    certain: bool = False
    margin: Number | None = None
    figure: Figure = field(default_factory=Figure)
    user_class: str | None = None
    level: int | None = None
    certification: Certification | None = None
    """For an objective on a percentile."""


class Gate(Record):
    """A gate of the baseline or of drift: met, missed or undetermined, and a sentence."""

    key: str = ""
    title: str = ""
    state: str = "undetermined"
    sentence: str = ""


class Baseline(Record):
    """Regressions against an earlier run. `notes`: in what the two are not alike."""

    run_id: str = ""
    tolerance: Number = 0
    notes: list[str] = field(default_factory=list)
    gates: list[Gate] = field(default_factory=list)
