"""The figures of a summary that a place shows, by the registry of metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenswarm.analysis.read.run_folder import dig

from tokenswarm.contract.metric import Place, Rate
from tokenswarm.contract.metrics import METRICS

_OF_OBJECTIVES = "goodput"


def rate_figures(summary: Mapping[str, Any], place: Place) -> list[tuple[Rate, dict[str, Any]]]:
    """The rates and shares of a place with their figures, in its order: those that could be measured.

    Without an objective that bounds a request every success would be good, so goodput and attainment are none.
    """
    bounded = bool(summary["goodput"]["bounds"])
    figures = [(rate, dig(dict(summary), *rate.path)) for rate in METRICS.rates_at(place)
               if bounded or rate.path[0] != _OF_OBJECTIVES]
    return [(rate, figure) for rate, figure in figures if figure and figure["value"] is not None]
