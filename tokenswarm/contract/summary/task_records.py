"""Tasks: units of work that take several requests."""

from __future__ import annotations

from msgspec import field

from tokenswarm.contract.summary.figure import Figure, Record


class TaskFigures(Record):
    """Tasks of a workload that has some.

    begun: tasks whose first request was sent in the measure phase; of them completed, failed, and unfinished when it
    ended. completion_p50_ms, completion_p95_ms: time from the first request of a task to the end of its last answer,
    tools and sub-agents included, where unfinished tasks count as taking longer than was seen of them. completed_s:
    tasks that ended in the measure phase, whenever they began. requests, sub_agent_requests, sent_tokens (of prompts),
    computed_tokens (prompts without what was cached, and answers), output_tokens: for each completed task.
    computed_share: computed / (prompts + answers). valid_calls: of the answers that were not cut by length; cut: of
    those that were checked.
    """

    begun: int = 0
    completed: int = 0
    failed: int = 0
    unfinished: int = 0
    completion_p50_ms: Figure = field(default_factory=Figure)
    completion_p95_ms: Figure = field(default_factory=Figure)
    completed_s: Figure = field(default_factory=Figure)
    requests: Figure = field(default_factory=Figure)
    sub_agent_requests: Figure = field(default_factory=Figure)
    sent_tokens: Figure = field(default_factory=Figure)
    computed_tokens: Figure = field(default_factory=Figure)
    output_tokens: Figure = field(default_factory=Figure)
    computed_share: Figure = field(default_factory=Figure)
    valid_calls: Figure = field(default_factory=Figure)
    cut: Figure = field(default_factory=Figure)
