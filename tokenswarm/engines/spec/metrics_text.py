"""Turns an engine's /metrics text into canonical columns: a pure function of the text and the engine's description."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from tokenswarm.base.numbers import is_sane
from tokenswarm.engines.spec.engine_spec import EngineMetric


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of a metric: its labels and its value."""

    labels: Mapping[str, str]
    value: float


def samples(text: str, wanted: frozenset[str]) -> dict[str, list[Sample]]:
    """All series of the wanted metrics, by name, from a text in the Prometheus exposition format.

    Engines export hundreds of series, most of them histogram buckets, and this runs every second beside a load
    generator: so lines are picked by name first and only those few are parsed. Invalid lines are skipped, since an
    engine's bug must not end a measurement.
    """
    result: dict[str, list[Sample]] = {name: [] for name in wanted}
    for line in text.splitlines():
        name = line.partition(" ")[0].partition("{")[0]
        if name not in wanted:
            continue
        try:
            for family in text_string_to_metric_families(line + "\n"):
                result[name].extend(
                    Sample(sample.labels, value) for sample in family.samples if is_sane(value := float(sample.value))
                )
        except (ValueError, IndexError, KeyError):
            continue
    return {name: series for name, series in result.items() if series}


def _value(metric: EngineMetric, series: Mapping[str, Sequence[Sample]]) -> float | None:
    for name in metric.names:
        chosen = [each for each in series.get(name, ()) if metric.where.items() <= each.labels.items()]
        values = [each.value for each in chosen]
        if values:
            if metric.combine == "max":
                return max(values)
            total = math.fsum(values)
            return total / len(values) if metric.combine == "mean" else total
    return metric.absent


def _whole(metric: EngineMetric, series: Mapping[str, Sequence[Sample]]) -> float | None:
    value = _value(metric, series)
    if metric.plus is None or value is None:
        return value
    added = [each.value for each in series.get(metric.plus, ())]
    return value + math.fsum(added) if added else None


def wanted_names(metrics: Mapping[str, EngineMetric]) -> frozenset[str]:
    """The engine's own names of all metrics that a description refers to."""
    return frozenset(
        name for metric in metrics.values() for name in [*metric.names, *([metric.plus] if metric.plus else [])]
    )


def canonical(text: str, metrics: Mapping[str, EngineMetric]) -> dict[str, float | None]:
    """Canonical name -> value, None where the engine does not export it.

    A text in which none of the described metrics occurs gives None everywhere, whatever `absent` says: it is not this
    engine's text.
    """
    series = samples(text, wanted_names(metrics))
    if not series:
        return dict.fromkeys(metrics)
    return {name: _whole(metric, series) for name, metric in metrics.items()}
