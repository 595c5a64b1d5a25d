"""A scenario: what is asked, how much, how long, and what is good enough. One TOML file each, in scenarios/.

`load_scenario` reads, overrides and validates; a `Scenario` is immutable plain data after that.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, Field, ValidationError, create_model, field_validator, model_validator

from tokenswarm.base.config_text import explain, parse_set, unknown, with_overrides
from tokenswarm.base.data_files import LOCUSTFILES_DIR, SCENARIOS_DIR
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.extensions import absolute
from tokenswarm.base.lookup import ENGINES, LOCUSTFILES, PACKAGE, SCENARIOS, shown
from tokenswarm.base.numbers import LARGEST, is_sane
from tokenswarm.contract.objectives import parse_slo_key, slo_latencies, slo_rates
from tokenswarm.scenario.abort import AbortSettings
from tokenswarm.scenario.arrivals import TIMES
from tokenswarm.scenario.endpoint import EndpointSettings
from tokenswarm.scenario.engine_settings import EngineSettings
from tokenswarm.scenario.load import Load
from tokenswarm.scenario.requests import Output, Prompts, RequestLimits, Retry, UserBehaviour
from tokenswarm.scenario.values import Section
from tokenswarm.scenario.workload_kinds import WORKLOADS, WorkloadSettings

__all__ = ["LOCUSTFILES_DIR", "SCENARIOS_DIR", "Scenario", "load_scenario", "parse_set", "scenario_names"]

# Engines whose own tables are accepted even where no description file is installed beside the package.
_KNOWN_ENGINES = frozenset({"vllm", "sglang"})


class Scenario(Section):
    """One workload with its load, limits and engine settings. See docs/scenarios.md for every key."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)] = Field(
        description="short name, used in the run's folder name"
    )
    title: str = Field(default="", description="one line for people")
    description: str = Field(default="", description="what the workload stands for")
    locustfile: Annotated[str, Field(min_length=1)] = Field(description="who asks: a file in locustfiles/, or a path")
    workload: Annotated[str, Field(strict=True)] = Field(description="kind of prompts; names the table below")
    load: Load = Field(default=Load(), description="how much is asked")
    user: UserBehaviour = Field(default=UserBehaviour(), description="what a user does between requests")
    output: Output = Field(default=Output(), description="what is asked of the engine")
    endpoint: EndpointSettings = Field(
        default=EndpointSettings(), description="in which form requests are put to the endpoint")
    timeouts: RequestLimits = Field(default=RequestLimits(), description="when a request counts as failed")
    retry: Retry = Field(default=Retry(), description="what a user does after a failed request")
    abort: AbortSettings = Field(default=AbortSettings(), description="when a soak is ended before its time")
    slo: dict[str, float | dict[str, float]] = Field(
        default_factory=dict, description="what is good enough: gates, and tables with those of one user class")
    prompts: Prompts = Field(default=Prompts(), description="seed and salt")
    engine: EngineSettings = Field(default=EngineSettings(), description="tuned engine settings, canonical names")

    workload_kind: ClassVar[type | None] = None
    """The class that makes the prompts; what is validated is a subclass with the field that is its table."""

    @model_validator(mode="before")
    @classmethod
    def _workload_table(cls, data: Any) -> Any:
        """Only the workload's own table may be there; it is made (all defaults) where it is left out."""
        if not isinstance(data, dict) or cls.workload_kind is None:
            return data
        own = cls.workload_kind.name
        others = [name for name in WORKLOADS.names() if name != own]
        for other in others:
            if data.get(other) is not None:
                raise ValueError(f"[{other}] is a table of workload '{other}', but this scenario's workload is '{own}'")
        data = {key: value for key, value in data.items() if key not in others}
        return {**data, own: {} if data.get(own) is None else data[own]}

    @field_validator("workload")
    @classmethod
    def _known_workload(cls, workload: str) -> str:
        scenario_model(workload)
        return workload

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
    def workload_settings(self) -> WorkloadSettings:
        """The table that is named after the workload."""
        return getattr(self, self.workload_kind.name)

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
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not is_sane(value) or value < 0:
        raise ValueError(f"{key} is {value!r}, but should be a number of at least 0 (and at most {LARGEST:g})")
    if parsed.unit == "share" and value > 1:
        raise ValueError(f"{key} is {value!r}, but is a share and should be at most 1")
    return float(value)


def _slo_allowed() -> str:
    latencies = "|".join(latency.name for latency in slo_latencies())
    return f"{', '.join(rate.slo_key for rate in slo_rates())} or <{latencies}>_p<1..99, or 999 for 99.9>_ms"


@cache
def scenario_model(workload: str) -> type[Scenario]:
    """The model of scenarios with that workload: with its table as a field. Raises ValueError if there is none."""
    kind = WORKLOADS.get(workload)
    if kind.name in Scenario.model_fields or not kind.name.isidentifier():
        raise ValueError(f"its name {kind.name!r} cannot be that of a table of its own")
    table = (kind.Settings, Field(description=f"settings of workload {kind.name}"))
    model = create_model("Scenario", __base__=Scenario, __module__=__name__, **{kind.name: table})
    model.workload_kind = kind
    return model


def _validated(data: dict[str, Any], source: str, overrides: tuple[str, ...]) -> Scenario:
    try:
        model = scenario_model(data["workload"])
    except (KeyError, TypeError, ValueError):
        model = Scenario  # which says what is wrong with it
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise UserError(Exit.USAGE, explain(error, model, source, overrides)) from None


def scenario_names() -> list[str]:
    """Names of all scenarios: in the working folder, the user's configuration folder, and with tokenswarm; sorted."""
    return list(SCENARIOS.files())


def load_scenario(name_or_path: str, overrides: Mapping[str, str] | None = None, data: str | None = None) -> Scenario:
    """The scenario of that name (see `base.lookup`), or of that .toml file, with `overrides` (see `parse_set`) put in.

    data: the file that its prompts come from, for a workload that has one.

    Raises UserError (USAGE) that names the file, the key, what it got and what is allowed.
    """
    path = scenario_file(name_or_path)
    where = shown(path)
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(Exit.USAGE, f"{where}: cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(Exit.USAGE, f"{where}: is not valid TOML: {error}") from None
    overrides = overrides or {}
    folders = [path.parent, Path.cwd()]
    values = _with_absolute_paths(with_overrides({"name": path.stem, **content}, overrides, _text_keys()), folders)
    values = _with_completed_table(values, data, folders, where)
    scenario = _validated(values, where, tuple(overrides))
    if scenario.load.arrivals == TIMES:
        try:
            scenario.load.times()
        except ValueError as error:
            raise UserError(Exit.USAGE, f"{where}: load: {error}") from None
    _check_engine_tables(scenario, where)
    return scenario.model_copy(update={"locustfile": _locustfile(scenario.locustfile, path, where)})


@cache
def _text_keys() -> frozenset[str]:
    """The keys of every scenario that hold text, dotted: a salt of digits is no number."""
    keys = set()
    for name, field in Scenario.model_fields.items():
        if field.annotation is str:
            keys.add(name)
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            inner = field.annotation.model_fields
            keys |= {f"{name}.{key}" for key in inner if inner[key].annotation is str}
    return frozenset(keys)


def _with_absolute_paths(values: dict[str, Any], folders: list[Path]) -> dict[str, Any]:
    """The values with files of the scenario's own named whole, so that every process finds them."""
    values = dict(values)
    if isinstance(values.get("workload"), str):
        values["workload"] = absolute(values["workload"], folders)
    if isinstance(values.get("load"), dict):
        load = values["load"] = dict(values["load"])
        if isinstance(load.get("arrivals"), str):
            load["arrivals"] = absolute(load["arrivals"], folders)
        if isinstance(load.get("arrival_times_file"), str):
            name = Path(load["arrival_times_file"]).expanduser()
            load["arrival_times_file"] = str(next((folder / name for folder in folders if (folder / name).is_file()),
                                                  name))
    return values


def _with_completed_table(values: dict[str, Any], data: str | None, folders: list[Path],
                          where: str) -> dict[str, Any]:
    """The values with the workload's table completed, and the file that its prompts come from in it."""
    try:
        kind = scenario_model(values["workload"]).workload_kind
    except (KeyError, TypeError, ValueError):
        return values  # refused when it is validated
    table = values.get(kind.name, {})
    if not isinstance(table, dict):
        return values
    if data is not None:
        if "file" not in kind.Settings.model_fields:
            raise UserError(Exit.USAGE, f"{where}: takes no file of prompts (DATA): its workload is {kind.name}; "
                                        "SCENARIO=dataset does")
        table, folders = {**table, "file": data}, [Path.cwd()]
    return values | {kind.name: kind.Settings.completed(table, folders)}


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
