"""An engine's reported configuration in canonical names: pure functions of its endpoints' responses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tokenswarm.engines.spec.engine_spec import EngineSpec, Scalar, Source
from tokenswarm.engines.spec.metrics_text import Sample

_MISSING = object()
"""The path is missing from the response; null differs, since it means that something is not in use."""

_MOST_CHARS = 500
"""Of a value that is a text."""
_FALSE = ("false", "0", "no", "none", "null", "")


def endpoints_needed(description: EngineSpec) -> list[str]:
    """Endpoints whose JSON the effective configuration and the version are read from, without repeats."""
    sources = [*description.version, *(source for sources in description.effective.values() for source in sources)]
    return list(dict.fromkeys(source.endpoint for source in sources if source.endpoint is not None))


def metrics_needed(description: EngineSpec) -> frozenset[str]:
    """Names of the metrics whose values or labels are read for the same purpose."""
    sources = [source for sources in description.effective.values() for source in sources]
    return frozenset(source.metric for source in sources if source.metric is not None)


def dig(document: object, path: str) -> object:
    """The value at a dotted path of keys and list positions; None where there is no such place."""
    value = _dig(document, path)
    return None if value is _MISSING else value


def _dig(document: object, path: str) -> object:
    for part in path.split("."):
        if isinstance(document, Mapping):
            document = document.get(part, _MISSING)
        elif isinstance(document, Sequence) and not isinstance(document, str) and part.isdigit():
            document = document[int(part)] if int(part) < len(document) else _MISSING
        else:
            return _MISSING
    return document


def read(
    sources: Sequence[Source],
    documents: Mapping[str, object],
    metrics: Mapping[str, Sequence[Sample]],
    known: Mapping[str, Scalar],
) -> Scalar | None:
    """The value from the first source that has one.

    `documents` is endpoint -> JSON, `metrics` is metric -> series, `known` holds values read before (for products).
    """
    for source in sources:
        raw = _raw(source, documents, metrics, known)
        if raw is _MISSING or (str(raw) == "None" and "None" not in source.values):
            continue
        value = _convert(source, raw)
        if value is not None:
            return value
    return None


def _raw(
    source: Source,
    documents: Mapping[str, object],
    metrics: Mapping[str, Sequence[Sample]],
    known: Mapping[str, Scalar],
) -> object:
    if source.product is not None:
        factors = [known[name] for name in source.product if known.get(name) is not None]
        return math.prod(map(int, factors)) if len(factors) == len(source.product) else _MISSING
    if source.metric is not None:
        series = metrics.get(source.metric, ())
        if not series:
            return _MISSING
        return series[0].labels.get(source.label, _MISSING) if source.label else series[0].value
    return _dig(documents.get(source.endpoint or ""), source.path or "")


def _convert(source: Source, raw: object) -> Scalar | None:
    if isinstance(raw, int) and source.product is not None:
        return raw
    text = str(raw).removeprefix(source.strip_prefix)
    if text in source.values:
        return source.values[text]
    if source.only_values:
        return None
    try:
        if source.kind == "int":
            return int(float(text))
        if source.kind == "float":
            return float(text)
    except (ValueError, OverflowError):
        return None
    if source.kind == "bool":
        return text.lower() not in _FALSE
    if source.kind == "not":
        return text.lower() in _FALSE
    return text[:_MOST_CHARS]


def configuration(
    description: EngineSpec, documents: Mapping[str, object], metrics: Mapping[str, Sequence[Sample]]
) -> dict[str, Scalar]:
    """All effective values that the engine reports, by canonical name; what it does not report is left out."""
    result: dict[str, Scalar] = {}
    # Products come last, since they are made of the others.
    order = sorted(description.effective.items(), key=lambda item: any(source.product for source in item[1]))
    for name, sources in order:
        value = read(sources, documents, metrics, result)
        if value is not None:
            result[name] = value
    return result
