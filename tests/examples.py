"""How many examples the property tests generate."""

from __future__ import annotations

import os


def examples(full: int) -> int:
    """`full` with FULL=1, else a third of them: these tests are run with each change."""
    return full if os.environ.get("FULL") == "1" else max(5, full // 3)
