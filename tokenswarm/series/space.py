"""A space of engine settings as data (compose/tune/*.toml), and its candidates."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenswarm.base.data_files import COMPOSE_DIR
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.foreign import listed, table
from tokenswarm.base.lookup import FileKind
from tokenswarm.base.toml_text import decode, toml_value

SPACES = FileKind("tune", ".toml", COMPOSE_DIR / "tune", "space of settings")
DEFAULT = "default"
"""Name of the candidate with the scenario's own settings."""
UNSET = "unset"
"""Value of a setting that is left to the engine."""
MOST = 64
"""Most candidates of a grid; larger spaces need `random`."""
MOST_COMBINED = 100_000
"""Most combinations from which a sample is drawn."""
_PER_GPU = ("tensor_parallel", "data_parallel", "expert_parallel")
_KEYS = ("title", "sample", "size", "seed", "settings", "candidates")


@dataclass(frozen=True, slots=True)
class Candidate:
    """Settings of an engine by their name below `engine.`; the default candidate has none."""

    name: str
    settings: Mapping[str, object]

    @property
    def overrides(self) -> dict[str, str]:
        """The settings as scenario values by dotted name."""
        return {
            f"engine.{key}": "none" if value == UNSET else toml_value(value) for key, value in self.settings.items()
        }


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of engine and machine: settings that are ignored here, with the reason, and the number of GPUs (None:
    any). `own`: the scenario's own settings, which the default candidate has; None: unknown."""

    ignored: Mapping[str, str]
    gpus: int | None = None
    own: Mapping[str, object] | None = None

    def is_default(self, settings: Mapping[str, object]) -> bool:
        """Whether a candidate with these settings would be the same as the default."""
        own = self.own
        return own is not None and all(own.get(key, UNSET) == value for key, value in settings.items())


@dataclass(frozen=True, slots=True)
class Space:
    """Candidates, the default first, and sentences about those that were left out."""

    title: str
    candidates: tuple[Candidate, ...]
    notes: tuple[str, ...]


def load_space(name: str, limits: Limits) -> Space:
    """The space of that name or file. Raises UserError (USAGE)."""
    path = SPACES.find(name)
    if path is None:
        raise UserError(
            Exit.USAGE,
            SPACES.missing(name),
        )
    try:
        return space_of(decode(path.read_text("utf-8")), limits)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UserError(Exit.USAGE, f"{path}: {error}") from None


def space_of(data: Mapping[str, object], limits: Limits) -> Space:
    """The candidates of a space. Raises ValueError for an invalid space."""
    if extra := set(data) - set(_KEYS):
        raise ValueError(f"unknown key '{min(extra)}' (known: {', '.join(_KEYS)})")
    _check_kinds(data)
    notes: list[str] = []
    sample = data.get("sample", "grid")
    if sample == "list":
        chosen = [_flat(table(each)) for each in listed(data.get("candidates"))]
    else:
        values = _values(table(data.get("settings")), limits, notes)
        if (size := math.prod(map(len, values.values()))) > MOST_COMBINED:
            raise ValueError(f"its settings have {size} combinations, at most {MOST_COMBINED} are gone through")
        combined = [dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())]
        fitting = [each for each in combined if _fits(each, limits) and not limits.is_default(each)]
        chosen = _sampled(fitting, str(sample), data)
    chosen = [each for each in chosen if each and not limits.is_default(each)]
    if not chosen:
        raise ValueError("it holds no candidate: give [settings] with lists of values, or [[candidates]]")
    return Space(
        str(data.get("title", "")),
        (Candidate(DEFAULT, {}), *(Candidate(_name(each), each) for each in chosen)),
        tuple(notes),
    )


def _check_kinds(data: Mapping[str, object]) -> None:
    candidates = data.get("candidates", [])
    if not isinstance(candidates, list) or not all(isinstance(each, Mapping) for each in candidates):
        raise ValueError("candidates should be a list of tables: [[candidates]]")
    if not isinstance(data.get("settings", {}), Mapping):
        raise ValueError("settings should be a table with lists of values")
    if _whole(data, "size", 16) < 1:
        raise ValueError("size should be at least 1")


def _values(settings: Mapping[str, object], limits: Limits, notes: list[str]) -> dict[str, list[object]]:
    values = {}
    for key, tried in _flat(settings).items():
        if not isinstance(tried, list) or not tried:
            raise ValueError(f"settings.{key} should be a list of values")
        if key in _PER_GPU and not all(type(each) is int and each > 0 for each in tried):
            raise ValueError(f"settings.{key} should be a list of whole numbers above 0")
        if key in limits.ignored:
            notes.append(f"{key} is left out: {limits.ignored[key]}")
            continue
        kept = [each for each in tried if key not in _PER_GPU or limits.gpus is None or each <= limits.gpus]
        if len(kept) < len(tried):
            notes.append(f"{key} is tried up to the {limits.gpus} GPUs that there are")
        if kept:
            values[key] = kept
    return values


def _fits(settings: Mapping[str, object], limits: Limits) -> bool:
    used = _whole(settings, "tensor_parallel", 1) * _whole(settings, "data_parallel", 1)
    return limits.gpus is None or used <= limits.gpus


def _whole(values: Mapping[str, object], key: str, otherwise: int) -> int:
    value = values.get(key, otherwise)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{key} is {value!r}, but should be a whole number")
    return value


def _sampled(combined: list[dict[str, object]], sample: str, data: Mapping[str, object]) -> list[dict[str, object]]:
    if sample == "random":
        size = _whole(data, "size", 16)
        return random.Random(_whole(data, "seed", 1)).sample(combined, min(size, len(combined)))
    if sample != "grid":
        raise ValueError(f"sample is '{sample}', but should be grid, random or list")
    if len(combined) > MOST:
        raise ValueError(f'the grid has {len(combined)} candidates, at most {MOST} make sense: use sample = "random"')
    return combined


def _flat(settings: Mapping[str, object]) -> dict[str, object]:
    """An engine's own table flattened: `sim.block_size`. `speculation` is a value, not an engine."""
    flat: dict[str, object] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and key != "speculation":
            flat |= {f"{key}.{inner}": each for inner, each in value.items()}
        else:
            flat[key] = value
    return flat


def _name(settings: Mapping[str, object]) -> str:
    return " ".join(f"{key}={_short(value)}" for key, value in settings.items())


def _short(value: object) -> str:
    return (
        ":".join(str(each) for each in value.values())
        if isinstance(value, Mapping)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )


def names(candidates: Sequence[Candidate]) -> list[str]:
    """Their names, in order."""
    return [each.name for each in candidates]
