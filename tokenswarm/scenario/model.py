"""A scenario: what is asked, how much, how long, and what is good enough. One TOML file each, in scenarios/.

`load_scenario` reads, overrides and validates; a `Scenario` is immutable plain data after that.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from tokenswarm.base.config_text import explain, parse_duration, parse_set, unknown, with_overrides
from tokenswarm.base.data_files import LOCUSTFILES_DIR, SCENARIOS_DIR
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.lookup import ENGINES, LOCUSTFILES, PACKAGE, SCENARIOS, shown
from tokenswarm.contract.objectives import parse_slo_key, slo_latencies, slo_rates
from tokenswarm.contract.tables import ERROR_KINDS
from tokenswarm.scenario.abort import AbortSettings
from tokenswarm.scenario.distribution import Distribution
from tokenswarm.scenario.engine_settings import EngineSettings
from tokenswarm.scenario.workload_settings import BatchSettings, ChatSettings, RagSettings, ReasoningSettings

__all__ = ["LOCUSTFILES_DIR", "SCENARIOS_DIR", "Scenario", "load_scenario", "parse_set", "scenario_names"]

# Engines whose own tables are accepted even where no description file is installed beside the package.
_KNOWN_ENGINES = frozenset({"vllm", "sglang"})

# Shorter proves nothing of a server, however alike its first answers are.
_WARMUP_LEAST_S = 5.0
# The client writes these itself; a scenario that overrode them would change what is measured.
_RESERVED_BODY_KEYS = frozenset({"model", "messages", "stream", "stream_options", "max_tokens", "temperature"})


def _seconds(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else value


def _seconds_of_distribution(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: item if key == "kind" else _seconds(item) for key, item in value.items()}
    return _seconds(value)


_Strict = Field(strict=True)
_Count = Annotated[int, Field(strict=True, ge=1)]
_Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
_Seconds = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False), BeforeValidator(_seconds)]
_PositiveSeconds = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False), BeforeValidator(_seconds)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Load(_Section):
    """How much is asked. With `rate` the loop is open (requests are sent on schedule), without it closed (users)."""

    users: _Count = Field(default=16, description="concurrent users (closed loop)")
    spawn_rate: _Positive = Field(default=8.0, description="users started per second")
    users_end: _Count | None = Field(default=None, description="users go from `users` to this over the measured phase")
    users_steps: tuple[_Count, ...] | None = Field(
        default=None, description="users in steps of equal length that fill the measured phase: [8, 16, 32]"
    )
    rate: _Positive | None = Field(default=None, description="requests per second (open loop); unset = closed loop")
    rate_end: _Positive | None = Field(
        default=None, description="the rate goes from `rate` to this over the measured phase (open loop)"
    )
    rate_steps: tuple[_Positive, ...] | None = Field(
        default=None, description="rates in steps of equal length that fill the measured phase (open loop): [2, 4, 8]"
    )
    arrivals: Literal["poisson", "constant", "gamma"] = Field(
        default="poisson", description="law of the open loop's arrivals"
    )
    burstiness_cv: Annotated[float, Field(strict=True, gt=0, le=20)] = Field(
        default=1.0, description="coefficient of variation of gamma arrivals: 1 = Poisson, above 1 = bursts"
    )
    max_in_flight: _Count = Field(default=512, description="most requests in flight at once (open loop)")
    duration_s: _PositiveSeconds = Field(default=30.0, description="length of the measured phase, after the warm-up")
    warmup_s: _Seconds | None = Field(
        default=None, description="unmeasured load before it, on other prompts; unset = until TTFT is steady, 0 = none"
    )
    warmup_max_s: _Seconds = Field(
        default=60.0, description="longest warm-up where it goes on until TTFT is steady (`warmup_s` is unset)"
    )
    reset_cache: bool = Field(
        default=True, strict=True, description="empty the engine's prefix cache before the warm-up, where it can be"
    )
    drain_s: _Seconds = Field(default=30.0, description="time that unfinished requests have after it")
    rotate_s: _PositiveSeconds = Field(
        default=3600.0, description="the tables of a longer run go on in a new file after so long (docs/results.md)"
    )

    @model_validator(mode="before")
    @classmethod
    def _first_step(cls, data: Any) -> Any:
        """Steps say all: the level before them (in the warm-up) is the first one's."""
        if not isinstance(data, dict):
            return data
        for level, steps in (("rate", data.get("rate_steps")), ("users", data.get("users_steps"))):
            if isinstance(steps, (list, tuple)):
                if not steps:
                    raise ValueError(f"{level}_steps should hold at least one number")
                data = {**data, level: steps[0]}
        return data

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
        """Whether the number of users changes over the measured phase."""
        return self.users_end is not None or bool(self.users_steps)

    def users_at(self, elapsed: float) -> int:
        """Users wanted `elapsed` seconds after the measured phase began (below 0: warm-up)."""
        share = min(max(elapsed / self.duration_s, 0.0), 1.0)
        if self.users_steps:
            return self.users_steps[min(int(share * len(self.users_steps)), len(self.users_steps) - 1)]
        return self.users if self.users_end is None else round(self.users + (self.users_end - self.users) * share)


class UserBehaviour(_Section):
    """What a user does between two requests."""

    think_time_s: Annotated[Distribution, BeforeValidator(_seconds_of_distribution)] = Field(
        default=Distribution(kind="constant", value=0.0),
        description="pause between an answer and the user's next request (closed loop)",
    )


class Output(_Section):
    """What is asked of the engine in each request's body."""

    max_tokens: _Count = Field(default=128, description="longest answer, tokens")
    temperature: Annotated[float, Field(strict=True, ge=0, le=2)] = Field(default=0.0, description="sampling")
    stream: bool = Field(default=True, strict=True, description="stream the answer token by token")
    ignore_eos: bool = Field(
        default=False, strict=True, description="go on to max_tokens whatever the model says (equal lengths)"
    )
    extra: dict[str, Any] = Field(default_factory=dict, description="further keys of the request body")

    @field_validator("extra")
    @classmethod
    def _not_reserved(cls, extra: dict[str, Any]) -> dict[str, Any]:
        for key in _RESERVED_BODY_KEYS & extra.keys():
            raise ValueError(f"may not hold '{key}', which tokenswarm sets itself")
        return {key: value for key, value in extra.items() if value is not None}


class Timeouts(_Section):
    """When a request counts as failed."""

    connect_s: _PositiveSeconds = Field(default=5.0, description="longest wait for a connection")
    first_token_s: _PositiveSeconds = Field(default=60.0, description="longest wait for the first token")
    gap_s: _PositiveSeconds = Field(default=30.0, description="longest silence between two tokens")
    total_s: _PositiveSeconds = Field(default=300.0, description="longest request as a whole")


class Retry(_Section):
    """What a user does after a failed request. Each try is a request of its own, with a row of its own."""

    attempts: _Count = Field(default=1, description="most tries for one prompt; 1 = no retry")
    errors: tuple[str, ...] = Field(
        default=("rate_limited", "overloaded"), description="kinds of failure (docs/results.md) that are tried again"
    )
    pause_s: _Seconds = Field(default=1.0, description="pause before a try; a Retry-After from the server goes first")
    max_pause_s: _Seconds = Field(default=30.0, description="longest pause, whatever the server asks for")

    @field_validator("errors")
    @classmethod
    def _known(cls, errors: tuple[str, ...]) -> tuple[str, ...]:
        for kind in errors:
            if kind not in ERROR_KINDS:
                raise ValueError(unknown("kind of failure", kind, list(ERROR_KINDS)))
        return errors

    def pause_before(self, tries: int, error: str | None, retry_after_s: float | None) -> float | None:
        """Seconds to wait before the next try, or None if there is none after `tries` tries and this failure."""
        if tries >= self.attempts or error not in self.errors:
            return None
        return min(self.pause_s if retry_after_s is None else max(retry_after_s, 0.0), self.max_pause_s)


class Prompts(_Section):
    """What makes prompts repeatable, and what keeps a run from hitting the cache of the run before."""

    seed: Annotated[int, Field(strict=True, ge=0)] = Field(default=1, description="same seed, same prompts")
    salt: str = Field(
        default="run", description='stands before every shared part: "run" = new for each run, "" = none, or any text'
    )
    chars_per_token: Annotated[float, Field(strict=True, ge=0.5, le=20)] = Field(
        default=4.0, description="characters taken for one token where a length is given in tokens (English: 4)"
    )


class Scenario(_Section):
    """One workload with its load, limits and engine settings. See docs/scenarios.md for every key."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)] = Field(
        description="short name, used in the run's folder name"
    )
    title: str = Field(default="", description="one line for people")
    description: str = Field(default="", description="what the workload stands for")
    locustfile: Annotated[str, Field(min_length=1)] = Field(description="who asks: a file in locustfiles/, or a path")
    workload: Literal["rag", "chat", "batch", "reasoning"] = Field(description="kind of prompts; names the table below")
    load: Load = Field(default=Load(), description="how much is asked")
    user: UserBehaviour = Field(default=UserBehaviour(), description="what a user does between requests")
    output: Output = Field(default=Output(), description="what is asked of the engine")
    timeouts: Timeouts = Field(default=Timeouts(), description="when a request counts as failed")
    retry: Retry = Field(default=Retry(), description="what a user does after a failed request")
    abort: AbortSettings = Field(default=AbortSettings(), description="when a soak is ended before its time")
    slo: dict[str, float | dict[str, float]] = Field(
        default_factory=dict, description="what is good enough: gates, and tables with those of one user class")
    prompts: Prompts = Field(default=Prompts(), description="seed and salt")
    rag: RagSettings | None = Field(default=None, description="settings of workload rag")
    chat: ChatSettings | None = Field(default=None, description="settings of workload chat")
    batch: BatchSettings | None = Field(default=None, description="settings of workload batch")
    reasoning: ReasoningSettings | None = Field(default=None, description="settings of workload reasoning")
    engine: EngineSettings = Field(default=EngineSettings(), description="tuned engine settings, canonical names")

    @model_validator(mode="before")
    @classmethod
    def _workload_table(cls, data: Any) -> Any:
        """Only the workload's own table may be there; it is made (all defaults) where it is left out."""
        if not isinstance(data, dict) or data.get("workload") not in ("rag", "chat", "batch", "reasoning"):
            return data
        for other in {"rag", "chat", "batch", "reasoning"} - {data["workload"]}:
            if data.get(other) is not None:
                raise ValueError(
                    f"[{other}] is a table of workload '{other}', but this scenario's workload is '{data['workload']}'"
                )
        own = data.get(data["workload"])
        return {**data, data["workload"]: {} if own is None else own}

    @field_validator("slo", mode="before")
    @classmethod
    def _slo(cls, slo: Any) -> Any:
        if not isinstance(slo, dict):
            return slo
        return {key: _slo_of_class(key, value) if isinstance(value, dict) else _slo_value(key, value)
                for key, value in slo.items() if value is not None}

    @property
    def open_loop(self) -> bool:
        """True if requests are sent on schedule (`load.rate` is set)."""
        return self.load.rate is not None

    @property
    def locustfile_path(self) -> Path:
        """Absolute path of the locustfile."""
        return LOCUSTFILES_DIR / self.locustfile

    def values(self) -> dict[str, Any]:
        """The whole effective scenario as plain nested dicts, for run.json. `from_values` is its inverse."""
        dumped = self.model_dump(mode="json")
        return {key: value for key, value in dumped.items() if value is not None}

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Scenario:
        """A scenario from what `values()` gave. Raises UserError (USAGE)."""
        return _validated(dict(values), "scenario values", ())


def _slo_of_class(name: str, table: dict[str, Any]) -> dict[str, float]:
    """The gates of one Locust user class: [slo.RagReader]."""
    if not name.isidentifier():
        raise ValueError(f"[slo.{name}] should be named after a Locust user class, such as [slo.RagReader]")
    return {key: _slo_value(key, value) for key, value in table.items() if value is not None}


def _slo_value(key: str, value: Any) -> float:
    parsed = parse_slo_key(key)
    if parsed is None:
        examples = [*(rate.slo_key for rate in slo_rates()),
                    *(latency.percentile_key(q) for latency in slo_latencies() for q in latency.percentiles)]
        raise ValueError(f"{unknown('key', key, examples).split(' (known')[0]} (known: {_slo_allowed()})")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise ValueError(f"{key} is {value!r}, but should be a number of at least 0")
    if parsed.unit == "share" and value > 1:
        raise ValueError(f"{key} is {value!r}, but is a share and should be at most 1")
    return float(value)


def _slo_allowed() -> str:
    latencies = "|".join(latency.name for latency in slo_latencies())
    return f"{', '.join(rate.slo_key for rate in slo_rates())} or <{latencies}>_p<1..99, or 999 for 99.9>_ms"


def _validated(data: dict[str, Any], source: str, overrides: tuple[str, ...]) -> Scenario:
    try:
        return Scenario.model_validate(data)
    except ValidationError as error:
        raise UserError(Exit.USAGE, explain(error, Scenario, source, overrides)) from None


def scenario_names() -> list[str]:
    """Names of all scenarios: in the working folder, the user's configuration folder, and with tokenswarm; sorted."""
    return list(SCENARIOS.files())


def load_scenario(name_or_path: str, overrides: Mapping[str, str] | None = None) -> Scenario:
    """The scenario of that name (see `base.lookup`), or of that .toml file, with `overrides` (see `parse_set`) put in.

    Raises UserError (USAGE) that names the file, the key, what it got and what is allowed.
    """
    path = scenario_file(name_or_path)
    where = shown(path)
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(Exit.USAGE, f"{where}: cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(Exit.USAGE, f"{where}: is not valid TOML: {error}") from None
    overrides = overrides or {}
    scenario = _validated(with_overrides({"name": path.stem, **data}, overrides), where, tuple(overrides))
    _check_engine_tables(scenario, where)
    return scenario.model_copy(update={"locustfile": _locustfile(scenario.locustfile, path, where)})


def scenario_file(name_or_path: str) -> Path:
    """The file of a scenario. Raises UserError (USAGE) if there is none."""
    path = SCENARIOS.find(name_or_path)
    if path is not None:
        return path
    if SCENARIOS.is_path(name_or_path):
        raise UserError(Exit.USAGE, f"there is no scenario file {name_or_path}")
    raise UserError(Exit.USAGE, f"{unknown('scenario', name_or_path, scenario_names())}; a path to a .toml works too")


def _locustfile(name_or_path: str, scenario_file: Path, where: str) -> str:
    """The name of one that comes with tokenswarm; of any other (beside the scenario, ...) the absolute path."""
    path = LOCUSTFILES.find(name_or_path, beside=[scenario_file.parent])
    if path is not None:
        return path.name if LOCUSTFILES.place_of(path) == PACKAGE else str(path)
    names = ", ".join(path.name for path in LOCUSTFILES.files().values())
    raise UserError(
        Exit.USAGE,
        f"{where}: locustfile is '{name_or_path}', but that is neither beside it nor in locustfiles/ ({names})"
    )


def _check_engine_tables(scenario: Scenario, where: str) -> None:
    """A mistyped [engine.vlm] would be ignored by every engine, so it is refused."""
    known = _KNOWN_ENGINES | ENGINES.files().keys()
    for name in scenario.engine.engine_specific_settings():
        if name not in known:
            raise UserError(Exit.USAGE, f"{where}: [engine.{name}]: {unknown('engine', name, known)}")
