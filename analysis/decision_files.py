"""Writes decision.json, decision.md and decision.html."""

from __future__ import annotations

from pathlib import Path

from tokenswarm.analysis.render.decision_page import decision_markdown, decision_sentences, render_decision

from tokenswarm.base.files import write_whole
from tokenswarm.contract.decision_record import Decision, write_decision

DECISION_MD, DECISION_HTML = "decision.md", "decision.html"


def write_decision_files(decision: Decision, folder: Path) -> None:
    """Write the three files. Raises UserError (RESULTS)."""
    decision.sentence = decision_sentences(decision)[0]
    write_decision(folder, decision)
    write_whole(folder / DECISION_MD, decision_markdown(decision))
    write_whole(folder / DECISION_HTML, render_decision(decision, folder))
