"""Periods in which the engine was away: a restart, a crash, a network failure. From the rows alone.

An outage begins with a request that found no engine (`schema.AWAY_KINDS`) and ends with the first token (if not
streamed, the end) of the first request that succeeds after that. The time between the two is the recovery time. A
single dropped connection among answers is an error, not an outage: see `LEAST_S`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from tokenswarm.analysis import wording as text
from tokenswarm.analysis.figures.quantities import is_ok
from tokenswarm.analysis.figures.statistics import Estimate
from tokenswarm.analysis.figures.window import Window, ended_at
from tokenswarm.analysis.read.run_folder import Run

from tokenswarm.contract.summary.time_records import OutagePeriod, Outages
from tokenswarm.contract.tables import AWAY_KINDS

LEAST_S = 1.0
"""A shorter silence cannot be told from the pause between two answers."""
LISTED = 50
"""Maximum number of outages listed, the longest ones."""
_SURE = ("connect_refused", "connect_timeout", "connect_failed")
"""One of these is enough. A cut connection needs further failures, because it happens to single requests too."""


@dataclass(frozen=True, slots=True)
class Outage:
    """`start` and `end` in unix seconds; `end` is the last sign of life of the run if nothing succeeded again.

    `failed`: requests of any kind that failed meanwhile; `kinds`: how many of each.
    """

    start: float
    end: float
    recovered: bool
    failed: int
    kinds: dict[str, int]

    @property
    def seconds(self) -> float:
        """From the first failure to the first success."""
        return self.end - self.start


def find_outages(requests: pd.DataFrame) -> list[Outage]:
    """The outages among these requests, in time order."""
    over = ended_at(requests)
    kind = requests["error"].astype("object").to_numpy()
    failed = (requests["status"] == "failed").to_numpy()
    away = failed & np.isin(kind.astype(str), AWAY_KINDS)
    if not away.any():
        return []
    ok = requests[is_ok(requests)]
    first_sign = ok["ttft_ms"].fillna(ok["e2e_ms"]).fillna(0.0).to_numpy() / 1000.0
    successes = np.sort(ok["sent_at"].to_numpy() + first_sign)
    starts = np.sort(over[away])
    order = np.argsort(over[failed], kind="stable")
    failures, kinds = over[failed][order], kind[failed][order]
    last_sign, outages, begin = float(over.max()), [], 0
    while begin < len(starts):
        start = float(starts[begin])
        place = int(np.searchsorted(successes, start, side="right"))
        recovered = place < len(successes)
        end = float(successes[place]) if recovered else last_sign
        low, high = np.searchsorted(failures, start), np.searchsorted(failures, end, side="right")
        counted = pd.Series(kinds[low:high]).value_counts()
        outage = Outage(start, end, recovered, int(high - low), {str(key): int(n) for key, n in counted.items()})
        if outage.seconds >= LEAST_S and (outage.failed > 1 or outage.kinds.keys() & set(_SURE)):
            outages.append(outage)
        begin = int(np.searchsorted(starts, end, side="right"))
    return outages


def outage_figures(run: Run, window: Window | None) -> Outages:
    """The outages of the measure phase: count, longest, total, and a list."""
    began = window.start if window else float(run.requests["sent_at"].min()) if len(run.requests) else 0.0
    outages = [outage for outage in find_outages(_from_measuring_on(run)) if outage.end >= began]
    why = "the engine was never away"
    longest = max((outage.seconds for outage in outages), default=None)
    listed = sorted(sorted(outages, key=lambda outage: -outage.seconds)[:LISTED], key=lambda outage: outage.start)
    total = sum(outage.seconds for outage in outages) if outages else None
    return Outages(
        len(outages),
        Estimate(longest, n=len(outages), why=why).figure("s"),
        Estimate(total, n=len(outages), why=why).figure("s"),
        sum(outage.failed for outage in outages),
        [
            OutagePeriod(
                outage.start, outage.start - began, outage.seconds, outage.recovered, outage.failed, outage.kinds
            )
            for outage in listed
        ],
    )


def sentence(outages: Outages) -> str:
    """The outages of a summary in words; empty if there were none."""
    if not outages.count:
        return ""
    away = f"The engine was away {text.times(outages.count)}, for {text.duration(outages.total.value)}"
    longest = f", the longest time {text.duration(outages.longest.value)}" if outages.count > 1 else ""
    gone = "" if all(each.recovered for each in outages.periods) else "; it had not come back when the run ended"
    return f"{away}{longest}; {outages.failed:,} requests failed meanwhile{gone}."


def spans(outages: Outages) -> tuple[tuple[float, float], ...]:
    """The outages of a summary as pairs of unix seconds."""
    return tuple((each.start_unix_s, each.start_unix_s + each.seconds) for each in outages.periods)


def listed_rows(outages: Outages) -> list[dict[str, str]]:
    """The outages of a summary as cells of a table."""
    return [
        {
            "began": f"after {text.duration(each.at_s)}",
            "recovery": text.duration(each.seconds) if each.recovered else f"not within {text.duration(each.seconds)}",
            "failed": f"{each.failed:,}",
            "kinds": ", ".join(f"{kind} {count:,}" for kind, count in each.kinds.items()),
        }
        for each in outages.periods
    ]


def _from_measuring_on(run: Run) -> pd.DataFrame:
    """Requests of the measure phase, and of the drain, in which an engine may come back."""
    phase = run.requests["phase"]
    return run.requests if phase.isna().all() else run.requests[(phase != "warmup").to_numpy()]
