"""A run in Markdown, for a pull request's comment or a CI step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenswarm.analysis import wording as text
from tokenswarm.analysis.figures import outages
from tokenswarm.analysis.figures.drift import DRIFTING, STEPPED
from tokenswarm.analysis.figures.drift_series import sentence as drift_sentence
from tokenswarm.analysis.read.run_folder import dig
from tokenswarm.analysis.verdict.gates import baseline_gates, judged
from tokenswarm.analysis.wording import bound_words, load_sentence, verdict_words

from tokenswarm.contract.metric import Place
from tokenswarm.contract.metrics import METRICS

_MARKS = {"met": "✅", "missed": "❌", "undetermined": "❔"}


def markdown(summary: Mapping[str, Any], strict: bool = False) -> str:
    """A summary for a pull request's comment or a CI step: verdict, gates, figures with intervals."""
    run, engine = summary["run"], summary["run"]["engine"]
    name = " ".join(str(part) for part in (engine["title"] or engine["name"] or "engine", engine["version"]) if part)
    outcome = judged(summary, strict)
    head = f"{'❌' if outcome['code'] else '✅'} **{escape(outcome['headline'])}**: {escape(outcome['sentence'])}"
    out = [f"### {escape(name)} · {escape(run['scenario']['name'] or 'scenario not known')}", "", head, "",
           f"{escape(run['model'] or 'model not known')}, {escape(load_sentence(dict(summary)))}, measured for "
           f"{text.duration(run['window']['seconds'])}. Figures: **{summary['verdict']}**"
           + (" · **SIMULATED**, no real engine was measured" if summary["simulated"] else ""), ""]
    if summary["slo"]:
        out += ["| gate | limit | measured | 95% interval | result |", "|---|---|---|---|---|"]
        for gate in summary["slo"]:
            figure = gate["figure"]
            value = text.quantity(figure) if figure["value"] is not None else str(figure.get("why") or "")
            cells = (gate["title"], bound_words(dict(gate)), value, text.interval(figure),
                     f"{_MARKS[gate['state']]} {verdict_words(dict(gate))}")
            out.append("| " + " | ".join(map(escape, cells)) + " |")
        out.append("")
    out += ["| figure | p50 | p95 | p99 |", "|---|---|---|---|"]
    for key, figures in summary["latency"].items():
        if figures["p50"].get("n"):
            cells = (f"{METRICS.latency(key).title} (ms)", *(_cell(figures[p]) for p in ("p50", "p95", "p99")))
            out.append("| " + " | ".join(map(escape, cells)) + " |")
    rates = [(rate.at(Place.MARKDOWN).title, dig(dict(summary), *rate.path))
             for rate in METRICS.rates_at(Place.MARKDOWN)]
    out.append("")
    out += [f"- {label}: {escape(text.quantity(figure))}" + (f" ({escape(text.interval(figure))})"
                                                            if text.interval(figure) else "")
            for label, figure in rates if figure and figure["value"] is not None]
    out += [f"- {escape(reason['sentence'])}" for reason in summary["reasons"]]
    if summary["outages"]["count"]:
        out.append(f"- {escape(outages.sentence(summary['outages']))}")
    out += [f"- {escape(series['title'])}: {escape(drift_sentence(series))}" for series in summary["drift"].values()
            if series["state"] in (DRIFTING, STEPPED)]
    if summary.get("baseline"):
        out += ["", f"Against {escape(summary['baseline']['run_id'])}:", ""]
        out += [f"- {_MARKS[gate['state']]} {escape(gate['sentence'])}" for gate in baseline_gates(summary)]
        out += [f"- {escape(note)}" for note in summary["baseline"]["notes"]]
    return "\n".join(out) + "\n"


def _cell(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return text.MISSING
    between = text.interval(figure)
    return text.number(figure["value"], figure["unit"]) + (f" ({between})" if between else "")


def escape(said: object) -> str:
    """Text in which Markdown and HTML find nothing to do."""
    escaped = str(said).replace("&", "&amp;").replace("<", "&lt;").replace("\r", " ").replace("\n", " ")
    for sign in "\\|*_`[]~":
        escaped = escaped.replace(sign, "\\" + sign)
    return escaped
