"""Tiers of limits ([slo.tiers], or a file of compose/tiers): the limits for each request, and the share that must meet
them.

A tier is a table of latency limits written as in [slo] (`ttft_p99_ms = 450`: the limit is 450 ms), and `target`, the
share of requests that must meet all of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from tokenswarm.base.data_files import COMPOSE_DIR
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.lookup import FileKind
from tokenswarm.base.sentences import unknown
from tokenswarm.base.toml_text import decode
from tokenswarm.contract.objectives import bounds_of, parse_slo_key

FILES = FileKind("tiers", ".toml", COMPOSE_DIR / "tiers", "file of tiers")
TARGET = "target"


def checked_tiers(tiers: object) -> str | dict[str, dict[str, float]]:
    """The value of `slo.tiers`: a file name, or a table of tiers. Raises ValueError that says what is wrong."""
    if isinstance(tiers, str):
        return tiers
    if not isinstance(tiers, Mapping):
        raise ValueError('slo.tiers is the name of a file in compose/tiers, such as "mlperf", or a table of tiers')
    return {str(name): _tier(str(name), table) for name, table in tiers.items()}


def _tier(name: str, table: object) -> dict[str, float]:
    if not isinstance(table, Mapping):
        raise ValueError(f"slo.tiers.{name} should be a table of limits, such as {{ ttft_p95_ms = 500 }}")
    for key, value in table.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise ValueError(f"slo.tiers.{name}.{key} is {value!r}, but should be a number of at least 0")
        if key == TARGET:
            if not 0 < value < 1:
                raise ValueError(f"slo.tiers.{name}.target is {value!r}, but should be a share above 0 and below 1")
        elif (parsed := parse_slo_key(str(key))) is None or parsed.percentile is None:
            raise ValueError(f"slo.tiers.{name}.{key} bounds no latency of a request; use keys such as ttft_p95_ms")
    if not bounds_of(table):
        raise ValueError(f"slo.tiers.{name} has no limit on a latency, such as ttft_p95_ms")
    return {str(key): float(value) for key, value in table.items()}


def tiers_of(
    tiers: str | Mapping[str, Mapping[str, float]], target: float
) -> dict[str, tuple[dict[str, float], float]]:
    """Each tier's limits by latency, in ms, and its target, by tier name. `target` is the default for tiers without
    one.

    Raises UserError (USAGE) if a file does not exist or has no tiers.
    """
    tables = _read(tiers) if isinstance(tiers, str) else tiers
    return {name: (bounds_of(table), float(table.get(TARGET, target))) for name, table in tables.items()}


def _read(name: str) -> Mapping[str, Mapping[str, float]]:
    """The tiers in a file, or only one of them for `FILE:TIER`."""
    file, _, chosen = name.partition(":")
    path = FILES.find(file)
    if path is None:
        raise UserError(Exit.USAGE, FILES.missing(file))
    try:
        tables = checked_tiers(decode(path.read_text("utf-8")).get("tiers"))
        if isinstance(tables, str):
            raise ValueError(f"tiers is '{tables}', but should be a table of tiers")
    except (OSError, ValueError) as error:
        raise UserError(Exit.USAGE, f"{path}: {error}") from None
    if not chosen:
        return tables
    few = {each: table for each, table in tables.items() if each == chosen or each.startswith(f"{chosen}-")}
    if not few:
        raise UserError(Exit.USAGE, unknown(f"tier of {file}", chosen, tables))
    return few
