"""[load] of a scenario: how much load is sent, and for how long."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from tokenswarm.scenario.arrival_times import AFTER_LAST_S, checked, mean_rate, read_times
from tokenswarm.scenario.arrivals import ARRIVALS, NO_LAWS, TIMES, try_out
from tokenswarm.scenario.values import Count, Positive, PositiveSeconds, Seconds, Section, in_seconds

# Shorter proves nothing of a server, however alike its first answers are.
_WARMUP_LEAST_S = 5.0


class Load(Section):
    """How much is asked. With `rate` the loop is open (requests are sent on schedule), without it closed (users)."""

    users: Count = Field(default=16, description="concurrent users (closed loop)")
    spawn_rate: Positive = Field(default=8.0, description="users started per second")
    users_end: Count | None = Field(default=None, description="users ramp from `users` to this over the measured phase")
    users_steps: tuple[Count, ...] | None = Field(
        default=None, description="users in steps of equal length that fill the measured phase: [8, 16, 32]"
    )
    rate: Positive | None = Field(default=None, description="requests per second (open loop); unset = closed loop")
    rate_end: Positive | None = Field(
        default=None, description="the rate ramps from `rate` to this over the measured phase (open loop)"
    )
    rate_steps: tuple[Positive, ...] | None = Field(
        default=None, description="rates in steps of equal length that fill the measured phase (open loop): [2, 4, 8]"
    )
    arrivals: Annotated[str, Field(strict=True)] = Field(
        default="poisson",
        description="law of the open loop's arrivals: poisson, constant, gamma, a Python file with your own law, "
        "times, or recorded (set by a replay: the trace's own times)",
    )
    arrival_times: tuple[Annotated[float, Field(strict=True)], ...] | None = Field(
        default=None, description='with arrivals = "times": when requests are due, seconds into the measured phase'
    )
    arrival_times_file: str | None = Field(default=None, description="the same from a text file, one time per line")
    arrival_times_sha256: str | None = Field(
        default=None, description="digest of that file, filled in by a run: each machine must have the same file"
    )
    burstiness_cv: Annotated[float, Field(strict=True, gt=0, le=20)] = Field(
        default=1.0, description="coefficient of variation of gamma arrivals: 1 = Poisson, above 1 = bursts"
    )
    max_in_flight: Count = Field(default=512, description="maximum number of requests in flight (open loop)")
    max_requests: Count | None = Field(
        default=None,
        description="end the run cleanly once this many requests were sent, warm-up and retries "
        "included, over all workers",
    )
    max_usd: Positive | None = Field(
        default=None, description="end the run before its tokens cost more than this (USD), at the prices of [endpoint]"
    )
    duration_s: PositiveSeconds = Field(default=30.0, description="length of the measured phase, after the warm-up")
    warmup_s: Seconds | None = Field(
        default=None,
        description="unmeasured load before the measured phase; unset = until the load is steady, 0 = none",
    )
    warmup_max_s: Seconds = Field(
        default=60.0, description="longest warm-up if it lasts until the load is steady (`warmup_s` is unset)"
    )
    answer_s: PositiveSeconds | None = Field(
        default=None,
        description="about how long an answer takes: a closed loop uses it to plan when a session begins, and so "
        "which documents and system prompts it gets; unset = as in the warm-up",
    )
    reset_cache: bool = Field(
        default=True,
        strict=True,
        description="empty the engine's prefix cache before the warm-up, if the engine allows it",
    )
    drain_s: Seconds = Field(
        default=30.0, description="time for unfinished requests to finish after the measured phase"
    )
    rotate_s: PositiveSeconds = Field(
        default=3600.0,
        description="the tables of a longer run continue in a new file after this time (docs/results.md)",
    )

    @model_validator(mode="before")
    @classmethod
    def _first_step(cls, data: object) -> object:
        """Steps say all: the level before them (in the warm-up) is the first one's."""
        if not isinstance(data, dict):
            return data
        for level, steps in (("rate", data.get("rate_steps")), ("users", data.get("users_steps"))):
            if isinstance(steps, (list, tuple)):
                if not steps:
                    raise ValueError(f"{level}_steps should hold at least one number")
                data = {**data, level: steps[0]}
        return data

    @model_validator(mode="before")
    @classmethod
    def _from_times(cls, data: object) -> object:
        """A list of times says how long the measured phase is, and at which rate the warm-up should go."""
        if not isinstance(data, dict) or data.get("arrivals") != TIMES:
            return data
        if data.get("rate") is not None and data.get("duration_s") is not None:
            return data  # as in run.json: the file need not be there
        times = data.get("arrival_times")
        if times is None and isinstance(data.get("arrival_times_file"), str):
            times = read_times(data["arrival_times_file"])
        if not isinstance(times, (list, tuple)) or any(type(time_s) not in (int, float) for time_s in times):
            return data  # refused below
        times = checked(times)
        duration_s = in_seconds(data.get("duration_s"))
        if duration_s is None:
            duration_s = times[-1] + AFTER_LAST_S
        if type(duration_s) not in (int, float):
            return data
        rate = data.get("rate")
        return {**data, "duration_s": duration_s, "rate": mean_rate(times, duration_s) if rate is None else rate}

    @field_validator("arrivals")
    @classmethod
    def _known_law(cls, arrivals: str) -> str:
        if arrivals not in NO_LAWS:
            ARRIVALS.get(arrivals, NO_LAWS)
        return arrivals

    @model_validator(mode="after")
    def _law_gives_gaps(self) -> Load:
        if self.arrivals not in NO_LAWS:
            try:
                try_out(ARRIVALS.get(self.arrivals, NO_LAWS), self.burstiness_cv)
            except ValueError as error:
                raise ValueError(f"the law of arrivals {self.arrivals} {error}") from None
        return self

    @model_validator(mode="after")
    def _times_are_given(self) -> Load:
        sources = [name for name in ("arrival_times", "arrival_times_file") if getattr(self, name) is not None]
        if self.arrivals != TIMES and sources:
            raise ValueError(f'{sources[0]} needs arrivals = "times"')
        if self.arrivals == TIMES and len(sources) != 1:
            raise ValueError('arrivals = "times" needs one of arrival_times and arrival_times_file')
        if self.arrivals == TIMES and (self.rate_end is not None or self.rate_steps):
            raise ValueError('rate_end and rate_steps go with a law of arrivals, not with arrivals = "times"')
        if self.arrival_times is not None:
            checked(self.arrival_times)
        return self

    def times(self) -> tuple[float, ...]:
        """The list of times, in order. Raises ValueError if there is none, or its file cannot be read, is no such list,
        or is not the one that the run was planned with."""
        if self.arrival_times is not None:
            return self.arrival_times
        if self.arrival_times_file is None:
            raise ValueError('arrivals = "times" needs one of arrival_times and arrival_times_file')
        return read_times(self.arrival_times_file, self.arrival_times_sha256)

    @model_validator(mode="after")
    def _one_shape(self) -> Load:
        if self.rate_end is not None and (self.rate is None or self.rate_steps):
            raise ValueError("rate_end needs rate, and goes with no rate_steps")
        if self.users_end is not None and self.users_steps:
            raise ValueError("users_end goes with no users_steps")
        if self.rate is not None and (self.users_end is not None or self.users_steps):
            raise ValueError("users_end and users_steps shape a closed loop, but rate makes the loop open")
        return self

    @property
    def warmup_least_s(self) -> float:
        """The shortest warm-up."""
        return min(_WARMUP_LEAST_S, self.warmup_max_s) if self.warmup_s is None else self.warmup_s

    @property
    def warmup_most_s(self) -> float:
        """The longest warm-up, once all users are there."""
        return self.warmup_max_s if self.warmup_s is None else self.warmup_s

    @property
    def shaped(self) -> bool:
        """Whether the number of users changes during the measured phase."""
        return self.users_end is not None or bool(self.users_steps)

    @property
    def most_users(self) -> int:
        """The largest number of concurrent users planned for a closed loop."""
        return max(self.users, self.users_end or 0, *(self.users_steps or ()))

    def users_at(self, elapsed: float) -> int:
        """Target number of users `elapsed` seconds after the start of the measured phase (below 0: warm-up)."""
        share = min(max(elapsed / self.duration_s, 0.0), 1.0)
        if self.users_steps:
            return self.users_steps[min(int(share * len(self.users_steps)), len(self.users_steps) - 1)]
        return self.users if self.users_end is None else round(self.users + (self.users_end - self.users) * share)
