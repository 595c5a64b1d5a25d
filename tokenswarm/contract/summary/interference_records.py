"""How requests of some user classes affect the latencies of others."""

from __future__ import annotations

from msgspec import field

from tokenswarm.contract.summary.figure import Figure, Record


class Stretch(Record):
    """The bystanders' requests of one stretch: how many succeeded and failed, and percentiles of a latency (`p95`)."""

    ok: int = 0
    failed: int = 0
    percentiles: dict[str, Figure] = field(default_factory=dict)


class Disturbed(Record):
    """A latency of the bystanders before, during and after a disturbance, in ms; by percentile, how many times that of
    before it is during and after."""

    title: str = ""
    before: Stretch = field(default_factory=Stretch)
    during: Stretch = field(default_factory=Stretch)
    after: Stretch = field(default_factory=Stretch)
    rise: dict[str, Figure] = field(default_factory=dict)
    rise_after: dict[str, Figure] = field(default_factory=dict)

    def figures(self) -> list[Figure]:
        """All figures of the record."""
        tables = (self.before.percentiles, self.during.percentiles, self.after.percentiles, self.rise, self.rise_after)
        return [figure for table in tables for figure in table.values()]


class Interference(Record):
    """Bystanders and disturbers by user class, and the bystanders' latencies by key (`ttft_ms`, `icl_max_ms`).

    `length_ms`: how long a disturbance is taken to last, the 90th percentile of the disturbers' TTFT. `share_of_time`:
    of the measure window. `why`: why nothing is known of the latencies.
    """

    bystanders: list[str] = field(default_factory=list)
    disturbers: list[str] = field(default_factory=list)
    disturbances: int = 0
    length_ms: Figure = field(default_factory=Figure)
    share_of_time: Figure = field(default_factory=Figure)
    latencies: dict[str, Disturbed] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)
    why: str | None = None
