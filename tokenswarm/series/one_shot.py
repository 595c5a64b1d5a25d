"""One prompt, asked of each engine again and again: cold, then the same once more; with a context fresh, cached, cached
and without it.

Sent by the load's own client, one request at a time. Engines that can be up together are asked in turn within each
repeat (A B, B A, ...), so that what comes and goes on the machine weighs on both alike.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.masking import shown_url
from tokenswarm.base.signals import Interrupts
from tokenswarm.client.answer import Answer
from tokenswarm.contract.one_shot_record import OneShot, Shot, ShotEngine
from tokenswarm.engines import running
from tokenswarm.generator.new_run import fresh_salt
from tokenswarm.run.checked_engine import CheckedEngine, EngineTools, checked_engine
from tokenswarm.run.first_request import LoadToCheck, error_words, send_alone
from tokenswarm.run.run_plan import RunPlan
from tokenswarm.run.shared_engine import same_engine
from tokenswarm.workloads.base import Prompt, cache_buster_prefix

COLD, CACHED, FRESH, CACHED_AGAIN, SMALL, WARMUP = "cold", "cached", "fresh", "cached_again", "small", "warmup"
_WORDS_CHARS = 200
_MOST_FAILURES = 3
"""Requests of one engine that may fail in a row: one that refuses the prompt will refuse it again."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: `context` stands before the prompt, "" for none. `max_tokens`: the longest answer."""

    prompt: str
    context: str = ""
    max_tokens: int = 256
    repeats: int = 5
    warmups: int = 1


def usual_values(max_tokens: int) -> dict[str, str]:
    """Scenario values of an engine that is asked one thing at a time: answers of equal length, no prompts measured."""
    return {
        "output.max_tokens": str(max_tokens),
        "output.ignore_eos": "true",
        "output.temperature": "0.0",
        "prompts.chars_per_token": "4.0",
    }


@dataclass(frozen=True, slots=True)
class ShotTools:
    """What the requests are made with; tests have their own."""

    engine: EngineTools = field(default_factory=EngineTools)
    ask: Callable[[LoadToCheck, Prompt, int], Answer] = send_alone
    coexists: Callable[[RunPlan], bool] = field(default_factory=lambda: can_coexist)


def texts(question: Question, salt: str) -> list[tuple[str, str]]:
    """(case, text) of one repeat, in the order in which they are sent. No text of one salt can hit what another one
    left in a prefix cache; the cached ones are the first one letter by letter."""
    before = cache_buster_prefix(salt, "one shot")
    if not question.context:
        whole = f"{before}{question.prompt}"
        return [(COLD, whole), (CACHED, whole)]
    whole = f"{before}{question.context}\n\n{question.prompt}"
    small = f"{cache_buster_prefix(salt, 'small')}{question.prompt}"
    return [(FRESH, whole), (CACHED, whole), (CACHED_AGAIN, whole), (SMALL, small)]


def can_coexist(plan: RunPlan) -> bool:
    """Whether this engine can be up while another one is: it is already, or costs nothing."""
    if plan.engine is None or plan.engine.spec.simulated:
        return True
    return bool(running.find(plan.engine.spec.name, in_containers=plan.engine.runtime == "docker"))


def ask_all(
    plans: dict[str, RunPlan], question: Question, folder: Path, console: Console, tools: ShotTools | None = None
) -> tuple[OneShot, UserError | None]:
    """Ask the engines of `plans`, by their labels. Their logs go into `folder`. Ctrl-C, or an engine that fails, ends
    it in good order: what was measured is in the record, with the error beside it. Raises UserError for what is wrong
    before the first answer."""
    tools = tools or ShotTools()
    record = OneShot(
        max_tokens=question.max_tokens,
        repeats=question.repeats,
        warmups=question.warmups,
        prompt=question.prompt,
        interleaved=len(plans) == 1 or all(tools.coexists(plan) for plan in plans.values()),
    )
    together = [list(plans)] if record.interleaved else [[label] for label in plans]
    salts = _salts(plans, question.repeats)
    try:
        for labels in together:
            with _up({label: plans[label] for label in labels}, folder, console, tools) as engines:
                _Asking(record, engines, question, salts, console, tools).play()
    except KeyboardInterrupt:
        record.reason = "interrupted"
    except UserError as error:
        if not any(shot.status == "ok" for shot in record.shots):
            raise
        record.reason = str(error)
        return record, error
    return record, None


def _salts(plans: dict[str, RunPlan], repeats: int) -> dict[str, list[str]]:
    """Salts of each label's repeats. All engines get the same texts, but where one stands on both sides: there the
    second would meet what the first left."""
    first = [fresh_salt() for _ in range(repeats + 1)]
    known = list(plans.values())
    shared = any(same_engine(known[0], other) for other in known[1:])
    return {label: [fresh_salt() for _ in first] if shared and number else first for number, label in enumerate(plans)}


@contextlib.contextmanager
def _up(
    plans: dict[str, RunPlan], folder: Path, console: Console, tools: ShotTools
) -> Iterator[dict[str, CheckedEngine]]:
    """All these engines, up and checked."""
    with Interrupts() as interrupts, contextlib.ExitStack() as stack:
        engines = {}
        for number, (label, plan) in enumerate(plans.items(), 1):
            own = folder / f"engine-{number}"
            own.mkdir(parents=True, exist_ok=True)
            stack.callback(_remove_if_empty, own)
            engine = stack.enter_context(checked_engine(plan, own, console, interrupts, tools.engine))
            engine.announce(console)
            engines[label] = engine
        yield engines


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


class _Asking:
    """The requests of engines that are up together."""

    def __init__(
        self,
        record: OneShot,
        engines: dict[str, CheckedEngine],
        question: Question,
        salts: dict[str, list[str]],
        console: Console,
        tools: ShotTools,
    ) -> None:
        self._record, self._engines, self._question = record, engines, question
        self._salts, self._console, self._tools = salts, console, tools
        self._failures = dict.fromkeys(engines, 0)
        record.engines += [_engine_of(label, engine) for label, engine in engines.items()]

    def play(self) -> None:
        """Warm-up, then all repeats. Raises UserError (ENDPOINT) where an engine only refuses."""
        for label in self._engines:
            for _ in range(self._question.warmups):
                self._case(label, 0, WARMUP, texts(self._question, self._salts[label][0])[0][1])
        for repeat in range(1, self._question.repeats + 1):
            labels = list(self._engines)
            for label in labels if repeat % 2 else labels[::-1]:
                for case, text in texts(self._question, self._salts[label][repeat]):
                    self._case(label, repeat, case, text)
            self._console.print(_progress(self._record.shots, self._engines, repeat), highlight=False)

    def _case(self, label: str, repeat: int, case: str, text: str) -> None:
        checked = self._engines[label]
        load = LoadToCheck(
            checked.engine.base_url, checked.model, checked.plan.scenario, checked.plan.corpus, checked.plan.api_key
        )
        prompt = Prompt([{"role": "user", "content": text}], f"one-shot-{repeat}", 1, 0, private=True)
        answer = self._tools.ask(load, prompt, self._question.max_tokens)
        shot = shot_of(answer, label, case, repeat)
        shot.detail = error_words(load, answer, _WORDS_CHARS)
        if case != WARMUP:
            shot.number = len(self._record.shots) + 1
            self._record.shots.append(shot)
        self._failures[label] = 0 if answer.ok else self._failures[label] + 1
        if self._failures[label] >= _MOST_FAILURES or (case == WARMUP and not answer.ok):
            status = f" ({answer.http_status})" if answer.http_status not in (None, 200) else ""
            raise UserError(
                Exit.ENDPOINT,
                f"{checked.engine.title} at {shown_url(checked.engine.base_url)} fails this "
                f"prompt{status}: {shot.detail or answer.error}",
            )


def shot_of(answer: Answer, label: str, case: str, repeat: int) -> Shot:
    """The record of an answer."""
    usage = answer.usage
    return Shot(
        engine=label,
        case=case,
        repeat=repeat,
        sent_at=answer.sent_at,
        status=answer.status,
        error=answer.error,
        e2e_ms=answer.e2e_ms,
        ttft_ms=answer.ttft_ms,
        ttft_uncertainty_ms=answer.ttft_uncertainty_ms,
        connect_ms=answer.connect_ms,
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        completion_tokens=answer.completion_tokens,
        token_source=answer.token_source,
        finish_reason=answer.finish_reason,
    )


def _engine_of(label: str, checked: CheckedEngine) -> ShotEngine:
    engine = checked.engine
    return ShotEngine(
        label=label,
        name=engine.name,
        title=engine.title,
        version=engine.version,
        model=checked.model,
        base_url=shown_url(engine.base_url),
        runtime=engine.runtime,
        simulated=engine.simulated,
        on_cpu=checked.plan.engine_on_this_cpu,
        cold_start_s=engine.cold_start_s,
        notes=list(checked.notes),
    )


def _progress(shots: Iterable[Shot], engines: Iterable[str], repeat: int) -> str:
    parts = []
    for label in engines:
        mine = [shot for shot in shots if shot.engine == label and shot.repeat == repeat]
        seconds = [f"{shot.case} {'failed' if shot.e2e_ms is None else f'{shot.e2e_ms / 1000:.2f} s'}" for shot in mine]
        parts.append(f"{label}: {', '.join(seconds)}")
    return f"repeat {repeat}: {'; '.join(parts)}"
