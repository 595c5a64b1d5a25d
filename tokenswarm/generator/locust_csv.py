"""Updates Locust's own --csv files at the very end.

Locust rewrites them once a second but not when it ends, so the last second's requests would be missing and its totals
would not add up to requests.csv.
"""

from __future__ import annotations

import atexit
import contextlib
import csv
import io
from pathlib import Path

from locust.env import Environment
from locust.stats import PERCENTILES_TO_REPORT, StatsCSV

from tokenswarm.base.files import replace_whole


def complete_at_exit(environment: Environment) -> None:
    """Rewrite the statistics, failures and exceptions files when this process ends, if it was given --csv.

    At exit, because Locust closes (and flushes) its own files after the last event that a plugin receives.
    """
    prefix = getattr(environment.parsed_options, "csv_prefix", None)
    if prefix:
        atexit.register(write_totals, environment, prefix)


def write_totals(environment: Environment, prefix: str) -> None:
    """Write the three files like Locust, from its current statistics. If the disk is full, the old ones remain."""
    tables = StatsCSV(environment, PERCENTILES_TO_REPORT)
    for name, write in (
        ("stats", tables.requests_csv),
        ("failures", tables.failures_csv),
        ("exceptions", tables.exceptions_csv),
    ):
        text = io.StringIO()
        write(csv.writer(text))
        with contextlib.suppress(OSError):
            replace_whole(Path(f"{prefix}_{name}.csv"), text.getvalue())
