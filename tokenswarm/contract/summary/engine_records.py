"""The engine's own latencies, next to the client's for the same events."""

from __future__ import annotations

from msgspec import field

from tokenswarm.contract.summary.figure import Figure, Number, Record


class Spread(Record):
    """A latency in ms: three percentiles and the mean."""

    p50: Figure = field(default_factory=Figure)
    p95: Figure = field(default_factory=Figure)
    p99: Figure = field(default_factory=Figure)
    mean: Figure = field(default_factory=Figure)

    def parts(self) -> dict[str, Figure]:
        """The figures by name, mean first."""
        return {"mean": self.mean, "p50": self.p50, "p95": self.p95, "p99": self.p99}


class ServerFigures(Spread):
    """One of the engine's own latencies; `client`: the same events as the client timed them, where it can."""

    client: Spread | None = None


class ServerTtft(ServerFigures):
    """The engine's own TTFT between two moments in unix seconds."""

    start_unix_s: Number | None = None
    end_unix_s: Number | None = None


class GpuEnergy(Record):
    """One GPU of the engine in the measured phase. `by`: counter | power (integrated); `why`: why nothing is known."""

    source: str = ""
    by: str = ""
    joules: Number | None = None
    mean_w: Number | None = None
    why: str = ""


class Energy(Record):
    """Joules of the engine's GPUs in the measured phase, over what they gave; without values where `why` says so."""

    joules: Figure = field(default_factory=Figure)
    per_output_token: Figure = field(default_factory=Figure)
    per_request: Figure = field(default_factory=Figure)
    why: str = ""
    gpus: list[GpuEnergy] = field(default_factory=list)


class Speculation(Record):
    """Speculative decoding in the measure window. `source`: counters | gauges (means of what the engine said lately).

    `length`: tokens of a step. `rate`: share of the drafted tokens that was accepted. `by_position`: share of the
    drafts whose first, second, ... token was. `notes`: what acceptance does not mean here.
    """

    source: str = ""
    drafts: Number | None = None
    length: Figure = field(default_factory=Figure)
    rate: Figure = field(default_factory=Figure)
    by_position: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class ServerMeans(Record):
    """Mean TTFT as the engine measured it, beside the client's mean over the same window."""

    server_ttft_mean_ms: Figure = field(default_factory=Figure)
    client_ttft_mean_ms: Figure = field(default_factory=Figure)
