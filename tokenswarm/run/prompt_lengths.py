"""Measures before a run how the engine tokenizes its prompts.

Where `prompts.chars_per_token` is "auto", known texts are sent and the engine's own counts read: a short one and two
long ones, of which one is of few and one of many pieces (see `workloads.token_lengths`). What is the same around them
(chat template, roles) falls out of their differences, so that a text of 3,000 tokens has as many by the engine's
tokenizer, without a tokenizer here. They hold no salt: engines with the same tokenizer give the same numbers, and the
two sides of a pair get the same prompts. Workloads may measure prompts of their own (`Workload.probes`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from tokenswarm.base.endpoint import Endpoint
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.client.answer import Answer
from tokenswarm.engines.management_http import Unreachable, request
from tokenswarm.run.first_request import LoadToCheck, error_words, send_alone
from tokenswarm.run.run_plan import RunPlan
from tokenswarm.scenario.requests import AUTO, LEAST_CHARS_PER_TOKEN, MOST_CHARS_PER_TOKEN, USUAL_CHARS_PER_TOKEN
from tokenswarm.workloads import create
from tokenswarm.workloads.base import Prompt, Workload
from tokenswarm.workloads.token_lengths import pieces_in

_WORDS_CHARS = 200
_SHORT_CHARS, _LONG_CHARS = 800, (16_000, 4_000, 1_600)
"""Lengths of the texts in characters; the long ones are reduced if the engine does not accept them."""
_EXCERPT_CHARS, _TEXTS, _LEAST_TEXTS = 4_000, 60, 12
_ALIKE = 0.02
"""If the texts' pieces per character differ by less, they do not show the effect of a piece."""
_TOKENIZE_TIMEOUT_S = 10.0
_DIGITS = 6
_SALT = "probe"
"""The salt of probes, the same for all runs: tokenizers split different salts into different numbers of tokens, so two
runs with one seed would have prompts of different lengths."""

Ask = Callable[[LoadToCheck, Prompt], Answer]


@dataclass(frozen=True, slots=True)
class TokenFit:
    """tokens = characters / chars_per_token + tokens_per_piece (pieces - pieces_per_char x characters)
    + template_tokens, for a text alone in one message."""

    chars_per_token: float
    tokens_per_piece: float
    pieces_per_char: float
    template_tokens: float


@dataclass(frozen=True, slots=True)
class TextLength:
    """A text's size here, and the engine's count including the chat template."""

    chars: int
    pieces: int
    tokens: int


def fit(short: TextLength, sparse: TextLength, dense: TextLength) -> TokenFit | None:
    """What a character and a piece are to the tokenizer, by three texts: `short` is the beginning of `sparse`, whose
    pieces are rarer than those of `dense`. None if no tokenizer could give these counts."""
    chars, pieces, tokens = sparse.chars - short.chars, sparse.pieces - short.pieces, sparse.tokens - short.tokens
    chars2, pieces2, tokens2 = dense.chars - short.chars, dense.pieces - short.pieces, dense.tokens - short.tokens
    if min(chars, chars2, tokens, tokens2) <= 0:
        return None
    usual = (pieces / chars + pieces2 / chars2) / 2
    apart = pieces2 / chars2 - pieces / chars
    piece = max(0.0, (tokens2 / chars2 - tokens / chars) / apart) if apart > _ALIKE * usual else 0.0
    piece = min(piece, (tokens / chars + tokens2 / chars2) / 2 / usual)  # characters cannot reduce the token count
    per_char = (tokens / chars + tokens2 / chars2) / 2
    if not LEAST_CHARS_PER_TOKEN <= 1 / per_char <= MOST_CHARS_PER_TOKEN:
        return None
    of_short = per_char * short.chars + piece * (short.pieces - usual * short.chars)
    return TokenFit(
        round(1 / per_char, _DIGITS), round(piece, _DIGITS), round(usual, _DIGITS), round(short.tokens - of_short, 2)
    )


def known_texts(workload: Workload, chars: int) -> tuple[str, str]:
    """Two texts of so many characters of what the workload's prompts are made of, one with few and one with many pieces
    (words, numbers, signs). They hold no salt, and are always the same for a scenario, a seed and a corpus."""
    texts = _first_texts(workload)
    if len(set(texts)) < _LEAST_TEXTS:  # a shared system prompt is not representative
        rng = Random("known text")
        texts = [workload.corpus.take(rng, _EXCERPT_CHARS) for _ in range(_TEXTS)]
    texts = sorted(set(texts), key=lambda text: (pieces_in(text) / len(text), text))
    return _joined(texts, chars), _joined(texts[::-1], chars)


def _joined(texts: list[str], chars: int) -> str:
    """So many characters of the texts, starting at one sixth, since the beginning is not typical."""
    first = len(texts) // 6
    pieces: list[str] = []
    size = 0
    while size < chars:  # if all texts together are shorter, they repeat
        pieces.append(texts[(first + len(pieces)) % len(texts)])
        size += len(pieces[-1]) + 2
    return "\n\n".join(pieces)[:chars]


def _first_texts(workload: Workload) -> list[str]:
    """The middle of the longest message of the first prompts of the first sessions; none if these are private."""
    texts: list[str] = []
    if workload.sessions_in_all is not None:
        return texts
    for number in range(_TEXTS):
        prompt = next(iter(workload.session("measure", number)), None)
        if prompt is None or prompt.private or prompt.token_ids is not None:
            return []
        contents = [message["content"] for message in prompt.messages if isinstance(message["content"], str)]
        longest = max(contents, key=len, default="")
        if not longest.strip():
            return []
        begin = max(0, (len(longest) - _EXCERPT_CHARS) // 2)  # away from what distinguishes prompts
        texts.append(longest[begin : begin + _EXCERPT_CHARS])
    return texts


def measured_fit(load: LoadToCheck, workload: Workload, ask: Ask = send_alone) -> tuple[TokenFit | None, str]:
    """(fit by the engine's counts, ""), or (None, why there is none)."""
    why = ""
    for long_chars in _LONG_CHARS:
        sparse, dense = known_texts(workload, long_chars)
        counted: list[TextLength] = []
        for text in (sparse[:_SHORT_CHARS], sparse, dense):
            answer = ask(load, Prompt([{"role": "user", "content": text}], "length", 1, 0))
            if not answer.ok:
                why = error_words(load, answer, _WORDS_CHARS) or str(answer.error)
                if answer.error != "rejected":  # a prompt that is too long causes this too
                    return None, why
                break
            tokens = answer.usage.prompt_tokens or tokenized(load, text)
            if not tokens:
                return None, "the engine does not report how many tokens a prompt has"
            counted.append(TextLength(len(text), pieces_in(text), tokens))
        else:
            numbers = ", ".join(f"{each.tokens} for {each.chars}" for each in counted)
            return fit(*counted), f"no tokenizer gives that many tokens for that many characters: {numbers}"
    return None, why


def tokenized(load: LoadToCheck, text: str) -> int | None:
    """The count of the engine's own /tokenize; None if it has no such page."""
    endpoint = load.endpoint
    for url in (endpoint.page("/tokenize"), f"{Endpoint(load.base_url).root}/v1/tokenize"):
        try:
            document = request(
                url,
                "POST",
                api_key=load.api_key,
                form=endpoint.form,
                payload={"model": load.model, "prompt": text},
                timeout_s=_TOKENIZE_TIMEOUT_S,
            ).json()
        except Unreachable:
            continue
        count = document.get("count") if isinstance(document, dict) else None
        if isinstance(count, int) and not isinstance(count, bool) and count > 0:
            return count
    return None


def with_measured_prompts(plan: RunPlan, load: LoadToCheck, ask: Ask = send_alone) -> tuple[RunPlan, TokenFit | None]:
    """The plan with what the engine's own counts say about its prompts, and the fit where one was made. Raises
    UserError (ENDPOINT) where it does not take prompts that the workload probes, or counts them otherwise than they
    must be."""
    plan, fitted = _with_fit(plan, load, ask)
    return _with_probes(plan, load, ask), fitted


def _with_fit(plan: RunPlan, load: LoadToCheck, ask: Ask) -> tuple[RunPlan, TokenFit | None]:
    prompts = plan.scenario.prompts
    if prompts.chars_per_token != AUTO:
        return plan, None
    workload = create(plan.scenario, plan.corpus, prompts.seed, salt="")
    fitted, why = measured_fit(load, workload, ask)
    notes = (
        ()
        if fitted
        else (
            f"Lengths in tokens assume {USUAL_CHARS_PER_TOKEN:g} characters per token, because they "
            f"could not be measured: {why}.",
        )
    )
    values = (
        {"chars_per_token": USUAL_CHARS_PER_TOKEN}
        if fitted is None
        else {
            "chars_per_token": fitted.chars_per_token,
            "tokens_per_piece": fitted.tokens_per_piece,
            "pieces_per_char": fitted.pieces_per_char,
        }
    )
    scenario = plan.scenario.model_copy(update={"prompts": prompts.model_copy(update=values)})
    create(scenario, plan.corpus, seed=0, salt="")  # raises for prompts longer than the corpus
    return replace(plan, scenario=scenario, prompt_notes=(*plan.prompt_notes, *notes)), fitted


def _with_probes(plan: RunPlan, load: LoadToCheck, ask: Ask) -> RunPlan:
    scenario = plan.scenario
    workload = create(scenario, plan.corpus, scenario.prompts.seed, _SALT)
    probes = workload.probes()
    if not probes:
        return plan
    counts = []
    for prompt in probes:
        answer = ask(load, prompt)
        if not answer.ok:
            words = error_words(load, answer, _WORDS_CHARS)
            raise UserError(Exit.ENDPOINT, f"{load.base_url} does not take {workload.probed}: {words or answer.error}")
        counts.append(answer.usage.prompt_tokens)
    try:
        settings, note = workload.measured(counts)
    except ValueError as error:
        raise UserError(Exit.ENDPOINT, f"{load.base_url} {error}") from None
    table = scenario.workload_settings.model_copy(update=settings)
    return replace(
        plan,
        scenario=scenario.model_copy(update={workload.name: table}),
        prompt_notes=(*plan.prompt_notes, *([note] if note else [])),
    )
