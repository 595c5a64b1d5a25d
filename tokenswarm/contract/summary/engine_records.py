"""The engine's own latencies, beside the client's of the same events."""

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
        """Its figures by name, the mean first."""
        return {"mean": self.mean, "p50": self.p50, "p95": self.p95, "p99": self.p99}


class ServerFigures(Spread):
    """One of the engine's own latencies; `client`: the same events as the client timed them, where it can."""

    client: Spread | None = None


class ServerTtft(ServerFigures):
    """The engine's own TTFT between two moments in unix seconds."""

    start_unix_s: Number | None = None
    end_unix_s: Number | None = None


class ServerMeans(Record):
    """Mean TTFT as the engine measured it, beside the client's mean over the same window."""

    server_ttft_mean_ms: Figure = field(default_factory=Figure)
    client_ttft_mean_ms: Figure = field(default_factory=Figure)
