"""Checks of engine behavior, by name: small functions that query a running engine and report what they saw.

No check depends on a particular engine. A check returns a figure with the observed range, or whether the claim's
sentence `holds`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tokenswarm.base.foreign import listed, table
from tokenswarm.base.masking import masked
from tokenswarm.client.answer import Answer
from tokenswarm.contract.claims_record import ClaimEvidence
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.engines import Engine
from tokenswarm.engines.install_paths import tiny_model_folder
from tokenswarm.engines.management_http import Unreachable
from tokenswarm.generator.new_run import fresh_salt
from tokenswarm.run.first_request import LoadToCheck, send_alone
from tokenswarm.run.sdk_check import SdkResult, ask_by_sdk
from tokenswarm.workloads.answer_checks import fits_schema, why_not
from tokenswarm.workloads.base import Prompt, cache_buster_prefix

_CHAT = "/v1/chat/completions"
_TIMEOUT_S = 180.0
_WORDS_CHARS = 160
_DOCUMENT_TOKENS = 900
"""Several times the largest block size in use (128 tokens, vLLM on a CPU)."""
_CHARS_PER_TOKEN = 4
_WARM_REQUESTS, _STILL_WARMING = 20, 5
"""Number of timed requests after a start, and how many of the first are not typical."""
_T_975 = 2.145
"""Student's t quantile, 97.5%, 14 degrees of freedom (those of the later requests)."""
_TINY = "tiny"
"""The name under which the tiny random model is served."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A running engine to query. `trials`: number of trials for a claim that says "always"."""

    engine: Engine
    load: LoadToCheck
    trials: int = 1
    ask: Callable[[LoadToCheck, Prompt, int], Answer] = field(default_factory=lambda: send_alone)
    sdk: Callable[..., SdkResult] = ask_by_sdk

    def text(self, tokens: int) -> str:
        """Plain text of about so many tokens that is in no cache."""
        corpus = self.load.corpus.text
        return cache_buster_prefix(fresh_salt(), "claims") + corpus[: tokens * _CHARS_PER_TOKEN]

    def stream(self, text: str, most_tokens: int = 8) -> Answer:
        """A streamed answer, through the load generator's own client."""
        return self.ask(
            self.load, Prompt([{"role": "user", "content": text}], "claims", 1, 0, private=True), most_tokens
        )

    def plain(self, text: str, **body: object) -> Mapping[str, object] | str:
        """A complete answer as JSON, or why there is none."""
        payload = {"model": self.load.model, "messages": [{"role": "user", "content": text}], "stream": False, **body}
        try:
            reply = self.engine.request(_CHAT, "POST", payload, timeout_s=_TIMEOUT_S)
        except Unreachable as error:
            return str(error)
        document = reply.json()
        if reply.status != 200 or not isinstance(document, Mapping):
            return f"it answers {reply.status}: {masked(' '.join(reply.text.split()), self.load.keys)[:_WORDS_CHARS]}"
        return document


Check = Callable[[Subject], ClaimEvidence]
CHECKS: dict[str, Check] = {}
"""Checks by the name used in claims."""


def check(name: str) -> Callable[[Check], Check]:
    """Register a check."""

    def register(function: Check) -> Check:
        CHECKS[name] = function
        return function

    return register


def _share(values: Sequence[float], words: str) -> ClaimEvidence:
    """A share with several exact observations; their range is used as the interval."""
    return ClaimEvidence(
        figure=Figure(sum(values) / len(values), "share", len(values), [min(values), max(values)]), words=words
    )


def _cached(answer: Answer) -> int | None:
    """Cached prompt tokens. If an engine reports them for other prompts but not for this one, it had none."""
    return answer.usage.cached_tokens if answer.ok else None


@check("shared_document")
def shared_document(subject: Subject) -> ClaimEvidence:
    """Three questions about one document: which share of the later prompts came from the cache?"""
    document = subject.text(_DOCUMENT_TOKENS)
    answers = [subject.stream(f"{document}\n\nQuestion {number}: what is it about?") for number in (1, 2, 3)]
    shares = [
        cached / answer.usage.prompt_tokens
        for answer in answers[1:]
        if (cached := _cached(answer)) is not None and answer.usage.prompt_tokens
    ]
    if len(shares) < 2:
        return ClaimEvidence(why=_no_counts(answers))
    words = " and ".join(f"{answer.usage.cached_tokens:,} of {answer.usage.prompt_tokens:,}" for answer in answers[1:])
    return _share(shares, f"cached prompt tokens of the later two requests: {words}")


@check("partial_overlap")
def partial_overlap(subject: Subject) -> ClaimEvidence:
    """Prompts with a common first part that does not end at a block border: which share of it comes from the cache?"""
    shares, words = [], []
    for cut in (0.55, 0.75):
        first = subject.text(_DOCUMENT_TOKENS)
        shared = first[: int(len(first) * cut)]
        subject.stream(first)
        answer = subject.stream(f"{shared} But here all is different: {fresh_salt()}")
        common = subject.stream(shared).usage.prompt_tokens  # last, since only its length is needed
        if common is None or (cached := _cached(answer)) is None:
            return ClaimEvidence(why=_no_counts([answer]))
        shares.append(cached / common)
        words.append(f"{cached:,} of about {common:,}")
    return _share(shares, f"cached of the shared prompt tokens: {', '.join(words)}")


@check("whole_blocks")
def whole_blocks(subject: Subject) -> ClaimEvidence:
    """Are cached tokens always whole blocks of the engine's block size, never a partial block?"""
    block = subject.engine.effective.get("block_size")
    if not isinstance(block, int) or block <= 1:
        return ClaimEvidence(holds=False, words=f"its cache has no blocks of several tokens ({block or 'not told'})")
    first = subject.text(_DOCUMENT_TOKENS)
    counts = []
    subject.stream(first)
    for cut in (0.5, 0.7, 0.9):
        cached = _cached(subject.stream(f"{first[: int(len(first) * cut)]} but here all is different"))
        if cached is None:
            return ClaimEvidence(why="the engine does not report cached tokens")
        counts.append(cached)
    if not any(counts):
        return ClaimEvidence(why="nothing was cached at all")
    words = f"cached tokens {', '.join(map(str, counts))}; blocks of {block}"
    return ClaimEvidence(holds=all(count % block == 0 for count in counts), words=words)


def _no_counts(answers: Sequence[Answer]) -> str:
    failed = next((answer for answer in answers if not answer.ok), None)
    return f"a request failed ({failed.error})" if failed else "the engine does not report cached tokens"


@check("sdk_by_base_url")
def sdk_by_base_url(subject: Subject) -> ClaimEvidence:
    """Does the official SDK get a streamed and a plain answer with only the base URL changed?"""
    result = subject.sdk(subject.load.endpoint, subject.load.model, subject.load.api_key)
    return ClaimEvidence(
        holds=result.compatible, words="; ".join(result.notes) or "a streamed and a plain answer by the openai SDK"
    )


@check("tags_in_content")
def tags_in_content(subject: Subject) -> ClaimEvidence:
    """With a reasoning parser: is the reasoning still in the content, between tags?"""
    body: dict[str, object] = {"max_tokens": 120, "ignore_eos": True, "temperature": 1.0, "seed": 5}
    if (closing := _closing_tag(subject.load.model)) is not None:
        body["logit_bias"] = {str(closing): 5.5}
    document = subject.plain("Think, then answer: is 7 a prime?", **body)
    if isinstance(document, str):
        return ClaimEvidence(why=document)
    message = _message(document)
    content = str(message.get("content") or "")
    thoughts = {key: str(value) for key in ("reasoning", "reasoning_content") if (value := message.get(key))}
    if not content and not thoughts:
        return ClaimEvidence(why="the answer held neither content nor reasoning")
    fields = ", ".join(f"{len(value):,} characters in {key}" for key, value in thoughts.items()) or "no reasoning field"
    # If the reasoning is in its own field, a lone closing tag is just another token of the answer.
    left_in = "<think>" in content or (not thoughts and "</think>" in content)
    words = f"{fields}; {len(content):,} characters of content, {'with the tags' if left_in else 'no reasoning in it'}"
    return ClaimEvidence(holds=left_in, words=words)


def _message(document: Mapping[str, object]) -> Mapping[str, object]:
    return table(_choice(document).get("message"))


def _choice(document: Mapping[str, object]) -> Mapping[str, object]:
    choices = listed(document.get("choices"))
    return table(choices[0]) if choices else {}


def _tiny_tokenizer(model: str) -> Mapping[str, object]:
    """The tokenizer of the tiny random model; None for any other model."""
    try:
        return table(json.loads((tiny_model_folder() / "tokenizer.json").read_text("utf-8"))) if model == _TINY else {}
    except (OSError, ValueError):
        return {}


def _closing_tag(model: str) -> int | None:
    """The token ID of </think> in the tiny random model, which closes its reasoning only by chance; None for any other
    model."""
    added = [table(each) for each in listed(_tiny_tokenizer(model).get("added_tokens"))]
    numbers = [
        number for each in added if each.get("content") == "</think>" and isinstance(number := each.get("id"), int)
    ]
    return numbers[0] if numbers else None


_SCHEMA: dict[str, object] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["verdict", "because"],
    "properties": {
        "verdict": {"enum": ["yes", "no", "unsure"]},
        "because": {"type": "string", "minLength": 40, "maxLength": 120},
    },
}
"""Kept small, since a grammar may allow white space between any two tokens, which a random model produces at length. It
has a string with a maximum length: there, real engines were seen to write invalid JSON (docs/structured.md). The
maximum is not short, since a random model would end a short string before it fails."""


_ENOUGH = 3
"""Stop after this many counterexamples."""


@check("schema_enforced")
def schema_enforced(subject: Subject) -> ClaimEvidence:
    """Does each complete answer match the requested schema, whatever the prompt says?"""
    wanted = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": _SCHEMA, "strict": True}}
    fits = fits_schema(_SCHEMA, trusted=True)
    trials = failures = cut = 0
    words = ""
    for number in range(subject.trials):
        document = subject.plain(
            f"Tell a story in plain words, no JSON. Number {number}.",
            response_format=wanted,
            max_tokens=200,
            temperature=1.0,
            seed=number,
        )
        if isinstance(document, str):
            return ClaimEvidence(why=document)
        if _choice(document).get("finish_reason") == "length":
            cut += 1
            continue
        trials += 1
        text = str(_message(document).get("content") or "")
        if (reason := why_not(fits, text)) is not None:
            failures += 1
            words = words or f": {' '.join(text.split())[:60]!r}: {reason}"
        if failures == _ENOUGH:
            break
    if not trials:
        return ClaimEvidence(why=f"all {cut} answers were cut by their length")
    return ClaimEvidence(
        holds=not failures,
        trials=max(trials, 2),
        failures=failures,
        words=f"{trials - failures} of {trials} answers are valid, {cut} were cut{words}",
    )


@check("warmup_effect")
def warmup_effect(subject: Subject) -> ClaimEvidence:
    """Ratio of the first request's TTFT after a start to that of later ones, with a 95% prediction interval for one
    more ordinary request."""
    times = []
    for _ in range(_WARM_REQUESTS):
        answer = subject.stream(subject.text(200))
        if answer.ttft_ms is None:
            return ClaimEvidence(why=f"a request had no first token ({answer.error or 'no text'})")
        times.append(math.log(answer.ttft_ms))
    usual = times[_STILL_WARMING:]
    mean = sum(usual) / len(usual)
    spread = math.sqrt(sum((value - mean) ** 2 for value in usual) / (len(usual) - 1))
    half = _T_975 * spread * math.sqrt(1.0 + 1.0 / len(usual))
    apart = times[0] - mean
    words = f"TTFT {math.exp(times[0]):.0f} ms first, {math.exp(mean):.0f} ms later"
    return ClaimEvidence(
        figure=Figure(math.exp(apart), "", len(times), [math.exp(apart - half), math.exp(apart + half)]), words=words
    )
