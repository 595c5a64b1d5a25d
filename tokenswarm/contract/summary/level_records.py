"""The figures of each load level of a run with several loads."""

from __future__ import annotations

from msgspec import field

from tokenswarm.contract.summary.cache_records import Cache
from tokenswarm.contract.summary.engine_records import ServerMeans
from tokenswarm.contract.summary.figure import Figure, Number, Record
from tokenswarm.contract.summary.request_records import Cost, Errors, Goodput, Outcomes
from tokenswarm.contract.summary.task_records import TaskFigures
from tokenswarm.contract.summary.time_records import KeepingUp


class LevelFigures(Record):
    """One load level, with the same figures as a run's, of the requests that were sent in it and of what arrived in its
    stretch. Asked for were so many `users`, or a `rate`; in a piece of a ramp from there to `users_end` or `rate_end`.
    `at_s` counts from the start of measuring; `began`: see contract.levels.BEGAN."""

    number: int = 0
    began: str | None = None
    users: Number | None = None
    users_end: Number | None = None
    rate: Number | None = None
    rate_end: Number | None = None
    at_s: Number = 0.0
    seconds: Number = 0.0
    counts: Outcomes = field(default_factory=Outcomes)
    latency: dict[str, dict[str, Figure]] = field(default_factory=dict)
    gaps: dict[str, Figure] = field(default_factory=dict)
    rates: dict[str, Figure] = field(default_factory=dict)
    per_user_tok_s: dict[str, Figure] = field(default_factory=dict)
    goodput: Goodput = field(default_factory=Goodput)
    errors: Errors = field(default_factory=Errors)
    valid_output: Figure = field(default_factory=Figure)
    tasks: TaskFigures | None = None
    cache: Cache = field(default_factory=Cache)
    server: ServerMeans = field(default_factory=ServerMeans)
    cost: Cost | None = None
    keeping_up: KeepingUp = field(default_factory=KeepingUp)

    def percentile(self, latency: str, percentile: str) -> Figure:
        """A percentile (`p95`) of the latency of that key (`ttft_ms`); without a value if it was not measured."""
        return self.latency.get(latency, {}).get(percentile) or Figure()

    @property
    def load(self) -> float | None:
        """The load as one number, in users or requests/s; the midpoint for a piece of a ramp."""
        start, end = (self.users, self.users_end) if self.rate is None else (self.rate, self.rate_end)
        return None if start is None else float(start if end is None else (start + end) / 2)
