"""Names for the two sides of a comparison that say how they differ."""

from __future__ import annotations

from collections.abc import Mapping

from tokenswarm.contract.engine_title import NOT_KNOWN, engine_title
from tokenswarm.contract.summary.summary_record import Summary

OF_THE_PAIR = frozenset({"prompts.salt", "prompts.seed", "load.warmup_s", "load.answer_s"})
"""Values that a comparison sets per pair; they are not settings of a side."""
_MOST_KEYS = 3
"""Maximum number of settings in a name; the page has all."""
_LOAD = ("users", "rate", "duration_s", "workers")


def engine_name(summary: Summary) -> str:
    """The engine's display name."""
    return engine_title(summary.run.engine.title, summary.run.engine.name)


def engine_version(summary: Summary) -> str:
    """The display name with the version."""
    name = engine_name(summary)
    return name if name == NOT_KNOWN else f"{name} {summary.run.engine.version or 'of unknown version'}"


def side_names(a: Summary, b: Summary) -> tuple[str, str]:
    """Names of two sides, from one run of each, by the first property that differs: engine, version, model, the user's
    label, GPUs, SET, the effective configuration, scenario, load, host.

    If none differs: the engine's name with (1) and (2).
    """
    plain = (
        engine_name,
        engine_version,
        lambda summary: str(summary.run.model),
        lambda summary: summary.run.label or "",
        lambda summary: ", ".join(summary.run.gpus),
    )
    for name in plain:
        if name(a) != name(b) and name(a) and name(b):
            return name(a), name(b)
    tables = ((_set(a), _set(b)), (a.run.effective, b.run.effective), (_load(a), _load(b)))
    for first, other in tables:
        if names := _differing(first, other):
            return names
    hosts = tuple((summary.run.engine.base_url or "").partition("//")[2].rpartition(":")[0] for summary in (a, b))
    if hosts[0] != hosts[1] and all(hosts):
        return hosts[0], hosts[1]
    return f"{engine_name(a)} (1)", f"{engine_name(b)} (2)"


def _set(summary: Summary) -> dict[str, object]:
    return {key: value for key, value in summary.run.overrides.items() if key not in OF_THE_PAIR}


def _load(summary: Summary) -> dict[str, object]:
    load = {key: getattr(summary.run.load, key, None) for key in _LOAD}
    return {"scenario": summary.run.scenario.name, **{key: value for key, value in load.items() if value is not None}}


def _differing(first: Mapping[str, object], other: Mapping[str, object]) -> tuple[str, str] | None:
    """`prefix_cache=true` and `prefix_cache=false`: the keys whose values differ; None if none do."""
    keys = [key for key in dict.fromkeys((*first, *other)) if first.get(key) != other.get(key)]
    if not keys:
        return None
    more = f" and {len(keys) - _MOST_KEYS} more" if len(keys) > _MOST_KEYS else ""
    a, b = (
        " ".join(f"{key.removeprefix('engine.')}={_shown(table.get(key))}" for key in keys[:_MOST_KEYS]) + more
        for table in (first, other)
    )
    return a, b


def _shown(value: object) -> str:
    return "unset" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
