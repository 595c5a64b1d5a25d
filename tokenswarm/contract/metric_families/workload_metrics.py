"""What only some workloads have: bystanders of a disturbance, answers of a form, tasks of agents."""

from __future__ import annotations

from tokenswarm.contract.metric import HIGHER, LOWER, NOWHERE, Label, Place, Rate
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.level_records import LevelFigures
from tokenswarm.contract.summary.summary_record import Summary


def _rise(summary: Summary | LevelFigures, key: str) -> Figure | None:
    """How much a latency of bystanders rises, where a run tells; a load level does not."""
    interference = getattr(summary, "interference", None)
    disturbed = None if interference is None else interference.latencies.get(key)
    return None if disturbed is None else disturbed.rise.get("p95")


OF_WORKLOADS = (
    Rate(
        name="bystander_ttft_rise",
        title="Bystanders' TTFT p95, during / before",
        unit="times",
        better=LOWER,
        meaning="while long prefills are under way",
        formula="TTFT p95 of bystanders during / before a disturbance",
        notes="only in an open loop, for a mix with `mix.disturbs`",
        source="docs/interference.md",
        slo=False,
        live=False,
        usually=NOWHERE,
        stored=lambda summary: _rise(summary, "ttft_ms"),
        places={Place.TABLE: Label(rank=17)},
    ),
    Rate(
        name="bystander_gap_rise",
        title="Bystanders' longest gap p95, during / before",
        unit="times",
        better=LOWER,
        meaning="while long prefills are under way",
        formula="p95 of the longest gap of bystanders' answers during / before a disturbance",
        notes="only in an open loop, for a mix with `mix.disturbs`",
        source="docs/interference.md",
        slo=False,
        live=False,
        usually=NOWHERE,
        stored=lambda summary: _rise(summary, "icl_max_ms"),
        places={Place.TABLE: Label(rank=18)},
    ),
    Rate(
        name="valid_output",
        title="Valid output",
        unit="share",
        better=HIGHER,
        ratio=False,
        meaning="passed the scenario's check",
        formula="answers that passed the scenario's own check / answers checked",
        source="the scenario",
        columns=("status", "valid_output"),
        live=False,
        compared=False,
        stored=lambda summary: summary.valid_output,
        usually=NOWHERE,
        places={
            Place.GATE: Label(note="at least this share (0 to 1) of the answers checked was valid", rank=5),
            Place.TIME: Label(note="answers that passed the scenario's check, of those checked"),
            Place.CARD: Label(note="of the answers checked"),
            Place.TABLE: Label(rank=12),
            Place.TERMINAL: Label(rank=9),
        },
    ),
    Rate(
        name="task_p50_ms",
        title="Task completion p50",
        unit="ms",
        better=LOWER,
        meaning="first request to the end of the last answer",
        formula="median time from a task's first request to the end of its last answer",
        notes="tools and sub-agents included; tasks unfinished at the end of the phase count as longer than observed "
        "(Kaplan-Meier; docs/agents.md)",
        source="tasks of the workload",
        columns=("status", "sent_at", "e2e_ms"),
        live=False,
        stored=lambda summary: summary.tasks.completion_p50_ms if summary.tasks else None,
        usually=NOWHERE,
        places={Place.TERMINAL: Label(rank=9.1), Place.MARKDOWN: Label(rank=5)},
    ),
    Rate(
        name="task_p95_ms",
        title="Task completion p95",
        unit="ms",
        better=LOWER,
        meaning="first request to the end of the last answer",
        formula="the 95th percentile of it",
        source="tasks of the workload",
        columns=("status", "sent_at", "e2e_ms"),
        live=False,
        stored=lambda summary: summary.tasks.completion_p95_ms if summary.tasks else None,
        usually=NOWHERE,
        places={
            Place.CARD: Label("Task completion p95"),
            Place.TERMINAL: Label(rank=9.2),
            Place.MARKDOWN: Label(rank=6),
        },
    ),
    Rate(
        name="tasks_s",
        title="Tasks completed",
        unit="task/s",
        better=HIGHER,
        meaning="in the measure window",
        formula="tasks whose last answer was asked for in the measure phase / seconds",
        source="tasks of the workload",
        columns=("status", "sent_at"),
        live=False,
        set_by_arrivals=True,
        stored=lambda summary: summary.tasks.completed_s if summary.tasks else None,
        usually=NOWHERE,
        places={Place.TERMINAL: Label(rank=9.3)},
    ),
)
"""In the order in which they are shown."""
