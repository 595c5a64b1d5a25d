"""Turns canonical settings into an engine's command line: pure functions of a description and plain values."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.engines.spec.engine_spec import CANONICAL_SETTINGS, DeviceProfile, EngineSpec, Scalar, Setting
from tokenswarm.scenario.engine_settings import EngineSettings
from tokenswarm.scenario.lora import ENGINE_SETTING

Runtime = Literal["local", "container"]
SettingsLike = EngineSettings | Mapping[str, object]
"""A scenario's engine settings, or the same as plain values by canonical name."""

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class Resolved:
    """Settings that an engine will be started with, after applying its defaults, limits and unsupported values."""

    settings: dict[str, Scalar]
    own: dict[str, object] = field(default_factory=dict)
    """The engine's own settings, which have no canonical name."""
    notes: list[str] = field(default_factory=list)
    """Sentences about what was left out or reduced, and why; for the user."""


def resolve(
    description: EngineSpec,
    settings: SettingsLike,
    device: str | None = None,
    explicit: Collection[str] = (),
) -> Resolved:
    """Lay the settings over the engine's defaults (device's over general ones) and apply what the device cannot do.

    `settings` holds canonical names; None means unset. A key that is an engine's name holds a table of that engine's
    own settings; other engines' tables are passed over. `explicit` names the settings that the user asked for
    by hand (also `speculation.tokens`): those are never left out with a mere note.
    Raises UserError(Exit.USAGE) for an unknown name and for a setting that the engine cannot honour.
    """
    device_name, form = description.form(device)
    by_hand = {name.partition(".")[0] for name in explicit}
    settings_given, own = _sort(description.name, settings)
    wanted: dict[str, Any] = {**description.defaults, **form.defaults, **settings_given}
    notes: list[str] = []
    result: dict[str, Scalar] = {}
    known = set(CANONICAL_SETTINGS)
    for name in CANONICAL_SETTINGS:
        if name not in wanted:
            continue
        value = wanted[name]
        _refuse(description, form, device_name, name, value)
        reason = form.ignored.get(name) or description.settings[name].ignored
        if reason is not None:
            if name in by_hand:
                raise UserError(
                    Exit.USAGE, f"{description.title} cannot honour engine.{name} = {value!r} here: {reason}."
                )
            if name in settings_given:  # dropping a default that does not apply needs no note
                notes.append(f"{description.title} leaves out {name} = {value}: {reason}.")
            continue
        limit = form.limits.get(name)
        if limit is not None and not isinstance(value, bool) and isinstance(value, int | float) and value > limit:
            notes.append(f"{description.title} on {device_name}: {name} reduced from {value} to {limit}.")
            value = limit
        result[name] = value
        result |= {key: item for key, item in wanted.items() if key.startswith(f"{name}_") and key not in known}
    return Resolved(result, own, notes)


def _sort(engine: str, settings: SettingsLike) -> tuple[dict[str, object], dict[str, object]]:
    """Canonical settings that are set (tables flattened), and this engine's own ones."""
    if isinstance(settings, EngineSettings):
        settings = {**settings.canonical(), **settings.engine_specific_settings()}
    canonical: dict[str, object] = {}
    own: dict[str, object] = {}
    for name, value in settings.items():
        if name == ENGINE_SETTING and isinstance(value, Mapping):
            canonical |= _adapters(value)
        elif name in CANONICAL_SETTINGS and isinstance(value, Mapping):
            canonical[name] = value["method"]
            canonical |= {f"{name}_{key}": item for key, item in value.items() if key != "method" and item is not None}
        elif isinstance(value, Mapping):
            own = dict(value) if name == engine else own
        elif name not in CANONICAL_SETTINGS:
            known = ", ".join(CANONICAL_SETTINGS)
            raise UserError(Exit.USAGE, f"There is no engine setting {name!r}; known: {known}.")
        elif value is not None:
            canonical[name] = value
    return canonical, own


def _adapters(setting: Mapping[str, Any]) -> dict[str, Scalar]:
    """The adapters to load as settings: lists are texts with a line for each (see `_fill`)."""
    names, paths = setting["names"], setting.get("paths")
    values: dict[str, Scalar] = {
        "lora": True,
        "lora_names": "\n".join(names),
        "lora_max_loaded": setting["max_loaded"],
        "lora_max_rank": setting["max_rank"],
    }
    if paths:
        values["lora_modules"] = "\n".join(f"{name}={path}" for name, path in zip(names, paths, strict=True))
    return values


def _refuse(description: EngineSpec, form: DeviceProfile, device: str, name: str, value: object) -> None:
    why = description.settings[name].refused
    why = form.refused.get(name, {}).get(str(value).lower(), why)
    if why is not None and value not in (False, "none", "auto"):
        raise UserError(
            Exit.USAGE, f"{description.title} cannot honour engine.{name} = {value!r} on device {device}: {why}."
        )


def setting_args(title: str, name: str, setting: Setting, settings: Mapping[str, Scalar]) -> list[str]:
    """The arguments for one resolved canonical setting.

    Raises UserError(Exit.USAGE) for a value that the engine cannot express.
    """
    value = settings[name]
    _check_product(title, name, setting, settings)
    if setting.flag is not None:
        text = _text(value)
        if setting.values is not None:
            if text not in setting.values:
                raise _unknown_value(title, name, value, setting.values)
            text = setting.values[text]
        return [setting.flag, text]
    if setting.choices is not None:
        if _text(value) not in setting.choices:
            raise _unknown_value(title, name, value, setting.choices)
        args = setting.choices[_text(value)]
        if missing := _unset(args, settings):
            key = missing[0].replace(f"{name}_", f"{name}.", 1)
            raise UserError(Exit.USAGE, f"{title} needs engine.{key} for engine.{name} = {value!r}.")
        return _fill(args, settings)
    if setting.on is not None and setting.off is not None:
        if isinstance(value, str | float):
            raise UserError(Exit.USAGE, f"engine.{name} must be true or false for {title}, not {value!r}.")
        args = setting.on if value > 1 or value is True else setting.off
        return [] if _unset(args, settings) else _fill(args, settings)
    return []


def _check_product(title: str, name: str, setting: Setting, settings: Mapping[str, Scalar]) -> None:
    if setting.equals_product is None or settings[name] == 1:
        return
    factors = [int(settings.get(factor, 1)) for factor in setting.equals_product]
    if math.prod(factors) != settings[name]:
        raise UserError(
            Exit.USAGE,
            f"{title} cannot honour engine.{name} = {settings[name]}: there it is always "
            f"{' x '.join(setting.equals_product)}, here {math.prod(factors)}.",
        )


def _unset(args: list[str], settings: Mapping[str, Scalar]) -> list[str]:
    return [name for arg in args for name in _PLACEHOLDER.findall(arg) if name not in settings]


def _fill(args: list[str], settings: Mapping[str, Scalar]) -> list[str]:
    return [line for arg in args for line in _PLACEHOLDER.sub(lambda match: _text(settings[match[1]]), arg).split("\n")]


def _unknown_value(title: str, name: str, value: Scalar, table: Mapping[str, object]) -> UserError:
    return UserError(Exit.USAGE, f"{title} has no engine.{name} = {value!r}; known: {', '.join(table)}.")


def _text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def own_args(description: EngineSpec, own: Mapping[str, object]) -> list[str]:
    """The arguments for an engine's own settings: `{"max-num-queued-reqs": 8}` -> `--max-num-queued-reqs 8`.

    Underscores read as dashes; true gives the bare flag; false gives the engine's negated flag, where it has such
    a form (UserError(Exit.USAGE) otherwise).
    """
    args: list[str] = []
    for key, value in own.items():
        name = str(key).strip("-").replace("_", "-")
        if value is None:
            continue
        if value is True:
            args += [part.format(name=name) for part in description.command.true_flag]
        elif value is False:
            if description.command.own_false is None:
                raise UserError(
                    Exit.USAGE,
                    f"{description.title} has no general way to say {name} = false; leave engine.{description.name}."
                    f"{key} out or name the flag that turns it off.",
                )
            args += [part.format(name=name) for part in description.command.own_false]
        elif isinstance(value, list | tuple):
            args += [f"--{name}", *(str(item) for item in value)]
        else:
            args += [f"--{name}", str(value)]
    return args


@dataclass(frozen=True, slots=True)
class Placement:
    """The parts of an engine's command line that are not settings: the model, its address, and its programs."""

    model: str
    port: int
    host: str = "127.0.0.1"
    served_name: str | None = None
    """The name under which clients ask for the model; None: `model`."""
    bin_dir: str = "bin"
    python: str = "python"


def command(
    description: EngineSpec,
    settings: SettingsLike,
    placement: Placement,
    runtime: Runtime = "local",
    *,
    device: str | None = None,
    explicit: Collection[str] = (),
) -> list[str]:
    """The whole command line that starts the engine, as a list of arguments.

    `runtime="container"` gives what follows the image's entry point. Raises UserError(Exit.USAGE) as `resolve` does.
    """
    resolved = resolve(description, settings, device, explicit)
    _, form = description.form(device)
    places = {
        "bin": placement.bin_dir,
        "python": placement.python,
        "model": placement.model,
        "served_name": placement.served_name or placement.model,
        "host": placement.host,
        "port": str(placement.port),
    }
    template = description.command.local if runtime == "local" else description.command.container
    if not template:
        raise UserError(Exit.USAGE, f"{description.title} is not described for the {runtime} runtime.")
    args = [_PLACEHOLDER.sub(lambda match: places.get(match[1], match[0]), part) for part in template]
    args += description.command.always + form.args
    for name in (name for name in CANONICAL_SETTINGS if name in resolved.settings):
        args += setting_args(description.title, name, description.settings[name], resolved.settings)
    return args + own_args(description, resolved.own)


@dataclass(frozen=True, slots=True)
class AskedSetting:
    """A requested setting: its value and flags."""

    value: Scalar
    args: list[str]


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting across several engines."""

    setting: str
    engines: dict[str, AskedSetting | None] = field(default_factory=dict)


def diff(descriptions: Collection[EngineSpec], settings: SettingsLike, device: str | None = None) -> list[SettingRow]:
    """The engines' settings side by side: one row per canonical setting that any of them is asked for.

    None: the engine is not asked for this setting.
    """
    resolved = {each.name: (each, resolve(each, settings, device)) for each in descriptions}
    rows = []
    for name in CANONICAL_SETTINGS:
        row = SettingRow(name)
        for engine, (description, result) in resolved.items():
            row.engines[engine] = None
            if name in result.settings:
                args = setting_args(description.title, name, description.settings[name], result.settings)
                row.engines[engine] = AskedSetting(result.settings[name], args)
        if any(row.engines.values()):
            rows.append(row)
    return rows
