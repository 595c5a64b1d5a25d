"""Find, read, override, complete and validate a scenario's TOML file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path

from pydantic import BaseModel

from tokenswarm.base.config_text import with_overrides
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.extensions import absolute
from tokenswarm.base.files import at_home, digest, is_there
from tokenswarm.base.foreign import table
from tokenswarm.base.lookup import ENGINES, LOCUSTFILES, PACKAGE, SCENARIOS, shown
from tokenswarm.base.sentences import unknown
from tokenswarm.base.toml_text import NotToml, decode
from tokenswarm.scenario.arrivals import TIMES
from tokenswarm.scenario.endpoint_settings import with_preset
from tokenswarm.scenario.mixing import LoadOne, MixSource, mix_line, mixed
from tokenswarm.scenario.model import Scenario, scenario_model, validated

# Engines whose own tables are accepted even if no description file is installed with the package.
_KNOWN_ENGINES = frozenset({"vllm", "sglang"})
_PRESET = "endpoint.preset"


def scenario_names() -> list[str]:
    """Sorted names of all scenarios in the working folder, in the user's configuration folder and shipped with
    tokenswarm."""
    return list(SCENARIOS.files())


def load_scenario(name_or_path: str, overrides: Mapping[str, str] | None = None, data: str | None = None) -> Scenario:
    """The scenario of this name (see `base.lookup`) or .toml file, with `overrides` (see `parse_set`) applied.

    `rag:6 chat:3` or a file with a table [mix] is a mix of several scenarios: see `mixing`. data: the file with the
    prompts, for a workload that reads one.

    Raises UserError (USAGE) with the file, the key, its value and what is allowed.
    """
    line = mix_line(name_or_path)
    if line is not None:
        return mixed(MixSource(line, "SCENARIO", _member_in([Path.cwd()]), _takes_data, overrides or {}, data))
    path = scenario_file(name_or_path)
    content = _content(path)
    if "mix" in content:
        return mixed(
            MixSource(
                {"name": path.stem, **content},
                shown(path),
                _member_in([path.parent, Path.cwd()]),
                _takes_data,
                overrides or {},
                data,
            )
        )
    return _one(path, content, overrides or {}, data)


def _member_in(folders: list[Path]) -> LoadOne:
    """A loader for the scenarios of a mix; relative paths start at these folders."""

    def load_one(name: str, tables: Mapping[str, object], overrides: Mapping[str, str], data: str | None) -> Scenario:
        beside = next(
            (folder / name for folder in folders if SCENARIOS.is_path(name) and is_there(folder / name)), None
        )
        path = scenario_file(name) if beside is None else beside.resolve()
        content = _content(path)
        if "mix" in content:
            raise UserError(Exit.USAGE, f"{shown(path)}: is a mix itself, and cannot be part of another one")
        own = content.get("workload")
        inside = {key: value for key, value in tables.items() if key not in Scenario.model_fields and key != own}
        tables = {key: value for key, value in tables.items() if key not in inside}
        if inside and isinstance(own, str):
            tables[own] = {**inside, **table(tables.get(own))}
        merged = {
            **content,
            **{
                key: {**below, **value}
                if isinstance(value, dict) and isinstance(below := content.get(key), dict)
                else value
                for key, value in tables.items()
            },
        }
        whole = {
            key if key.split(".")[0] in {*Scenario.model_fields, own} else f"{own}.{key}": value
            for key, value in overrides.items()
        }
        return _one(path, merged, whole, data)

    return load_one


def _takes_data(name: str) -> bool:
    """Whether a scenario's prompts come from a file."""
    try:
        return "file" in scenario_model(_content(scenario_file(name))["workload"]).workload_kind.Settings.model_fields
    except (KeyError, TypeError, ValueError):
        return False  # loading it raises the error


def _content(path: Path) -> dict[str, object]:
    where = shown(path)
    try:
        return decode(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(Exit.USAGE, f"{where}: cannot be read: {error}") from None
    except NotToml as error:
        raise UserError(Exit.USAGE, f"{where}: is not valid TOML: {error}") from None


def _one(path: Path, content: Mapping[str, object], overrides: Mapping[str, str], data: str | None) -> Scenario:
    """The scenario of one file."""
    where = shown(path)
    folders = [path.parent, Path.cwd()]
    content = with_preset({"name": path.stem, **content}, overrides.get(_PRESET), folders)
    values = _with_absolute_paths(with_overrides(content, overrides, _text_keys()), folders)
    values = _with_completed_table(values, data, folders, overrides)
    scenario = validated(values, where, tuple(overrides))
    if scenario.load.arrivals == TIMES:
        try:
            scenario.load.times()
        except ValueError as error:
            raise UserError(Exit.USAGE, f"{where}: load: {error}") from None
    _check_engine_tables(scenario, where)
    return scenario.model_copy(update={"locustfile": _locustfile(scenario.locustfile, path, where)})


@cache
def _text_keys() -> frozenset[str]:
    """Dotted keys of all scenarios whose values are text, so that a salt of digits is not parsed as a number; a key
    with a trailing dot is a table of texts."""
    keys = set()
    for name, field in Scenario.model_fields.items():
        if field.annotation is str:
            keys.add(name)
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            inner = field.annotation.model_fields
            keys |= {f"{name}.{key}" for key in inner if inner[key].annotation in (str, str | None)}
            keys |= {f"{name}.{key}." for key in inner if inner[key].annotation == dict[str, str]}
    return frozenset(keys)


def _with_absolute_paths(values: dict[str, object], folders: list[Path]) -> dict[str, object]:
    """The values with absolute paths for the scenario's own files, so that every process finds them."""
    values = dict(values)
    if isinstance(workload := values.get("workload"), str):
        values["workload"] = absolute(workload, folders)
    if isinstance(load := values.get("load"), dict):
        load = values["load"] = dict(load)
        if isinstance(arrivals := load.get("arrivals"), str):
            load["arrivals"] = absolute(arrivals, folders)
        if isinstance(times := load.get("arrival_times_file"), str):
            file = _beside(times, folders)
            load["arrival_times_file"] = str(file)
            load["arrival_times_sha256"] = digest(file) if is_there(file) else None
    if isinstance(endpoint := values.get("endpoint"), dict) and isinstance(ca_file := endpoint.get("ca_file"), str):
        values["endpoint"] = endpoint | {"ca_file": str(_beside(ca_file, folders))}
    return values


def _beside(file: str, folders: list[Path]) -> Path:
    """The path in the first folder that has the file; unchanged if none has."""
    name = at_home(file)
    return next((folder / name for folder in folders if is_there(folder / name)), name)


def _with_completed_table(
    values: dict[str, object], data: str | None, folders: list[Path], explicit: Collection[str]
) -> dict[str, object]:
    """The values with the workload's table completed, including the file of its prompts."""
    try:
        kind = scenario_model(values["workload"]).workload_kind
    except (KeyError, TypeError, ValueError):
        return values  # validation raises the error
    table = values.get(kind.name, {})
    if not isinstance(table, dict):
        return values
    if data is not None:
        if "file" not in kind.Settings.model_fields:
            raise UserError(
                Exit.USAGE,
                f"{values['name']} takes no file of prompts (DATA): its workload is "
                f"{kind.name}; SCENARIO=dataset and SCENARIO=replay do",
            )
        table, folders = {**table, "file": data}, [Path.cwd()]
    table = kind.Settings.completed(table, folders)
    completed: dict[str, object] = kind.Settings.completed_scenario(values | {kind.name: table}, table, explicit)
    return completed


def scenario_file(name_or_path: str) -> Path:
    """The file of a scenario. Raises UserError (USAGE) if it does not exist."""
    path = SCENARIOS.find(name_or_path)
    if path is not None:
        return path
    raise UserError(Exit.USAGE, SCENARIOS.missing(name_or_path))


def _locustfile(name_or_path: str, scenario_file: Path, where: str) -> str:
    """The file name of a locustfile shipped with tokenswarm; the absolute path of any other (such as one in the
    scenario's folder)."""
    path = LOCUSTFILES.find(name_or_path, beside=[scenario_file.parent])
    if path is not None:
        return path.name if LOCUSTFILES.place_of(path) == PACKAGE else str(path)
    raise UserError(Exit.USAGE, f"{where}: {LOCUSTFILES.missing(name_or_path, beside=[scenario_file.parent])}")


def _check_engine_tables(scenario: Scenario, where: str) -> None:
    """Refuse an unknown engine's table: every engine would ignore a misspelled [engine.vlm]."""
    known = _KNOWN_ENGINES | ENGINES.files().keys()
    for name in scenario.engine.engine_specific_settings():
        if name not in known:
            raise UserError(Exit.USAGE, f"{where}: [engine.{name}]: {unknown('engine', name, known)}")
