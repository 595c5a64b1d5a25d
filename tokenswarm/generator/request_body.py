"""The JSON body of a request: one place, for the load and for the check before it."""

from __future__ import annotations

from tokenswarm.base.endpoint import CHAT, COMPLETIONS, RESPONSES
from tokenswarm.scenario.endpoint_settings import EndpointSettings
from tokenswarm.scenario.requests import Output
from tokenswarm.workloads.base import Message, Prompt

_AS_USUAL = EndpointSettings()
_RESPONSES_LENGTH = "max_output_tokens"


def constant_body(model: str, output: Output, endpoint: EndpointSettings = _AS_USUAL) -> dict[str, object]:
    """What all requests of one class plan have in common."""
    body: dict[str, object] = {"model": model, "stream": output.stream}
    if endpoint.send_temperature:
        body["temperature"] = output.temperature
    if output.stream and endpoint.send_stream_options and endpoint.api != "responses":
        body["stream_options"] = {"include_usage": True}
    if output.ignore_eos and endpoint.send_ignore_eos:
        body["ignore_eos"] = True
    return {**body, **output.extra}


def length_field(path: str, endpoint: EndpointSettings) -> str:
    """The name of the field for the longest answer, in a request to that path. Completions know one name alone."""
    return {CHAT: endpoint.length_field, RESPONSES: _RESPONSES_LENGTH}.get(path, "max_tokens")


def request_body(
    constant: dict[str, object], prompt: Prompt, max_tokens: int, endpoint: EndpointSettings = _AS_USUAL
) -> dict[str, object]:
    """The body that asks this prompt; `max_tokens`: the longest answer where the prompt does not set its own."""
    messages = without_system(prompt.messages) if endpoint.fold_system else prompt.messages
    path = path_of(prompt, endpoint)
    body = {**constant, length_field(path, endpoint): prompt.max_tokens or max_tokens}
    if path == CHAT:
        body["messages"] = messages
    elif path == RESPONSES:
        body["input"] = messages
    else:
        body["prompt"] = as_text(messages) if prompt.token_ids is None else prompt.token_ids
    if prompt.body:
        body.update(prompt.body)
    if not endpoint.send_seed:
        body.pop("seed", None)
    return body


def path_of(prompt: Prompt, endpoint: EndpointSettings = _AS_USUAL) -> str:
    """Where the prompt is asked: CHAT, COMPLETIONS or RESPONSES."""
    return endpoint.request_path if prompt.token_ids is None else COMPLETIONS


def without_system(messages: list[Message]) -> list[Message]:
    """The messages with a leading system message put before the text of the first user message."""
    if (
        len(messages) < 2
        or messages[0]["role"] != "system"
        or messages[1]["role"] != "user"
        or not all(isinstance(message["content"], str) for message in messages[:2])
    ):
        return messages
    system, user, *others = messages
    return [{**user, "content": f"{system['content']}\n\n{user['content']}"}, *others]


def as_text(messages: list[Message]) -> str:
    """The messages as one text, for an API without roles: what a prefix cache can share stays a prefix."""
    return "\n\n".join(str(message["content"]) for message in messages)
