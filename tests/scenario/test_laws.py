"""A user's own law of arrivals is tried before a run depends on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.scenario.loading import load_scenario


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("while True: yield -1.0", "gave the gap -1.0, but a gap is a number of at least 0"),
        ("while True: yield float('nan')", "gave the gap nan"),
        ("while True: yield 'soon'", "gave the gap 'soon'"),
        ("while True: yield 0.0", "gave gaps of 0 alone"),
        ("yield 1.0", "ends after 1 gaps, but should go on without end"),
        ("yield 1 / 0", "fails (ZeroDivisionError: division by zero)"),
    ],
)
def test_a_law_that_gives_no_gaps_is_refused(tmp_path: Path, body: str, sentence: str) -> None:
    law = tmp_path / "law.py"
    law.write_text(f"def gaps(rng, cv):\n    {body}\n")
    with pytest.raises(UserError, match="the law of arrivals") as refused:
        load_scenario("rag", {"load.rate": "5", "load.arrivals": str(law)})
    assert refused.value.code is Exit.USAGE and sentence in str(refused.value)
