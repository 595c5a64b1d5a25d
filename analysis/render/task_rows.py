"""The page's section on tasks: their figures as text rows."""

from __future__ import annotations

from tokenswarm.analysis import wording as text

from tokenswarm.contract.summary.task_records import TaskFigures

_ROWS = (
    (
        "Completion time, p50",
        "completion_p50_ms",
        "first request to the end of the last answer, tools and sub-agents "
        "included; unfinished tasks count as longer than observed",
    ),
    ("Completion time, p95", "completion_p95_ms", ""),
    ("Tasks completed", "completed_s", "in the measure window, whenever they began"),
    ("Requests of a task", "requests", ""),
    ("of which sub-agents'", "sub_agent_requests", ""),
    ("Prompt tokens sent", "sent_tokens", "of a task, all its requests together"),
    ("Output tokens", "output_tokens", "of a task"),
    ("Tokens computed", "computed_tokens", "of a task: prompts without what was cached, and answers"),
    ("Share computed", "computed_share", "of all tokens of prompts and answers"),
    ("Valid calls", "valid_calls", "of the answers that were not cut by length: each call fits its tool's schema"),
    ("Cut by length", "cut", "of the answers that were checked"),
)


def task_rows(tasks: TaskFigures | None) -> list[dict[str, str]]:
    """Name, note, value, interval and number of observations of each figure; empty if a run has no tasks."""
    if tasks is None:
        return []
    rows = []
    for name, field, note in _ROWS:
        figure = getattr(tasks, field)
        rows.append(
            {
                "name": name,
                "note": note,
                "value": text.quantity(figure),
                "interval": text.interval(figure) or figure.why or "",
                "n": f"{figure.n:,}",
            }
        )
    return rows


def task_counts(tasks: TaskFigures | None) -> str:
    """`96 tasks began in the measure window: 71 completed, 0 failed, 25 were unfinished at its end.`"""
    if tasks is None:
        return ""
    return (
        f"{tasks.begun:,} tasks began in the measure window: {tasks.completed:,} completed, {tasks.failed:,} "
        f"failed, {tasks.unfinished:,} were unfinished at its end."
    )
