"""The run over time: its stationary part, drift and engine outages."""

from __future__ import annotations

from msgspec import field

from tokenswarm.contract.summary.figure import Figure, Number, Record


class DriftStep(Record):
    """A sudden change of a series; `at_s` counts from the start of measuring."""

    at_s: Number = 0
    before: Number = 0
    after: Number = 0


class DriftSeries(Record):
    """How a series went over the run: steady, drifting, stepped or too short. `per_hour_share`: of its level.
    `seconds`: how long it was watched."""

    title: str = ""
    unit: str = ""
    state: str = ""
    level: Number | None = None
    per_hour: Number | None = None
    per_hour_ci95: list[Number] | None = None
    per_hour_share: Number | None = None
    step: DriftStep | None = None
    seconds: Number | None = None


class SteadyPart(Record):
    """Whether the measured phase was `stationary`; or where a transient ended (`cut`: `from_s` after its beginning); or
    that there is `no stationary part`, that it was `too short` to tell, or that `the load changed`. `because` of these
    series. `latency`: the figures from there on. `reach`: what a run of so few requests cannot show."""

    state: str = ""
    from_s: Number | None = None
    because: list[str] = field(default_factory=list)
    sentence: str | None = None
    latency: dict[str, dict[str, Figure]] = field(default_factory=dict)
    reach: str | None = None


class LittlesLaw(Record):
    """Whether a closed loop's requests `in_flight` are those that its answers account for (`by_answers`: rate x time in
    system). `lost_s`: what is missing, of each request."""

    holds: bool = True
    in_flight: Number | None = None
    by_answers: Number | None = None
    lost_s: Number | None = None
    sentence: str | None = None


class KeepingUp(Record):
    """Whether the engine was `overloaded` by an open loop (None: not known, or no open loop): requests/s offered and
    completed, by how many those in the system grew each second, and TTFT by how many ms. `littles_law`: of a closed
    loop."""

    overloaded: bool | None = None
    offered_s: Number | None = None
    completed_s: Number | None = None
    in_flight_a_s: Number | None = None
    ttft_ms_a_s: Number | None = None
    sentence: str | None = None
    littles_law: LittlesLaw | None = None


class OutagePeriod(Record):
    """A stretch in which the engine was away; `at_s` counts from the start of measuring."""

    start_unix_s: Number = 0
    at_s: Number = 0
    seconds: Number = 0
    recovered: bool = False
    failed: int = 0
    kinds: dict[str, int] = field(default_factory=dict)


class Outages(Record):
    """The outages of the measure phase; `periods` (`list` in JSON): the longest."""

    count: int = 0
    longest: Figure = field(default_factory=Figure)
    total: Figure = field(default_factory=Figure)
    failed: int = 0
    periods: list[OutagePeriod] = field(name="list", default_factory=list)
