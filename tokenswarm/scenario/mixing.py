"""Merges a mix of scenarios into one: `rag:6 chat:3 batch:1`, or a file with a table [mix]."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from tokenswarm.base.config_text import with_overrides
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import is_there
from tokenswarm.base.foreign import table as as_table
from tokenswarm.base.sentences import unknown
from tokenswarm.scenario.engine_settings import NO_PARSER, EngineSettings
from tokenswarm.scenario.mix import REQUESTS, SESSIONS, USERS, Mix, MixOf, MixPart
from tokenswarm.scenario.model import Scenario, validated
from tokenswarm.scenario.user_classes import user_classes_in

_WORD = re.compile(r"(?P<name>[^:,\s]+):(?P<weight>[^:,\s]*)")
_OWN_TABLES = ("load", "slo", "prompts", "engine", "endpoint", "abort", "lora")
_OWN = ("name", "title", "description", "mix", *_OWN_TABLES)
_COMMON = ("prompts", "endpoint", "lora")
"""Tables of a mix that take precedence over those of its scenarios."""
_LONGEST_NAME = 64

_OF_ALL = ("load", "engine", "abort", "mix")
"""Tables that a scenario of a mix cannot set."""

_NOT_WEIGHTS = ("of", "disturbs")
"""Keys of [mix] that do not name a scenario."""

LoadOne = Callable[[str, Mapping[str, object], Mapping[str, str], str | None], Scenario]
"""Loads the scenario of that name, with these tables and then these overrides put in, and with that file of prompts."""


@dataclass(frozen=True, slots=True)
class MixSource:
    """What a mix is made of. `content`: its file, or what a line such as `rag:6 chat:3` stands for; `where`: what
    errors blame; `takes_data(name)`: whether a scenario's prompts come from a file."""

    content: Mapping[str, object]
    where: str
    load_one: LoadOne
    takes_data: Callable[[str], bool]
    overrides: Mapping[str, str] = field(default_factory=dict)
    data: str | None = None


def mix_line(text: str) -> dict[str, object] | None:
    """`rag:6 chat:3 batch:1` as the content of a mix's file; None for the name or path of one scenario.

    Raises UserError (USAGE) for a line that is nearly one.
    """
    words = text.replace(",", " ").split()
    if (len(words) < 2 and ":" not in text) or is_there(Path(text)):
        return None
    weights: dict[str, float] = {}
    for word in words:
        match = _WORD.fullmatch(word)
        try:
            weight = float(match["weight"]) if match is not None else None
        except ValueError:
            weight = None
        if match is None or weight is None:
            raise UserError(
                Exit.USAGE,
                f"SCENARIO: got '{word}', but a mix is written NAME:WEIGHT, such as \"rag:6 chat:3 batch:1\"",
            )
        if match["name"] in weights:
            raise UserError(Exit.USAGE, f"SCENARIO: {match['name']} is there twice")
        weights[match["name"]] = weight
    return {"mix": weights}


def mixed(source: MixSource) -> Scenario:
    """The mix as one scenario: its [load] directs the run, and each user class plays its own. What a mix does not have
    of its own is its first scenario's. Raises UserError (USAGE)."""
    table = source.content["mix"]
    if not isinstance(table, dict):
        raise _wrong(source, "mix should be a table of scenarios and weights: [mix]")
    own_overrides, of_members = _split(source.overrides, _names(table))
    content = with_overrides(_own(source), own_overrides)
    weights, of = _weights(source, as_table(content["mix"]))
    members = _members(source, weights, of_members)
    first = next(iter(members.values()))
    _agree(source, members)
    values = {
        **first.values(),
        "name": content.get("name") or _name(weights),
        "title": content.get("title") or "Mix: " + ", ".join(f"{w:g} {Path(n).stem}" for n, w in weights.items()),
        "description": content.get("description") or "Users of several scenarios at the same time.",
    }
    for name in ("load", "abort"):
        if name in source.content:
            values[name] = content[name]
        elif isinstance(content.get(name), dict):  # by overrides alone: over what the first scenario has
            values[name] = {**as_table(values.get(name)), **as_table(content[name])}
    values["slo"] = content.get("slo") or {}
    values["engine"] = _without_parser(source, _engine(source, content, members, own_overrides), members, own_overrides)
    values.pop("mix", None)
    whole = validated(values, source.where, tuple(own_overrides))
    parts = _parts(source, weights, members)
    return whole.model_copy(
        update={
            "mix": Mix(
                of=_of(source, of, whole.open_loop),
                parts=parts,
                disturbs=_disturbing(source, as_table(content["mix"]).get("disturbs"), members, parts),
            )
        }
    )


def _names(table: Mapping[str, object]) -> list[str]:
    """The scenarios of a table [mix]."""
    return [str(name) for name in table if name not in _NOT_WEIGHTS]


def _disturbing(
    source: MixSource, disturbs: object, members: Mapping[str, Scenario], parts: tuple[MixPart, ...]
) -> tuple[str, ...]:
    """User classes of the scenarios named by mix.disturbs."""
    wanted = [disturbs] if isinstance(disturbs, str) else [] if disturbs is None else disturbs
    if not isinstance(wanted, list) or any(name not in members for name in wanted):
        raise _wrong(source, f"mix.disturbs is {disturbs!r}, but should be scenarios of the mix: {', '.join(members)}")
    scenarios = {members[name].name for name in wanted}
    classes = tuple(part.user_class for part in parts if part.scenario in scenarios)
    if len(classes) == len(parts):
        raise _wrong(source, "mix.disturbs names every scenario of the mix: no class is left to be disturbed")
    return classes


def _wrong(source: MixSource, sentence: str) -> UserError:
    return UserError(Exit.USAGE, f"{source.where}: {sentence}")


def _own(source: MixSource) -> dict[str, object]:
    """The mix's own keys. Tables named after its scenarios go into these; any other is refused."""
    members = _names(as_table(source.content["mix"]))
    for key in source.content:
        if key not in _OWN and key not in members:
            raise _wrong(
                source,
                f"[{key}] is of each scenario of a mix: write [{Path(members[0]).stem}.{key}], or it "
                f"stays as that scenario has it (a mix's own: {', '.join(_OWN_TABLES)})"
                if key in Scenario.model_fields
                else unknown("key", key, [*_OWN, *members]),
            )
    return {key: value for key, value in source.content.items() if key in _OWN}


def _split(overrides: Mapping[str, str], members: list[str]) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """The overrides of the mix itself, and those of each scenario: `chat.output.max_tokens` is of chat.

    A scenario's own table is meant by its scenario's name too: `rag.documents`.
    """
    own: dict[str, str] = {}
    of_members: dict[str, dict[str, str]] = {name: {} for name in members}
    for key, value in overrides.items():
        member = next((name for name in members if key.startswith((f"{name}.", f"{Path(name).stem}."))), None)
        if member is not None:
            rest = key.removeprefix(f"{member}.").removeprefix(f"{Path(member).stem}.")
            if rest.split(".")[0] in _OF_ALL:
                raise UserError(Exit.USAGE, f"SET: {key}: this is the mix's own: write {rest}")
            of_members[member][rest] = value
        elif key.split(".")[0] in _OWN:
            own[key] = value
        else:
            raise UserError(
                Exit.USAGE,
                f"SET: {key} is of one scenario, and this is a mix of "
                f"{' and '.join(members)}: write {Path(members[0]).stem}.{key}",
            )
    return own, of_members


def _weights(source: MixSource, table: Mapping[str, object]) -> tuple[dict[str, float], MixOf | None]:
    of = next((each for each in get_args(MixOf) if each == table.get("of")), None)
    if of is None and table.get("of") is not None:
        raise _wrong(
            source, f"mix.of is {table.get('of')!r}, but should be one of '{USERS}', '{SESSIONS}' or '{REQUESTS}'"
        )
    weights = {}
    for name, weight in table.items():
        if name in _NOT_WEIGHTS or weight is None:
            continue
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight <= 1e9:
            raise _wrong(
                source, f"the weight of {name} is {weight!r}, but should be a number above 0 (and at most 1e+09)"
            )
        weights[str(name)] = float(weight)
    if not weights:
        raise _wrong(source, "[mix] names no scenario: write rag = 6")
    return weights, of


def _members(
    source: MixSource, weights: Mapping[str, float], overrides: Mapping[str, Mapping[str, str]]
) -> dict[str, Scenario]:
    """The scenarios by the name under which the mix has them."""
    members = {}
    of_all = {key: value for key, value in source.overrides.items() if key.split(".")[0] in _COMMON}
    takers = [name for name in weights if source.takes_data(name)] if source.data is not None else []
    if source.data is not None and not takers:
        raise _wrong(source, 'no scenario of this mix takes a file of prompts (DATA); SCENARIO="dataset:1 ..." has one')
    for name in weights:
        own = source.content.get(name, {})
        if not isinstance(own, dict):
            raise _wrong(source, f"{name} should be a table")
        if (key := next((key for key in own if key in _OF_ALL), None)) is not None:
            raise _wrong(source, f"[{name}.{key}] is the mix's own: write [{key}]")
        common = {key: source.content[key] for key in _COMMON if isinstance(source.content.get(key), dict)}
        members[name] = source.load_one(
            name, {**common, **own}, {**of_all, **overrides.get(name, {})}, source.data if name in takers else None
        )
        if members[name].workload_settings.each_once:
            raise _wrong(
                source,
                f"{name} sends each session once and is over then, so it cannot be part of a mix: "
                'give it another order (dataset.order = "shuffle", replay.pacing = "load")',
            )
    return members


def _agree(source: MixSource, members: Mapping[str, Scenario]) -> None:
    """Refuse what cannot be otherwise for each class: the state of the prompts, the endpoint."""
    if len({repr(member.endpoint) for member in members.values()}) > 1:
        raise _wrong(
            source,
            "the scenarios of the mix put requests to the endpoint in different ways: say which in "
            "the mix's own [endpoint]",
        )
    states = {name: member.prompts.state for name, member in members.items()}
    if len(set(states.values())) > 1:
        shown = ", ".join(f"{name} {state}" for name, state in states.items())
        raise _wrong(
            source,
            f"the scenarios of the mix ask for different prompts.state ({shown}): say which in the mix's "
            "own [prompts], or SET prompts.state=steady",
        )


def _engine(
    source: MixSource, content: Mapping[str, object], members: Mapping[str, Scenario], overrides: Mapping[str, str]
) -> object:
    """The engine settings: the mix's own, or those in which its scenarios agree, with the overrides put in."""
    if "engine" in source.content:
        return content["engine"]
    raw = any(member.workload_settings.raw_reasoning for member in members.values())
    flat = {name: _flat(member.engine) for name, member in members.items()}
    set_by_hand = {key.removeprefix("engine.") for key in overrides if key.startswith("engine.")}
    differing = {
        key
        for settings in flat.values()
        for key in settings
        if len({repr(each.get(key)) for each in flat.values()}) > 1
        and key not in set_by_hand
        and not (raw and key == "reasoning_parser")
    }
    if differing:
        shown = "; ".join(
            f"engine.{key}: "
            + ", ".join(
                f"{name} {'leaves it to the engine' if (value := settings.get(key)) is None else value}"
                for name, settings in flat.items()
            )
            for key in sorted(differing)
        )
        raise _wrong(
            source,
            f"the scenarios of the mix ask for different engine settings ({shown}): one engine serves "
            f"all, so say which in the mix's own [engine], or SET engine.{min(differing)}=...",
        )
    agreed = next(iter(members.values())).values()["engine"]
    return with_overrides(
        {"engine": agreed}, {key: value for key, value in overrides.items() if key.startswith("engine.")}
    )["engine"]


def _without_parser(
    source: MixSource, engine: object, members: Mapping[str, Scenario], overrides: Mapping[str, str]
) -> object:
    """The engine settings of a mix of which a scenario wants the model's think tags as they are: no parser takes them
    out for anybody."""
    raw = [name for name, member in members.items() if member.workload_settings.raw_reasoning]
    if not raw or not isinstance(engine, dict):
        return engine
    by_hand = {"the mix": engine.get("reasoning_parser")} if "engine.reasoning_parser" in overrides else {}
    wanted = by_hand | {name: member.engine.reasoning_parser for name, member in members.items() if name not in raw}
    for name, parser in wanted.items():
        if parser not in (None, NO_PARSER):
            raise _wrong(
                source,
                f"{raw[0]} wants reasoning as it is written (reasoning.format is raw), and {name} a parser that takes "
                f"it out (engine.reasoning_parser {parser}): one engine serves all, so leave one of them",
            )
    return {**engine, "reasoning_parser": NO_PARSER}


def _flat(settings: EngineSettings) -> dict[str, object]:
    """The settings by dotted name, those that only one engine has included."""
    return {
        **settings.canonical(),
        **{
            f"{engine}.{key}": value
            for engine, table in settings.engine_specific_settings().items()
            for key, value in table.items()
        },
    }


def _of(source: MixSource, of: MixOf | None, open_loop: bool) -> MixOf:
    if of is None:
        return SESSIONS if open_loop else USERS
    if of == USERS and open_loop:
        raise _wrong(
            source,
            "mix.of is 'users', but with a rate (load.rate) there are none to have shares of: its "
            "weights can be of 'sessions' or 'requests'",
        )
    if of == SESSIONS and not open_loop:
        raise _wrong(
            source,
            "mix.of is 'sessions', but without a rate (load.rate) sessions begin as users come to "
            "them: its weights can be of 'users' or 'requests'",
        )
    return of


def _parts(source: MixSource, weights: Mapping[str, float], members: Mapping[str, Scenario]) -> tuple[MixPart, ...]:
    """The user classes. Where two scenarios have users of the same class, its name is made one for each."""
    seen = {name: user_classes_in(member.locustfile_path) for name, member in members.items()}
    files = {str(member.locustfile_path): seen[name] for name, member in members.items()}
    bases = Counter(each.name for classes in files.values() for each in classes)
    if (twice := next((name for name, count in bases.items() if count > 1), None)) is not None:
        raise _wrong(source, f"two locustfiles of the mix have a user class {twice}; rename one")
    names = Counter(each.name for classes in seen.values() for each in classes)
    twice = next((name for name, count in Counter(each.name for each in members.values()).items() if count > 1), None)
    if twice is not None:
        raise _wrong(source, f"two scenarios of the mix have the name {twice}; rename one (name = ...)")
    parts = []
    for name, member in members.items():
        inside = sum(each.weight for each in seen[name])
        for each in seen[name]:
            own = each.name if names[each.name] == 1 else f"{each.name}_{re.sub(r'[^A-Za-z0-9]', '_', member.name)}"
            parts.append(
                MixPart(
                    scenario=member.name,
                    user_class=own,
                    weight=weights[name] * each.weight / inside,
                    base=each.name,
                    locustfile=member.locustfile,
                    values=member.values(),
                )
            )
    return tuple(parts)


def _name(weights: Mapping[str, float]) -> str:
    words = [f"{re.sub(r'[^A-Za-z0-9._]', '', Path(name).stem)}{weight:g}" for name, weight in weights.items()]
    return f"mix-{'-'.join(words)}"[:_LONGEST_NAME].rstrip("-.+")
