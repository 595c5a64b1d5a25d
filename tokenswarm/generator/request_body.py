"""The JSON body of a request: one place, for the load and for the check before it."""

from __future__ import annotations

from tokenswarm.scenario.requests import Output
from tokenswarm.workloads.base import Prompt


def constant_body(model: str, output: Output) -> dict[str, object]:
    """What all requests of one class plan have in common."""
    body: dict[str, object] = {"model": model, "temperature": output.temperature, "stream": output.stream}
    if output.stream:
        body["stream_options"] = {"include_usage": True}
    if output.ignore_eos:
        body["ignore_eos"] = True
    return {**body, **output.extra}


def request_body(constant: dict[str, object], prompt: Prompt, max_tokens: int) -> dict[str, object]:
    """The body that asks this prompt; `max_tokens`: the longest answer where the prompt does not set its own."""
    body = {**constant, "messages": prompt.messages, "max_tokens": prompt.max_tokens or max_tokens}
    if prompt.body:
        body.update(prompt.body)
    return body
