"""One finished request to one row of requests.csv."""

from __future__ import annotations

from typing import Any, NamedTuple

from tokenswarm.base.bounded_patterns import TooSlow
from tokenswarm.client.answer import Answer
from tokenswarm.contract.manifest import NOT_CHECKED
from tokenswarm.workloads.answer_checks import why_not
from tokenswarm.workloads.base import Prompt, asked_chars

_DETAIL_CHARS = 1000


class Origin(NamedTuple):
    """Where a request came from. `number`: which request of its process it is, from 1. `continuing`: whether its
    session began before `phase` did. `adapter`: rank of the LoRA adapter that it names."""

    run_id: str
    worker: int
    phase: str
    user_class: str
    request_id: str
    scheduled_at: float | None = None
    attempt: int = 1
    number: int = 0
    continuing: bool = False
    trace_id: str | None = None
    """Of the `traceparent` that went with it."""
    adapter: int | None = None


def quantile(ordered: list[float], share: float) -> float:
    """Linear interpolation between order statistics (numpy's default) of a sorted, non-empty list."""
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def valid_output(prompt: Prompt, answer: Answer) -> bool | None:
    """The scenario's own check of a successful answer; None where it has none, or where its pattern takes too long,
    which is noted of the answer. A check that fails over it: False."""
    if (prompt.check is None and prompt.check_calls is None) or not answer.ok:
        return None
    try:
        return (prompt.check is None or bool(prompt.check(answer.text))) and (
            prompt.check_calls is None or bool(prompt.check_calls(answer.calls))
        )
    except TooSlow as slow:
        answer.oddities += (NOT_CHECKED + ("a pattern of the file takes too long" if prompt.private else str(slow)),)
        return None
    except Exception:  # a user's code, and an answer that nobody foresaw: the row must not be lost over it
        return False


def why_invalid(prompt: Prompt, answer: Answer) -> str | None:
    """What the scenario's own check says against an answer that is not valid; None where it cannot say."""
    try:
        return why_not(prompt.check, answer.text) or why_not(prompt.check_calls, answer.calls)
    except Exception as error:  # as above
        return f"the check failed over it: {type(error).__name__}"


def request_row(origin: Origin, prompt: Prompt, answer: Answer, level: int | None = None) -> dict[str, Any]:
    """The row, by column name; what was not measured is None. `level`: the load level in which it was sent."""
    gaps = sorted(answer.token_gaps_ms)
    usage, task = answer.usage, prompt.task
    scheduled = origin.scheduled_at
    return {
        "run_id": origin.run_id,
        "worker": origin.worker,
        "phase": origin.phase,
        "level": level,
        "user_class": origin.user_class,
        "conversation": prompt.conversation,
        "turn": prompt.turn,
        "continuing": origin.continuing,
        "request_id": origin.request_id,
        "trace_id": origin.trace_id,
        "attempt": origin.attempt,
        "adapter": origin.adapter,
        "scheduled_at": scheduled,
        "sent_at": answer.sent_at,
        "lateness_ms": None if scheduled is None else (answer.sent_at - scheduled) * 1e3,
        "connect_ms": answer.connect_ms,
        "headers_ms": answer.headers_ms,
        "ttft_ms": answer.ttft_ms,
        "ttft_uncertainty_ms": answer.ttft_uncertainty_ms,
        "ttfo_ms": answer.ttfo_ms,
        "last_token_ms": answer.last_token_ms,
        "e2e_ms": answer.e2e_ms,
        "icl_p50_ms": quantile(gaps, 0.5) if gaps else None,
        "icl_p99_ms": quantile(gaps, 0.99) if gaps else None,
        "icl_max_ms": gaps[-1] if gaps else None,
        "chunks": answer.chunks,
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
        "completion_tokens": answer.completion_tokens,
        "reasoning_tokens": answer.reasoning_tokens,
        "token_source": answer.token_source,
        "reasoning_source": answer.reasoning_source,
        "prompt_chars": asked_chars(prompt.messages, prompt.body),
        "shared_prefix_chars": prompt.shared_prefix_chars,
        "document": prompt.document,
        "task": None if task is None else task.task,
        "task_step": None if task is None else task.step,
        "task_steps": None if task is None else task.steps,
        "status": answer.status,
        "error": answer.error,
        "http_status": answer.http_status,
        "finish_reason": answer.finish_reason,
        "valid_output": valid_output(prompt, answer),
        "error_detail": answer.error_detail[:_DETAIL_CHARS],
    }
