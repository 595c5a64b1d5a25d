"""The chart of a replay: requests sent and requests in the trace, over time."""

from __future__ import annotations

import numpy as np
from tokenswarm.analysis.read.replay_table import read_replay_plan
from tokenswarm.analysis.read.run_folder import Run
from tokenswarm.analysis.render.chart import Chart, ChartSection, axis, line, numbers

from tokenswarm.contract.summary.replay_records import Fidelity

_POINTS = 400


def replay_section(run: Run, fidelity: Fidelity | None) -> ChartSection:
    """Requests due and requests sent, and whether it was a faithful replay; nothing for other runs."""
    plan = None if fidelity is None else read_replay_plan(run.folder)
    start = next((phase.start for phase in run.manifest.phases or () if phase.name == "measure"), None)
    if fidelity is None or plan is None or start is None:
        return ChartSection("replay", "Replay of the trace")
    due = np.sort(plan.requests["at_s"].dropna().to_numpy(float))
    made = np.sort(run.measured["sent_at"].to_numpy(float) - start)
    traces = [
        line(*_counted(due), "asked for by the trace", "c:orange", line={"dash": "dot"}),
        line(*_counted(made), "sent", "c:sky"),
    ]
    chart = Chart(
        "replay-arrivals",
        "Requests since measuring began",
        traces,
        {"xaxis": axis("seconds of the measured phase"), "yaxis": axis("requests"), "showlegend": True},
        "Where the lines part, sessions were slower than on record, or the load generator was late.",
        300,
        wide=True,
    )
    return ChartSection("replay", "Replay of the trace", [chart], fidelity.sentence)


def _counted(times: np.ndarray) -> tuple[list[float | None], list[float | None]]:
    """Times and the cumulative count at each, thinned."""
    count = min(len(times), _POINTS)
    chosen = np.unique(np.linspace(0, len(times) - 1, count).astype(int)) if count else np.empty(0, dtype=int)
    return numbers(times[chosen]), numbers(chosen + 1.0)
