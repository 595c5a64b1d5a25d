"""The JSON body of a request: one place, for the load and for the check before it."""

from __future__ import annotations

from tokenswarm.scenario.endpoint import EndpointSettings
from tokenswarm.scenario.requests import Output
from tokenswarm.workloads.base import Message, Prompt

_AS_USUAL = EndpointSettings()


def constant_body(model: str, output: Output, endpoint: EndpointSettings = _AS_USUAL) -> dict[str, object]:
    """What all requests of one class plan have in common."""
    body: dict[str, object] = {"model": model, "stream": output.stream}
    if endpoint.send_temperature:
        body["temperature"] = output.temperature
    if output.stream and endpoint.send_stream_options:
        body["stream_options"] = {"include_usage": True}
    if output.ignore_eos:
        body["ignore_eos"] = True
    return {**body, **output.extra}


def request_body(constant: dict[str, object], prompt: Prompt, max_tokens: int,
                 endpoint: EndpointSettings = _AS_USUAL) -> dict[str, object]:
    """The body that asks this prompt; `max_tokens`: the longest answer where the prompt does not set its own."""
    if prompt.token_ids is not None:  # /v1/completions knows one name of the length alone
        body = {**constant, "prompt": prompt.token_ids, "max_tokens": prompt.max_tokens or max_tokens}
    else:
        messages = without_system(prompt.messages) if endpoint.fold_system else prompt.messages
        body = {**constant, "messages": messages, endpoint.length_field: prompt.max_tokens or max_tokens}
    if prompt.body:
        body.update(prompt.body)
    return body


def path_of(prompt: Prompt) -> str:
    """Where the prompt is asked."""
    return "/chat/completions" if prompt.token_ids is None else "/completions"


def without_system(messages: list[Message]) -> list[Message]:
    """The messages with a leading system message put before the text of the first user message."""
    if len(messages) < 2 or messages[0]["role"] != "system" or messages[1]["role"] != "user" \
            or not all(isinstance(message["content"], str) for message in messages[:2]):
        return messages
    system, user, *others = messages
    return [{**user, "content": f"{system['content']}\n\n{user['content']}"}, *others]
