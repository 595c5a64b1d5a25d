"""What a run's gates come to: cases for CI, the exit state, junit.xml and a Markdown summary.

A gate is met, missed or undetermined. Undetermined passes, unless it is judged strictly.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tokenswarm.analysis import wording as text
from tokenswarm.analysis.figures import outages
from tokenswarm.analysis.figures.drift import DRIFTING, STEPPED
from tokenswarm.analysis.figures.drift_series import sentence as drift_sentence
from tokenswarm.analysis.read.run_folder import dig
from tokenswarm.analysis.wording import bound_words, load_sentence, verdict_words

from tokenswarm.contract.metric import Place
from tokenswarm.contract.metrics import METRICS

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STATES = {strict: {"met": PASSED, "missed": FAILED, "undetermined": FAILED if strict else SKIPPED}
           for strict in (False, True)}
_NOT_ENDED = ("run_ended", "still_going")
_MARKS = {"met": "✅", "missed": "❌", "undetermined": "❔"}


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that CI counts: a gate, the run's validity, or that requests succeed at all."""

    name: str
    state: str
    """passed | failed | skipped."""
    message: str


def cases(summary: Mapping[str, Any], strict: bool = False) -> list[Case]:
    """The cases of a run, gravest first: whether it is whole and valid, whether requests succeed, then each gate."""
    verdict, counts = summary["verdict"], summary["counts"]["measured"]
    reasons = "; ".join(reason["sentence"] for reason in summary["reasons"] if reason["verdict"] == verdict)
    ended = "; ".join(reason["sentence"] for reason in summary["reasons"] if reason["rule"] in _NOT_ENDED)
    found = [
        Case("valid", PASSED if verdict == "VALID" else FAILED, f"{verdict}{': ' + reasons if reasons else ''}"),
        Case("ended as planned", FAILED if ended else PASSED, ended or "the run went on to its end"),
        Case("requests succeed", PASSED if counts["ok"] or not counts["sent"] else FAILED,
             f"{counts['ok']:,} ok, {counts['failed']:,} failed, {counts['cancelled']:,} cancelled"),
    ]
    found += [_gate(gate, strict) for gate in summary["slo"]]
    for name, gates in (("baseline", _baseline(summary)), ("drift", _drift(summary))):
        found += [Case(f"{name}.{gate['key']}", _STATES[strict][gate["state"]], gate["sentence"]) for gate in gates]
    return found


def _baseline(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    return (summary.get("baseline") or {}).get("gates", [])


def _drift(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    return summary.get("drift_gates") or []


def _gate(gate: Mapping[str, Any], strict: bool) -> Case:
    return Case(f"slo.{gate['key']}", _STATES[strict][gate["state"]], sentence(gate))


def sentence(gate: Mapping[str, Any]) -> str:
    """`TTFT p95: 512 ms (480 – 540), limit <= 400 ms: missed by 28%`."""
    figure = gate["figure"]
    if figure["value"] is None:
        return f"{gate['title']}: undetermined, {figure.get('why') or 'not measured'}; limit {bound_words(dict(gate))}"
    between = text.interval(figure)
    return (f"{gate['title']}: {text.quantity(figure)}{f' ({between})' if between else ''}, limit "
            f"{bound_words(dict(gate))}: {verdict_words(dict(gate))}")


def missed(summary: Mapping[str, Any], strict: bool = False) -> bool:
    """Whether any gate is missed (or undetermined, if judged strictly), those of baseline and drift too."""
    bad = ("missed", "undetermined") if strict else ("missed",)
    return any(gate["state"] in bad for gate in (*summary["slo"], *_baseline(summary), *_drift(summary)))


def junit(summary: Mapping[str, Any], strict: bool = False) -> str:
    """junit.xml: one suite, one case each, the figures in the message. Names are stable from run to run."""
    found = cases(summary, strict)
    scenario = str(summary["run"]["scenario"]["name"] or "scenario")
    window_s = summary["run"]["window"]["seconds"] or 0.0
    suite = ElementTree.Element("testsuite", {
        "name": f"tokenswarm.{_clean(scenario)}", "tests": str(len(found)),
        "failures": str(sum(case.state == FAILED for case in found)), "errors": "0",
        "skipped": str(sum(case.state == SKIPPED for case in found)), "time": f"{window_s:.3f}",
        "timestamp": _clean(str(summary["run"]["started_at"] or "1970-01-01T00:00:00Z")).rstrip("Z")})
    for case in found:
        element = ElementTree.SubElement(suite, "testcase", {
            "classname": f"tokenswarm.{_clean(scenario)}", "name": _clean(case.name), "time": "0"})
        if case.state == FAILED:
            ElementTree.SubElement(element, "failure", {"message": _clean(case.message), "type": "gate"}).text = \
                _clean(case.message)
        elif case.state == SKIPPED:
            ElementTree.SubElement(element, "skipped", {"message": _clean(case.message)})
        else:
            ElementTree.SubElement(element, "system-out").text = _clean(case.message)
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def _clean(said: str) -> str:
    """Text without the characters that XML cannot hold, however they are written."""
    return _NOT_XML.sub("\ufffd", said)


def markdown(summary: Mapping[str, Any], strict: bool = False) -> str:
    """A summary for a pull request's comment or a CI step: verdict, gates, figures with intervals."""
    run, engine = summary["run"], summary["run"]["engine"]
    name = " ".join(str(part) for part in (engine["title"] or engine["name"] or "engine", engine["version"]) if part)
    failed = [case for case in cases(summary, strict) if case.state == FAILED]
    head = "❌ " + escape(failed[0].message) if failed else "✅ every gate is met" if summary["slo"] else "✅ valid"
    out = [f"### {escape(name)} · {escape(run['scenario']['name'] or 'scenario not known')}", "", head, "",
           f"{escape(run['model'] or 'model not known')}, {escape(load_sentence(dict(summary)))}, measured for "
           f"{text.duration(run['window']['seconds'])}. **{summary['verdict']}**"
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
        out += [f"- {_MARKS[gate['state']]} {escape(gate['sentence'])}" for gate in _baseline(summary)]
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
