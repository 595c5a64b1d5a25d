"""junit.xml of a run, for CI."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from typing import Any

from tokenswarm.analysis.verdict.gates import FAILED, SKIPPED, cases

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


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
