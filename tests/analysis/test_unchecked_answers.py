"""If checks of answers timed out, their validity is unknown, so no gate on it is met or missed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenswarm.analysis.run_report import report

from tests.analysis.make_run import START, manifest, row, write_run


@pytest.mark.parametrize(
    ("odd", "state"), [({}, "met"), ({"not checked: the pattern x takes too long": 3}, "undetermined")]
)
def test_an_objective_on_valid_answers_is_undetermined_where_some_were_not_checked(
    tmp_path: Path, odd: dict[str, int], state: str
) -> None:
    rows = [
        row(request_id=str(n), sent_at=START + n * 0.05, valid_output=True if n < 997 or not odd else None)
        for n in range(1000)
    ]
    facts = manifest("rag", 60.0)
    facts["scenario"]["values"] = {"slo": {"valid_output_min": 0.9}}
    facts["counts"] = {"ok": 1000, "failed": 0, "cancelled": 0, "rows": 1000, "sent": 1000, "odd": odd}
    summary = report(write_run(tmp_path / "run", rows, facts), dashboard=False)
    (gate,) = [gate for gate in summary.slo if gate.key.startswith("valid_output")]
    assert gate.state == state
    assert bool(odd) is ("not checked" in ((gate.figure and gate.figure.why) or ""))
