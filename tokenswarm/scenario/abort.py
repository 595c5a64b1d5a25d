"""Rules that end a long run early: too many errors, no engine, or a nearly full disk.

A soak run must survive a restart of the engine. So requests that could not reach the engine are not counted in the
error rate; a separate rule limits how long the engine may be unreachable. Pure: no clock, no disk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from tokenswarm.base.errors import Exit
from tokenswarm.base.numbers import LARGEST
from tokenswarm.contract.manifest import EndedEarlyRecord
from tokenswarm.contract.tables import AWAY_KINDS
from tokenswarm.scenario.values import PositiveSeconds

_SAMPLES = 120
"""Number of samples kept for a window of any length."""
_MB = 1e6

_Share = Annotated[float, Field(strict=True, ge=0, le=1)]


class AbortSettings(BaseModel):
    """The table [abort] of a scenario."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    error_rate: _Share = Field(
        default=0.5,
        description="share of failed requests above which the run ends; 1 = never. Counts only requests that the "
        "engine answered or let time out, not those that could not reach it",
    )
    window_s: PositiveSeconds = Field(default=60.0, description="time window over which that share is computed")
    min_requests: Annotated[int, Field(strict=True, ge=1)] = Field(
        default=20, description="minimum number of requests in the window to end a run"
    )
    silence_s: PositiveSeconds = Field(
        default=300.0, description="the engine counts as gone if nothing succeeded for this long while requests failed"
    )
    disk_free_mb: Annotated[float, Field(strict=True, ge=0, le=LARGEST, allow_inf_nan=False)] = Field(
        default=500.0, description="free space (in MB) on the results folder's disk below which the run ends ..."
    )
    disk_free_share: _Share = Field(default=0.02, description="... or this share of the disk, if that is less")


@dataclass(frozen=True, slots=True)
class EndedRequests:
    """Requests that have ended so far, in all phases. `away`: failures to reach the engine. `at`: seconds on a
    monotonic clock."""

    at: float
    ok: int
    failed: int
    away: int

    @classmethod
    def of(cls, at: float, counts: Mapping[str, int], kinds: Mapping[str, int]) -> EndedRequests:
        """From counts by outcome and by kind of failure."""
        return cls(at, counts.get("ok", 0), counts.get("failed", 0), sum(kinds.get(kind, 0) for kind in AWAY_KINDS))


@dataclass(frozen=True, slots=True)
class Abort:
    """An early end of a run: the rule, its exit code, and a sentence that says what happened."""

    rule: str
    code: Exit
    sentence: str

    def record(self) -> EndedEarlyRecord:
        """As run.json holds it."""
        return EndedEarlyRecord(self.rule, int(self.code), self.sentence)


class AbortRules:
    """Receives the state of the run about once a second and decides whether to end it."""

    def __init__(self, settings: AbortSettings) -> None:
        self._settings = settings
        self._window: deque[EndedRequests] = deque()
        self._last_success: EndedRequests | None = None

    def look(self, now: EndedRequests) -> Abort | None:
        """The rules on requests; None while the run may go on."""
        return self._errors(now) or self._silence(now)

    def _errors(self, now: EndedRequests) -> Abort | None:
        settings, window = self._settings, self._window
        if not window or now.at - window[-1].at >= settings.window_s / _SAMPLES:
            window.append(now)
        while len(window) > 1 and window[1].at <= now.at - settings.window_s:
            window.popleft()
        then = window[0]
        if now.at - then.at < settings.window_s:
            return None
        failed = (now.failed - now.away) - (then.failed - then.away)
        ended = now.ok - then.ok + failed
        if ended < settings.min_requests or failed <= settings.error_rate * ended:
            return None
        return Abort(
            "error_rate",
            Exit.TOO_MANY_ERRORS,
            f"{failed:,} of {ended:,} requests failed within {settings.window_s:g} s "
            f"({failed / ended:.0%}; abort.error_rate is {settings.error_rate:.0%})",
        )

    def _silence(self, now: EndedRequests) -> Abort | None:
        last, limit_s = self._last_success, self._settings.silence_s
        if last is None or now.ok > last.ok:
            self._last_success = now
            return None
        failed = now.failed - last.failed
        if not failed or now.at - last.at < limit_s:
            return None
        return Abort(
            "engine_gone",
            Exit.ENGINE_GONE,
            f"no request succeeded for {limit_s:g} s (abort.silence_s) while {failed:,} failed: the engine is gone",
        )

    def look_at_disk(self, free_bytes: float, total_bytes: float) -> Abort | None:
        """Apply the rule on free space of the disk that holds the results."""
        least = min(self._settings.disk_free_mb * _MB, self._settings.disk_free_share * total_bytes)
        if free_bytes >= least:
            return None
        return Abort(
            "disk_full",
            Exit.DISK_NEARLY_FULL,
            f"the disk of the results has {free_bytes / _MB:,.0f} MB left (abort.disk_free_mb and "
            f"abort.disk_free_share ask for {least / _MB:,.0f} MB)",
        )
