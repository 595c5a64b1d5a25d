"""Writes the tables of these pages that say what the code says. `make docs` runs it; a test checks that it was run.

    python -m docs.generate           write them
    python -m docs.generate --check   exit with 1 and name the pages that are not current

A table stands between `<!-- generated: NAME -->` and `<!-- end of NAME -->`; NAME is one of TABLES.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from tokenswarm.analysis.verdict.outcome import OUTCOMES

from docs import grafana
from tokenswarm.contract import tables
from tokenswarm.contract.metric import LOWER, Latency, Metric, Place, Rate
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.objectives import slo_latencies, slo_rates
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.live.prometheus import exported
from tokenswarm.scenario.distribution import Distribution
from tokenswarm.scenario.mix import Mix
from tokenswarm.scenario.model import Scenario
from tokenswarm.scenario.workload_kinds import WORKLOADS

FOLDER = Path(__file__).parent
_BLOCK = re.compile(
    r"(?P<begin><!-- generated: (?P<name>.+?) -->\n)(?P<table>.*?)(?P<end><!-- end of (?P=name) -->)", re.DOTALL
)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    first, *rest = (f"| {' | '.join(cells)} |\n" for cells in (list(head), *rows))
    return first + "|---" * (first.count(" | ") + 1) + "|\n" + "".join(rest)


# ---- metrics


def latencies() -> str:
    return table(
        ("name", "formula", "notes"),
        ((each.title, each.formula, _sentences(each.meaning, each.notes)) for each in METRICS.latencies()),
    )


def rates() -> str:
    return table(
        ("name", "formula", "notes"),
        ((f"{_lower(each.title)}{_unit(each)}", each.formula, each.notes) for each in METRICS.rates()),
    )


def registry() -> str:
    """Every metric, and where it is used."""
    return table(
        ("metric", "title", "unit", "better", "in summary.json", "`[slo]`", "live", "compared", "made of", "source"),
        (
            (
                f"`{each.name}`",
                each.title,
                each.unit or "number",
                each.better,
                _where(each),
                _slo(each),
                _yes(each.live),
                "headline" if each.headline else _yes(each.compared),
                ", ".join(f"`{name}`" for name in each.columns),
                each.source,
            )
            for each in METRICS
        ),
    )


def slo_keys(prefix: str = "") -> str:
    names = ", ".join(f"`{each.name}`" for each in slo_latencies()[:-1]) + f" or `{slo_latencies()[-1].name}`"
    rows = [
        (
            f"`{prefix}<latency>_p<q>_ms`",
            f"that percentile is at most this many ms; latency is {names}. Two digits are whole percent (`p95`, "
            "`p99`); three and more are decimals: `p999` is 99.9",
        )
    ]
    for rate in slo_rates():
        plain = f"at {'most' if rate.better == LOWER else 'least'} this value: {rate.formula}"
        rows.append((f"`{prefix}{rate.slo_key}`", rate.at(Place.GATE).note if Place.GATE in rate.places else plain))
    return table(("key", "met if"), rows)


def _sentences(first: str, second: str) -> str:
    return f"{first}. {second[0].upper()}{second[1:]}" if second else first


def _lower(title: str) -> str:
    return title if title[:2].isupper() else title[0].lower() + title[1:]


def _unit(metric: Metric) -> str:
    return "" if metric.unit in ("share", "") else f" ({metric.unit})"


def _yes(is_so: bool) -> str:
    return "yes" if is_so else ""


def _where(metric: Metric) -> str:
    if isinstance(metric, Latency):
        return f"`latency.{metric.key}`"
    if not isinstance(metric, Rate):
        return ""
    reached = metric.figure_of(cast(Summary, _Reached()))
    return f"`{'.'.join(cast(_Reached, reached).names)}`"


class _Reached:
    """Takes the place of a summary, to record which of its fields a metric's figure is read from."""

    def __init__(self, names: tuple[str, ...] = ()) -> None:
        self.names = names

    def __getattr__(self, name: str) -> _Reached:
        return _Reached((*self.names, name))

    def get(self, key: str) -> _Reached:
        return _Reached((*self.names, key))


def _slo(metric: Metric) -> str:
    if not metric.slo:
        return ""
    return f"`{metric.name}_p<q>_ms`" if isinstance(metric, Latency) else f"`{metric.slo_key}`"


# ---- a scenario's keys


def keys_of(model: type[BaseModel], prefix: str) -> str:
    """The keys of one table of a scenario; nested tables have their own."""
    return table(
        ("key", "default", "meaning"),
        (
            (f"`{prefix}{name}`", default_of(field), field.description or "")
            for name, field in model.model_fields.items()
            if prefix or not _is_table(field)
        ),
    )


def _is_table(field: FieldInfo) -> bool:
    return _table_of(field) is not None or get_origin(field.annotation) is dict


def _table_of(field: FieldInfo) -> type[BaseModel] | None:
    kinds = [field.annotation, *get_args(field.annotation)]
    return next(
        (
            kind
            for kind in kinds
            if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in (Distribution, Mix)
        ),
        None,
    )  # a mix consists of names and weights: docs/traffic.md


def default_of(field: FieldInfo) -> str:
    """A key's default as it would be written in a scenario."""
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if default is None:
        return "unset"
    if default in ({}, ()):
        return "none"
    return f"`{_toml(default)}`"


def _toml(value: Any) -> str:
    if isinstance(value, Distribution):
        kept = value.model_dump(exclude_none=True)
        if not isinstance(kept, Mapping):
            return _toml(kept)
        return _toml(kept["value"]) if kept["kind"] == "constant" else _toml(kept)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)


def scenario_tables(model: type[BaseModel] = Scenario, prefix: str = "") -> dict[str, type[BaseModel]]:
    """The tables of a scenario by dotted name, including nested ones."""
    models: dict[str, type[BaseModel]] = (
        {name: WORKLOADS.get(name).Settings for name in WORKLOADS.names()} if model is Scenario else {}
    )
    for name, field in model.model_fields.items():
        inner = _table_of(field)
        if inner is not None:
            models |= {prefix + name: inner, **scenario_tables(inner, f"{prefix}{name}.")}
    return models


# ---- the tables of a run folder, and what Prometheus gets


def columns_of(columns: Iterable[tables.Column]) -> str:
    return table(("column", "unit", "meaning"), ((f"`{each.name}`", each.kind, each.meaning) for each in columns))


def errors() -> str:
    return table(("error", "meaning"), ((f"`{kind}`", meaning) for kind, meaning in tables.ERROR_KINDS.items()))


def outcomes() -> str:
    """How a run can come out, most serious first."""
    return table(
        ("outcome", "when", "verdict on the figures", "exit code"),
        (
            (
                each.headline,
                each.when,
                each.verdict,
                f"that of the cause, else {each.code.value}" if each.tells_cause else str(each.code.value),
            )
            for each in OUTCOMES
        ),
    )


def prometheus() -> str:
    return table(
        ("metric", "kind", "labels", "meaning"),
        (
            (f"`{each.name}`", each.kind, ", ".join(f"`{label}`" for label in each.labels), each.meaning)
            for each in exported()
        ),
    )


TABLES: Mapping[str, Callable[[], str]] = {
    "latencies": latencies,
    "rates": rates,
    "every metric": registry,
    "objectives": slo_keys,
    "keys of slo": lambda: slo_keys("slo."),
    "keys of a scenario": lambda: keys_of(Scenario, ""),
    **{
        f"keys of {name}": lambda name=name, model=model: keys_of(model, f"{name}.")
        for name, model in scenario_tables().items()
    },
    "requests.csv": lambda: columns_of(tables.REQUEST_COLUMNS),
    "prompts.csv": lambda: columns_of(tables.PROMPT_COLUMNS),
    "replay.csv": lambda: columns_of(tables.REPLAY_COLUMNS),
    "engine_metrics.csv": lambda: columns_of(tables.ENGINE_METRIC_COLUMNS),
    "host_metrics.csv": lambda: columns_of(tables.HOST_METRIC_COLUMNS),
    "errors": errors,
    "outcomes": outcomes,
    "prometheus": prometheus,
}


def current(text: str) -> str:
    """A page with its tables as generated now. Raises KeyError for an unknown table."""
    return _BLOCK.sub(lambda block: block["begin"] + TABLES[block["name"]]() + block["end"], text)


def pages() -> list[Path]:
    """The pages, in order."""
    return sorted(FOLDER.glob("*.md"))


def main(arguments: list[str]) -> int:
    """Write the tables and Grafana's dashboard; with --check, only report which are out of date."""
    made = [
        *((f"docs/{page.name}", page, current) for page in pages()),
        ("Grafana's dashboard", grafana.BOARD, grafana.current),
    ]
    stale = [(name, path, new) for name, path, make in made if (new := make(text := path.read_text("utf-8"))) != text]
    for name, path, new in stale:
        print(f"{name}: {'not current, run make docs' if '--check' in arguments else 'written'}")
        if "--check" not in arguments:
            path.write_text(new, encoding="utf-8")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
