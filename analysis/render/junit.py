"""junit.xml of a run, for CI."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence

from tokenswarm.analysis.verdict.gates import FAILED, SKIPPED, Case, cases

from tokenswarm.contract.summary.summary_record import Summary

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(summary: Summary, strict: bool = False) -> str:
    """junit.xml: one suite, one case per gate or check, the figures in the message. Names are the same in every run."""
    run = summary.run
    return junit_of(run.scenario.name or "scenario", cases(summary, strict), run.window.seconds or 0.0, run.started_at)


def junit_of(scenario: str, of_run: Sequence[Case], seconds: float, started_at: str | None = None) -> str:
    """The same for any cases."""
    suite = ElementTree.Element(
        "testsuite",
        {
            "name": f"tokenswarm.{_clean(scenario)}",
            "tests": str(len(of_run)),
            "failures": str(sum(case.state == FAILED for case in of_run)),
            "errors": "0",
            "skipped": str(sum(case.state == SKIPPED for case in of_run)),
            "time": f"{seconds:.3f}",
            "timestamp": _clean(started_at or "1970-01-01T00:00:00Z").rstrip("Z"),
        },
    )
    for case in of_run:
        element = ElementTree.SubElement(
            suite, "testcase", {"classname": f"tokenswarm.{_clean(scenario)}", "name": _clean(case.name), "time": "0"}
        )
        if case.state == FAILED:
            ElementTree.SubElement(element, "failure", {"message": _clean(case.message), "type": "gate"}).text = _clean(
                case.message
            )
        elif case.state == SKIPPED:
            ElementTree.SubElement(element, "skipped", {"message": _clean(case.message)})
        else:
            ElementTree.SubElement(element, "system-out").text = _clean(case.message)
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def _clean(text: str) -> str:
    """Text without characters that XML cannot contain, however they are written."""
    return _NOT_XML.sub("\ufffd", text)
