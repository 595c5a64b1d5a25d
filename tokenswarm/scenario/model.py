"""A scenario: its workload, load, duration and objectives, as immutable plain data.

Each is a TOML file in scenarios/, which `loading.py` reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, ValidationError, create_model, field_validator, model_validator

from tokenswarm.base.config_text import explain
from tokenswarm.base.data_files import LOCUSTFILES_DIR
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.scenario.abort import AbortSettings
from tokenswarm.scenario.endpoint_settings import EndpointSettings
from tokenswarm.scenario.engine_settings import EngineSettings
from tokenswarm.scenario.load_settings import Load
from tokenswarm.scenario.lora import ENGINE_SETTING, Lora
from tokenswarm.scenario.mix import Mix
from tokenswarm.scenario.requests import Output, Prompts, RequestLimits, Retry, UserBehaviour
from tokenswarm.scenario.slo_table import slo_table
from tokenswarm.scenario.slo_tiers import checked_tiers
from tokenswarm.scenario.values import Section
from tokenswarm.scenario.workload_kinds import WORKLOADS, WorkloadSettings


class Scenario(Section):
    """A workload with its load, limits and engine settings. See docs/scenarios.md for every key."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)] = Field(
        description="short name, used in the run's folder name"
    )
    title: str = Field(default="", description="one-line title for display")
    description: str = Field(default="", description="what the workload stands for")
    locustfile: Annotated[str, Field(min_length=1)] = Field(description="who asks: a file in locustfiles/, or a path")
    workload: Annotated[str, Field(strict=True)] = Field(description="kind of prompts; names the table below")
    load: Load = Field(default=Load(), description="how much is asked")
    user: UserBehaviour = Field(default=UserBehaviour(), description="what a user does between requests")
    output: Output = Field(default=Output(), description="what is asked of the engine")
    endpoint: EndpointSettings = Field(
        default=EndpointSettings(), description="in which form requests are put to the endpoint"
    )
    timeouts: RequestLimits = Field(default=RequestLimits(), description="when a request counts as failed")
    retry: Retry = Field(default=Retry(), description="what a user does after a failed request")
    abort: AbortSettings = Field(default=AbortSettings(), description="when a soak is ended before its time")
    slo: dict[str, float | dict[str, float]] = Field(
        default_factory=dict, description="what is good enough: gates, and tables with those of one user class"
    )
    tiers: str | dict[str, dict[str, float]] = Field(
        default_factory=dict, description="further limits for `capacity`, written as [slo.tiers]: tables, or a name"
    )
    prompts: Prompts = Field(default=Prompts(), description="seed and salt")
    lora: Lora = Field(default=Lora(), description="LoRA adapters that requests name")
    engine: EngineSettings = Field(default=EngineSettings(), description="tuned engine settings, canonical names")

    mix: Mix | None = Field(
        default=None,
        description="shares of several scenarios in one run, each with its own users, prompts and SLOs "
        "(docs/traffic.md)",
    )

    workload_kind: ClassVar[Any] = None
    """The class that generates the prompts. Validation uses a subclass of Scenario with a field for this class's table.
    """

    @model_validator(mode="before")
    @classmethod
    def _workload_table(cls, data: object) -> object:
        """Refuse tables of other workloads, and add the workload's own table (all defaults) if it is missing."""
        if not isinstance(data, dict) or cls.workload_kind is None:
            return data
        own = cls.workload_kind.name
        others = [name for name in WORKLOADS.names() if name != own]
        for other in others:
            if data.get(other) is not None:
                raise ValueError(f"[{other}] is a table of workload '{other}', but this scenario's workload is '{own}'")
        data = {key: value for key, value in data.items() if key not in others}
        return {**data, own: {} if data.get(own) is None else data[own]}

    @model_validator(mode="before")
    @classmethod
    def _tiers_of_slo(cls, data: object) -> object:
        """Move [slo.tiers] out of `slo`, since it is not the table of a user class."""
        if not isinstance(data, dict):
            return data
        slo, tiers = data.get("slo"), data.get("tiers")
        if isinstance(slo, dict) and "tiers" in slo:
            data, tiers = {**data, "slo": {key: value for key, value in slo.items() if key != "tiers"}}, slo["tiers"]
        return {**data, "tiers": checked_tiers(tiers)} if tiers else data

    @model_validator(mode="before")
    @classmethod
    def _adapters_are_loaded(cls, data: object) -> object:
        """Add the engine setting that [lora] requires."""
        if not isinstance(data, dict):
            return data
        table, engine = data.get("lora"), data.get("engine", {})
        if not isinstance(table, dict) or table.get("adapters") is None or not isinstance(engine, dict):
            return data
        try:
            setting = Lora.model_validate(table).engine_setting()
        except ValidationError:
            return data  # validation of the field raises the error
        return {**data, "engine": {**engine, ENGINE_SETTING: setting}}

    @model_validator(mode="after")
    def _prices_are_known(self) -> Scenario:
        if self.load.max_usd is not None and not self.endpoint.priced:
            raise ValueError(
                "load.max_usd needs prices: endpoint.input_usd_per_million and endpoint.output_usd_per_million"
            )
        return self

    @field_validator("workload")
    @classmethod
    def _known_workload(cls, workload: str) -> str:
        scenario_model(workload)
        return workload

    @field_validator("slo", mode="before")
    @classmethod
    def _slo(cls, slo: object) -> object:
        return slo_table(slo) if isinstance(slo, dict) else slo

    @property
    def open_loop(self) -> bool:
        """Whether requests are sent on a schedule (`load.rate` is set)."""
        return self.load.rate is not None

    @property
    def phases_apart(self) -> bool:
        """Whether no session continues from the warm-up into the measured phase."""
        return self.prompts.state == "cold" or self.workload_settings.each_once

    @property
    def workload_settings(self) -> WorkloadSettings:
        """The workload's settings: the table named after it."""
        settings: WorkloadSettings = getattr(self, self.workload_kind.name)
        return settings

    @property
    def locustfile_path(self) -> Path:
        """Absolute path of the locustfile."""
        return LOCUSTFILES_DIR / self.locustfile

    @property
    def locustfile_paths(self) -> list[Path]:
        """Absolute paths of the locustfiles; those of all scenarios for a mix."""
        files = [self.locustfile] if self.mix is None else [part.locustfile for part in self.mix.parts]
        return [LOCUSTFILES_DIR / file for file in dict.fromkeys(files)]

    def classes(self) -> dict[str, Scenario]:
        """The scenarios of a mix's user classes, as loaded; empty if this is not a mix."""
        return (
            {} if self.mix is None else {part.user_class: Scenario.from_values(part.values) for part in self.mix.parts}
        )

    def values(self) -> dict[str, object]:
        """The whole effective scenario as plain nested dicts, for run.json. `from_values` is its inverse."""
        dumped = self.model_dump(mode="json")
        return {key: value for key, value in dumped.items() if value is not None}

    @classmethod
    def from_values(cls, values: Mapping[str, object]) -> Scenario:
        """The scenario from the result of `values()`. Raises UserError (USAGE)."""
        return validated(dict(values), "scenario values", ())


@cache
def scenario_model(workload: object) -> type[Scenario]:
    """The model of scenarios with this workload, with its table as a field. Raises ValueError if there is no such
    workload, and TypeError if the name is not a string."""
    if not isinstance(workload, str):  # from a file or SET
        raise TypeError("should be a text")
    kind = WORKLOADS.get(workload)
    if kind.name in Scenario.model_fields or not kind.name.isidentifier():
        raise ValueError(f"its name {kind.name!r} cannot be that of a table of its own")
    table = (kind.Settings, Field(description=f"settings of workload {kind.name}"))
    fields: dict[str, Any] = {kind.name: table}
    model: type[Scenario] = create_model("Scenario", __base__=Scenario, __module__=__name__, **fields)
    model.workload_kind = kind
    return model


def validated(data: Mapping[str, object], source: str, overrides: tuple[str, ...]) -> Scenario:
    """The scenario with these values. Raises UserError (USAGE) naming `source`, or SET for keys in `overrides`."""
    try:
        model = scenario_model(data["workload"])
    except (KeyError, TypeError, ValueError):
        model = Scenario  # its validation says what is wrong
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise UserError(Exit.USAGE, explain(error, model, source, overrides)) from None
