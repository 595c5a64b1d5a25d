"""Sends the load's first request before the load: with the load's own client, path, headers and body.

Only the answer length is reduced, and the prompt has its own salt, so that the load does not hit it in the cache.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace

from tokenswarm.base.endpoint import Endpoint, keys_of
from tokenswarm.base.masking import masked
from tokenswarm.client.answer import Answer
from tokenswarm.client.client import LLMClient, Timeouts
from tokenswarm.generator.new_run import fresh_salt
from tokenswarm.generator.private_text import without_prompt
from tokenswarm.generator.request_body import constant_body, length_field, path_of, request_body
from tokenswarm.scenario.model import Scenario
from tokenswarm.workloads import create
from tokenswarm.workloads.base import Prompt
from tokenswarm.workloads.corpus import Corpus

MAX_TOKENS = 8
LONGEST_WAIT_S = 120.0
"""A freshly started engine compiles on its first request, so timeouts are at least this long."""
_LEAST_WAIT_S, _TIMES_THE_FIRST = 20.0, 20.0
"""Timeout of further requests: at least this long, and this many times the first answer's time."""
FURTHER_S = 240.0
"""Time limit for all further requests together."""
_SHORTEST_WAIT_S = 1.0
_REQUEST_ID = "tokenswarm-check"


@dataclass(frozen=True, slots=True)
class LoadToCheck:
    """What the load will send."""

    base_url: str
    model: str
    scenario: Scenario
    corpus: Corpus
    api_key: str | None = None
    longest_wait_s: float = LONGEST_WAIT_S
    until: float | None = None
    """When the check must end, by time.monotonic; None before the first answer."""

    @property
    def wait_s(self) -> float:
        """The current timeout of a request."""
        if self.until is None:  # respect a scenario that allows more time for the first token
            allowed_s = self.scenario.timeouts.first_token_s if self.longest_wait_s == LONGEST_WAIT_S else 0.0
            return max(self.longest_wait_s, allowed_s)
        return max(_SHORTEST_WAIT_S, min(self.longest_wait_s, self.until - time.monotonic()))

    def after(self, first_answer_s: float | None) -> LoadToCheck:
        """The settings for requests after a first answer that took `answered_s`: an engine that is silent now has
        stopped, so the timeouts are shorter than during a start. All of them end FURTHER_S after the first call."""
        if first_answer_s is None:
            return self
        wait_s = min(LONGEST_WAIT_S, max(_LEAST_WAIT_S, _TIMES_THE_FIRST * first_answer_s))
        until = time.monotonic() + FURTHER_S if self.until is None else self.until
        return replace(self, longest_wait_s=wait_s, until=until)

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint. Raises UserError like its form."""
        return Endpoint(self.base_url, self.scenario.endpoint.form())

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys to mask in what the endpoint says."""
        return keys_of(self.api_key, self.endpoint.form.secrets)


def error_words(load: LoadToCheck, answer: Answer, most_chars: int) -> str:
    """The server's message about a failed answer, on one line, with keys masked; empty if there is none."""
    return " ".join(masked(answer.error_detail, load.keys).split())[:most_chars]


def first_prompt(scenario: Scenario, corpus: Corpus) -> Prompt:
    """A prompt in the form and length of the load's first one, with text that the load does not share."""
    workload = create(scenario, corpus, scenario.prompts.seed, fresh_salt())
    return next(iter(workload.session("warmup", 0)))


def send_first_request(load: LoadToCheck) -> Answer:
    """Send it and wait for the outcome. Runs in a separate thread with its own event loop, since this process must
    handle signals and children. Raises no errors of the network or the engine."""
    return send_alone(load, first_prompt(load.scenario, load.corpus))


def send_alone(load: LoadToCheck, prompt: Prompt, most_tokens: int = MAX_TOKENS) -> Answer:
    """The same for any prompt, with an answer of at most `most_tokens` tokens."""
    output, endpoint = load.scenario.output, load.scenario.endpoint
    body = request_body(constant_body(load.model, output, endpoint), prompt, output.max_tokens, endpoint)
    path = path_of(prompt, endpoint)
    body[length_field(path, endpoint)] = min(most_tokens, prompt.max_tokens or output.max_tokens)
    outcome: list[Answer | BaseException] = []

    def ask() -> None:
        try:
            outcome.append(_ask(load, body, path))
        except BaseException as error:  # raised again in the waiting thread
            outcome.append(error)

    thread = threading.Thread(target=ask, daemon=True)  # a second Ctrl-C must not wait for a silent engine
    thread.start()
    while thread.is_alive():
        thread.join(0.1)  # in short waits, so that signals are handled
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    outcome[0].error_detail = without_prompt(outcome[0].error_detail, prompt)
    return outcome[0]


def _ask(load: LoadToCheck, body: dict[str, object], path: str) -> Answer:
    import gevent

    wait_s = load.wait_s  # for the whole short answer, so that one that trickles in does not take longer
    limits = Timeouts(load.scenario.timeouts.connect_s, wait_s, wait_s, wait_s)
    client = LLMClient(load.endpoint, limits, load.api_key)
    try:
        return client.complete(body, _REQUEST_ID, path)
    finally:
        client.close()
        gevent.get_hub().destroy(destroy_loop=True)
