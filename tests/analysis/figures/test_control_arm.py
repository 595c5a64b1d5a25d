"""What a constraint costs, from two arms of one run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tokenswarm.analysis.figures.control_arm import compared, control_arm
from tokenswarm.analysis.read.run_folder import read_run

from tests.analysis.make_run import row, write_run


def test_the_difference_of_two_arms_has_its_interval() -> None:
    rng = np.random.default_rng(1)
    found = compared(rng.normal(12, 1, 300), rng.normal(10, 1, 100))
    low, high = found.difference_ms.ends
    assert low is not None and high is not None
    assert 1.6 < low < 2 < high < 2.4


def test_few_requests_of_an_arm_tell_nothing() -> None:
    found = compared(np.full(100, 10.0), np.full(3, 9.0))
    assert found.difference_ms.value is None and "20" in str(found.difference_ms.why)
    assert found.tpot_constrained_ms.value == 10


def test_arms_are_told_by_the_requests_documents(tmp_path: Path) -> None:
    rows = [
        row(document=name, ttft_ms=100.0, last_token_ms=100.0 + span, completion_tokens=11, status="ok")
        for name, span in (("flat", 200.0), ("control-flat", 100.0))
        for _ in range(25)
    ]
    requests = read_run(write_run(tmp_path, rows)).requests
    found = control_arm(requests, "structured")
    assert found is not None
    assert (found.tpot_constrained_ms.value, found.tpot_control_ms.value, found.difference_ms.value) == (20, 10, 10)
    assert control_arm(requests, "rag") is None
