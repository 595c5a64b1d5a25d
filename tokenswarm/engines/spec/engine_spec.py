"""The description of an inference engine: one TOML file each, validated here.

Everything that differs between engines is data in `compose/engines/<name>.toml`: how to start it, how the canonical
settings become its flags, the names of its metrics, how to empty its prefix cache, how to recognise it. The code in
this package is the same for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.lookup import ENGINES, shown
from tokenswarm.base.toml_text import NotToml, decode
from tokenswarm.contract.tables import ENGINE_METRIC_COLUMNS, names
from tokenswarm.scenario.engine_settings import EngineSettings

CANONICAL_SETTINGS = tuple(EngineSettings.model_fields)
"""Engine settings by their names in scenarios; every description says how it handles each of them."""

EFFECTIVE_NAMES = (*CANONICAL_SETTINGS, "kv_capacity_tokens", "block_size", "model_path")
"""Names for the configuration that an engine reports: the settings, and values derived from them."""

METRIC_NAMES = frozenset(names(ENGINE_METRIC_COLUMNS)) - {"at"}

Scalar = str | int | float | bool
Device = Literal["cuda", "cpu"]
ConstraintKind = Literal["json_schema", "regex", "choice", "grammar"]
Latency = Literal["ttft", "queue", "itl", "e2e"]
"""Time to first token, time in the engine's queue, time between tokens, whole request."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Setting(_Strict):
    """How one canonical setting becomes arguments. Exactly one way is given.

    `flag`: the flag, followed by the value (looked up in `values` where there is such a table).
    `on` / `off`: the arguments for true and for false (a count is true above 1); `{name}` stands for the value of
    another canonical setting, and arguments that name an unset one are left out.
    `choices`: the arguments for each value that the engine knows; of a table such as `speculation`, the value is its
    `method`, and `{speculation_tokens}` stands for its key `tokens`, which must then be set. Of `lora` there are
    `{lora_names}`, `{lora_modules}` (NAME=PATH; an argument for each adapter), `{lora_max_loaded}`, `{lora_max_rank}`.
    `ignored`: the setting has no meaning for this engine, and why; said to the user, not an error.
    `refused`: the engine cannot honour it, and why; an error.
    """

    flag: str | None = None
    values: dict[str, str] | None = None
    on: list[str] | None = None
    off: list[str] | None = None
    choices: dict[str, list[str]] | None = None
    ignored: str | None = None
    refused: str | None = None
    equals_product: list[str] | None = None
    """The value must be the product of these settings in this engine (an unset one counts as 1)."""

    @model_validator(mode="after")
    def _one_way(self) -> Setting:
        ways = [self.flag, self.choices, self.ignored, self.refused]
        switch = self.on is not None or self.off is not None
        if sum(way is not None for way in ways) + switch != 1:
            raise ValueError("give exactly one of flag, on/off, choices, ignored, refused")
        if switch and (self.on is None or self.off is None):
            raise ValueError("give both on and off")
        if self.values is not None and self.flag is None:
            raise ValueError("values needs flag")
        return self


class DeviceProfile(_Strict):
    """Changes for one kind of device: extra arguments and environment, other defaults, unsupported settings."""

    args: list[str] = []
    env: dict[str, str] = {}
    defaults: dict[str, Scalar] = {}
    limits: dict[str, int] = {}
    """Largest value of a setting on this device; larger ones are reduced, and the user is told."""
    ignored: dict[str, str] = {}
    """Settings without meaning on this device, each with the reason."""
    refused: dict[str, dict[str, str]] = {}
    """Setting -> value -> why this device cannot do it."""
    ready_timeout_s: float = Field(default=1800.0, gt=0)


class Command(_Strict):
    """Command lines as templates: {python} {bin} {model} {served_name} {host} {port}."""

    local: list[str]
    container: list[str] = []
    always: list[str] = []
    """Arguments of every start; they enable what the measurements need."""
    env: dict[str, str] = {}
    local_model_env: dict[str, str] = {}
    """Environment when the model is a folder on this machine: nothing has to be asked of a model hub."""
    stop_signal: Literal["INT", "TERM"] = "TERM"
    stop_grace_s: float = Field(default=20.0, gt=0)
    true_flag: list[str] = ["--{name}"]
    """Arguments for an engine's own (not canonical) setting that is true."""
    own_false: list[str] | None = None
    """The same for false; left out where the engine has no general way to turn a flag off."""


class Image(_Strict):
    """The container image, pinned; a user may override the tag."""

    repository: str
    tag: str
    hint: str = ""
    """How to obtain it, as the rest of a sentence, if no registry has it."""


def _regular_expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression ({error})") from error
    return pattern


class Patch(_Strict):
    """A change to an installed file: `pattern` (regular expression, per line) is replaced by `replacement`."""

    file: str
    pattern: str
    replacement: str
    why: str

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        return _regular_expression(pattern)


class Alias(_Strict):
    """A second distribution name under which an installed package must be found."""

    name: str
    version: str
    why: str


class Install(_Strict):
    """How to make a virtual environment for this engine: steps are arguments of `pip install`, `{data}` is the
    folder `tokenswarm/engines/local/data`."""

    steps: list[list[str]]
    uninstall: list[str] = []
    overlays: list[str] = []
    """Packages of `tokenswarm/engines/local/data` that are copied into the environment."""
    patches: list[Patch] = []
    aliases: list[Alias] = []
    check: str
    """A Python statement that fails if the installation is broken."""


class EngineMetric(_Strict):
    """Where a canonical column comes from: the first of `names` that the engine exports."""

    names: Annotated[list[str], Field(min_length=1)]
    plus: str | None = None
    """A second metric to add, if the engine splits the column's count into two."""
    combine: Literal["sum", "mean", "max"] = "sum"
    """What to do with several series of one name (one per engine core, rank, cache source, ...)."""
    where: dict[str, str] = {}
    """Only series with these labels."""
    absent: float | None = None
    """Value while the engine does not export it: some counters appear only after their first event."""


class HistogramSource(_Strict):
    """Where a histogram of latencies in seconds comes from: the first of `names` that the engine exports."""

    names: Annotated[list[str], Field(min_length=1)]
    """Without `_bucket`, `_sum`, `_count`."""
    where: dict[str, str] = {}
    """Only series with these labels."""


class CacheReset(_Strict):
    """How to empty the prefix cache, and how to recognise a refusal."""

    method: Literal["POST", "GET"] = "POST"
    path: str
    success_field: str | None = None
    """JSON field of the answer that must be true; without it, status 200 is success."""
    busy_statuses: list[int] = []
    """Statuses that mean "not now, requests are running"."""
    missing_hint: str = ""
    """Hint for the user if the endpoint is missing."""


class Source(_Strict):
    """One place where an engine reports a configuration value; the first place that has it wins.

    `endpoint` + `path` (dotted path into its JSON), or `metric` + `label`, or `metric` alone (its value),
    or `product` of other effective names.
    """

    endpoint: str | None = None
    path: str | None = None
    metric: str | None = None
    label: str | None = None
    product: list[str] | None = None
    kind: Literal["int", "float", "bool", "text", "not"] = "text"
    """`not`: a boolean with the opposite sense."""
    strip_prefix: str = ""
    values: dict[str, Scalar] = {}
    """Reported text -> canonical value; the key `None` stands for null."""
    only_values: bool = False
    """Whether a reported text that is not in `values` is ignored, so that the next source is tried."""

    @model_validator(mode="after")
    def _one_place(self) -> Source:
        by_endpoint = self.endpoint is not None and self.path is not None
        if by_endpoint + (self.metric is not None) + (self.product is not None) != 1:
            raise ValueError("give endpoint and path, or metric, or product")
        return self


class DetectionRule(_Strict):
    """A rule that recognises a running engine: a response header, or a value in the JSON of an endpoint."""

    endpoint: str
    header: str | None = None
    path: str | None = None
    equals: str | None = None
    """Without it, any value matches."""


class Failure(_Strict):
    """A line of the log that explains why the engine ended, and the sentence for the user."""

    pattern: str
    sentence: str

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        return _regular_expression(pattern)


class EngineSpec(_Strict):
    """One engine. See docs/engines.md for how to write one."""

    name: str
    title: str
    like: str | None = None
    """The engine whose description this one extends: its own values take precedence. The image is not inherited."""
    simulated: bool = False
    default_port: int = Field(ge=1, le=65535)
    health_path: str = "/health"
    reasoning_field: str
    """The key of a stream's delta that carries reasoning text."""
    adapter_model: str = "{name}"
    """Value of a request's model field for a LoRA adapter, with {name} and {model} (the base model's)."""
    constraints: dict[ConstraintKind, dict[str, object]] = {}
    """For each kind of constraint on an answer the keys of a request's body that ask for it; {schema}, {name},
    {pattern}, {choices}, {choices_pattern}, {choices_grammar} and {grammar} stand for what is asked."""
    tiny_model: Literal["folder", "gguf"] = "folder"
    """Format in which it loads the tiny random model: a folder of safetensors, or one GGUF file."""
    constraints_need: str = ""
    """A sentence that says what a server needs to enforce constraints; shown if one is not enforced."""
    fixed_served_name: str | None = None
    """The model's name where the engine needs no model."""
    version_package: str | None = None
    package: dict[Device, str] = {}
    """The pinned package per device, for people; `install` says how it gets installed."""
    image: Image | None = None
    command: Command
    defaults: dict[str, Scalar] = {}
    settings: dict[str, Setting]
    forms: dict[Device, DeviceProfile]
    metrics: dict[str, EngineMetric] = {}
    histograms: dict[Latency, HistogramSource] = {}
    """The engine's own latencies."""
    metrics_path: str = "/metrics"
    cache_reset: list[CacheReset] = []
    """Tried in order: the first endpoint that exists is used."""
    version: list[Source] = []
    effective: dict[str, list[Source]] = {}
    recognise: list[DetectionRule] = []
    recognise_rank: int = 100
    """Lower is tried first: one engine can imitate another's surface."""
    told_apart: list[DetectionRule] = []
    """For an engine that is `like` another and matches its rules: additional rules that must all match."""
    install: dict[Device, Install] = {}
    failures: list[Failure] = []
    shared_memory: list[str] = []
    """Patterns of /dev/shm files that the engine can leave behind."""

    @model_validator(mode="after")
    def _names_are_known(self) -> EngineSpec:
        missing = [name for name in CANONICAL_SETTINGS if name not in self.settings]
        if missing:
            raise ValueError(f"settings does not say what to do with {', '.join(missing)}")
        tables: dict[str, tuple[set[str], frozenset[str]]] = {
            "settings": (set(self.settings), frozenset(CANONICAL_SETTINGS)),
            "defaults": (set(self.defaults), frozenset(CANONICAL_SETTINGS)),
            "metrics": (set(self.metrics), METRIC_NAMES),
            "effective": (set(self.effective), frozenset(EFFECTIVE_NAMES)),
        }
        for device, form in self.forms.items():
            for key in ("defaults", "limits", "ignored", "refused"):
                tables[f"forms.{device}.{key}"] = (set(getattr(form, key)), frozenset(CANONICAL_SETTINGS))
        for table, (used, allowed) in tables.items():
            if unknown := sorted(used - allowed):
                raise ValueError(f"{table} has unknown names {', '.join(unknown)}; known: {', '.join(sorted(allowed))}")
        return self

    def form(self, device: str | None) -> tuple[Device, DeviceProfile]:
        """The form for a device; None means the first one described.

        Raises UserError(Exit.USAGE) when the engine is not described for that device.
        """
        if device is None:
            return next(iter(self.forms.items()))
        if device not in self.forms:
            raise UserError(
                Exit.USAGE, f"{self.title} is not described for device {device!r}; described: {', '.join(self.forms)}."
            )
        return device, self.forms[device]  # type: ignore[return-value,index]


def parse(name: str, text: str, where: str) -> EngineSpec:
    """A description from TOML text; `where` names the file in error messages. Raises UserError(Exit.USAGE)."""
    try:
        return EngineSpec.model_validate({"name": name, **_over_its_like(decode(text), where)})
    except NotToml as error:
        raise UserError(Exit.USAGE, f"{where} is not valid TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file as a whole"
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(Exit.USAGE, f"{where}: {key}: {message}.") from error


def _over_its_like(content: dict[str, object], where: str) -> dict[str, object]:
    """Merge a description over that of the engine that it is `like`, table by table."""
    like = content.get("like")
    if not isinstance(like, str):
        return content
    path = ENGINES.find(like)
    if path is None:
        raise UserError(Exit.USAGE, f"{where}: like: {ENGINES.missing(like)}")
    base = decode(path.read_text(encoding="utf-8"))
    if "like" in base:
        raise UserError(Exit.USAGE, f"{where}: like: {like} is itself like another engine; name that one.")
    base.pop("image", None)  # a Compose profile has the engine's name: the other one's starts the other one
    return _laid_over(base, content)


def _laid_over(base: Mapping[str, object], over: Mapping[str, object]) -> dict[str, object]:
    merged = dict(base)
    for key, value in over.items():
        below = base.get(key)
        merged[key] = _laid_over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def known_engines() -> list[str]:
    """Names of all described engines: the user's, and those that come with tokenswarm."""
    return list(ENGINES.files())


def load_description(name_or_path: str) -> EngineSpec:
    """The description of an engine by its name (see `base.lookup`), or of that .toml file.

    Raises UserError(Exit.USAGE) that lists the known ones.
    """
    path = ENGINES.find(name_or_path)
    if path is None:
        raise UserError(Exit.USAGE, ENGINES.missing(name_or_path, further=["external"]))
    if not re.fullmatch(r"[a-z0-9_-]+", path.stem):
        raise UserError(
            Exit.USAGE,
            f"{shown(path)}: an engine is named after its file, so that should consist of "
            "lower-case letters, digits, _ and -.",
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(Exit.USAGE, f"{shown(path)}: cannot be read: {error}.") from None
    return parse(path.stem, text, shown(path))
