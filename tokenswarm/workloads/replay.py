"""Replays recorded traffic: the requests of a trace, with its times, lengths, and shared prefixes.

Recorded text is sent as it is. If the trace has only lengths and block IDs, prompts are made (see `made_prompts`). Each
process reads the same file and makes the same plan; a session's number decides which process sends it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from random import Random

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.scenario.model import Scenario
from tokenswarm.traces.recording import RecordedRequest
from tokenswarm.traces.sub_agents import AgentTurn, SubAgent, turns_of
from tokenswarm.workloads.base import PlannedRequest, Prompt, RecordedTime, Session, Workload, cache_buster_prefix
from tokenswarm.workloads.corpus import Corpus
from tokenswarm.workloads.dataset import taken
from tokenswarm.workloads.made_prompts import Part, TextMaker, TokenMaker, allowed_ids
from tokenswarm.workloads.replay_prompts import ChatPrompts, IdPrompts, PromptMaker, as_characters
from tokenswarm.workloads.replay_settings import ReplaySettings, note_of, trace_of

_PROBE_TOKENS, _PROBED_IDS = 4000, 64
_PROBE_SALTS = ("probe", "probe-2", "probe-3")


class ReplayWorkload(Workload):
    """The sessions of a trace."""

    name = "replay"
    Settings = ReplaySettings

    def __init__(self, scenario: Scenario, corpus: Corpus, seed: int, salt: str) -> None:
        super().__init__(scenario, corpus, seed, salt)
        settings: ReplaySettings = self.settings
        if not settings.file:
            raise UserError(Exit.USAGE, "say which trace to replay: DATA=prod.jsonl (--data)")
        self._trace = trace_of(settings, scenario.prompts.seed)
        sessions = self._trace.recording.sessions
        self._once = settings.each_once
        self.sessions_in_all = len(sessions) if self._once else None
        self._order = list(range(len(sessions)))
        if not self._once:
            Random(f"{seed}/order").shuffle(self._order)
        self._makers = lru_cache(maxsize=4)(self._maker)
        if settings.send == "token_ids" and any(each.request.messages is not None for each in sessions[0]):
            raise UserError(
                Exit.USAGE,
                f'replay.send = "token_ids" makes prompts of recorded lengths, but '
                f'{settings.file} has their text: use send = "chat"',
            )

    def recorded_starts(self) -> Sequence[float] | None:
        """When each session begins, if the trace's times are used."""
        return self._trace.recording.starts() if self._once else None

    def planned(self) -> Iterator[PlannedRequest] | None:
        """All requests, if the trace's times are used."""
        return self._planned() if self._once else None

    def _planned(self) -> Iterator[PlannedRequest]:
        recording = self._trace.recording
        for number, session in enumerate(recording.sessions):
            for turn, each in enumerate(session, start=1):
                yield _planned(f"measure-{number:06d}", turn, each)
        for each in recording.left_out:
            yield _planned(f"left-out-{each.place:06d}", 1, each)

    def notes(self) -> list[str]:
        """What is sent of the trace, and what is not."""
        return [note_of(self._trace, self.settings)]

    def session(self, phase: str, number: int) -> ReplaySession:
        """Session `number` of a phase. With recorded times, the warm-up sends single requests that share nothing with
        the measured ones."""
        sessions = self._trace.recording.sessions
        if self._once:
            chosen = turns_of(sessions[number % len(sessions)])
            if phase != "measure":
                return self._session_of(phase, number, chosen[:1], f"{phase}/{number // len(sessions)}")
            made = self._session_of(phase, number, chosen, phase)
            made.schedule = tuple(RecordedTime(turn.request.at_s, turn.request.delay_s) for turn in chosen)
            return made
        place, pass_name = taken(phase, number, len(sessions))
        chosen = turns_of(sessions[self._order[place]])
        return self._session_of(phase, number, chosen, f"{self.scope(phase)}{pass_name}")

    @property
    def probed(self) -> str:  # type: ignore[override]  # nobody sets it
        if self.settings.send == "token_ids":
            return 'prompts of token ids at /v1/completions (replay.send = "token_ids"; "chat" needs none)'
        return "prompts of made text"

    @property
    def _made(self) -> bool:
        return any(each.request.messages is None for session in self._trace.recording.sessions for each in session)

    def probes(self) -> Sequence[Prompt]:
        """IDs from the whole range; or made texts: short ones with different salts, whose token counts differ, and a
        long one, which shows the tokens of the text itself."""
        settings = self.settings
        if settings.send == "token_ids":
            ids = self._probed_ids()
            return [Prompt([{"role": "prompt", "content": as_characters(ids)}], "probe", 1, 0, token_ids=ids)]
        if not self._made or (settings.chars_per_token is not None and settings.template_tokens is not None):
            return []
        salt_tokens = len(cache_buster_prefix(self.salt, "probe")) / self.chars_per_token
        maker = TextMaker(f"{settings.sha256}/{self.seed}", self.chars_per_token, salt_tokens, salt_tokens)
        short, long = (maker.text([Part(f"probe/{size}", 0, 0, size, size)]) for size in self._probe_sizes())
        texts = [*(cache_buster_prefix(self.salt, scope) + short for scope in _PROBE_SALTS)]
        texts.append(cache_buster_prefix(self.salt, _PROBE_SALTS[0]) + long)
        return [Prompt([{"role": "user", "content": text}], "probe", 1, 0) for text in texts]

    def _probe_sizes(self) -> tuple[int, int]:
        longest = min(_PROBE_TOKENS, (self.settings.context_tokens or _PROBE_TOKENS) // 2)
        return longest // 10, longest

    def _probed_ids(self) -> list[int]:
        ids = allowed_ids(self.settings.token_ids, self.settings.token_ids_left_out)
        return [*ids[:: max(1, len(ids) // _PROBED_IDS)], ids[-1]]

    def measured(self, prompt_tokens: Sequence[int | None]) -> tuple[dict[str, object], str | None]:
        """The tokens per character of this text; or a check that IDs are accepted as they are."""
        if self.settings.send == "token_ids":
            count = len(self._probed_ids())
            if prompt_tokens[0] not in (None, count):
                raise ValueError(
                    f"counts {prompt_tokens[0]:,} tokens of a prompt of {count:,} token ids: ids in "
                    "replay.token_ids mean something special to it, or it adds some"
                )
            return {}, None if prompt_tokens[
                0
            ] else "The engine does not report how many tokens a prompt of token ids has."
        *few, many = prompt_tokens
        known = [count for count in few if count is not None]
        prefix = len(cache_buster_prefix(self.salt, "probe"))
        short, long = (round(size * self.chars_per_token) - prefix for size in self._probe_sizes())
        if len(known) < len(few) or many is None or many <= known[0]:
            return {}, (
                f"The engine does not count prompt tokens: generated text is assumed to have {self.chars_per_token:g} "
                "characters per token."
            )
        chars_per_token = (long - short) / (many - known[0])
        around = sum(known) / len(known) - short / chars_per_token - prefix / chars_per_token
        values = {"chars_per_token": round(chars_per_token, 6), "template_tokens": round(around, 3)}
        return {key: value for key, value in values.items() if getattr(self.settings, key) is None}, None

    def _session_of(self, phase: str, number: int, turns: Sequence[AgentTurn], scope: str) -> ReplaySession:
        return ReplaySession(phase, number, turns, self._makers(scope))

    def _maker(self, scope: str) -> PromptMaker:
        settings, key = self.settings, f"{self.settings.sha256}/{self.seed}"
        prefix = cache_buster_prefix(self.salt, scope)
        if settings.send == "token_ids":
            # The salt is part of the content: at the front it would shift the borders of all blocks.
            tokens = TokenMaker(f"{key}/{scope}/{prefix}", allowed_ids(settings.token_ids, settings.token_ids_left_out))
            return IdPrompts(self._trace, settings, tokens)
        chars_per_token = settings.chars_per_token or self.chars_per_token
        # Even without a salt, nothing of the warm-up is reused.
        key = key if scope == "measure" or not self._once else f"{key}/{scope}"
        salt_tokens = len(prefix) / chars_per_token
        text = TextMaker(key, chars_per_token, (settings.template_tokens or 0.0) + salt_tokens, salt_tokens)
        return ChatPrompts(self._trace, settings, text, prefix)


def _planned(conversation: str, turn: int, recorded: RecordedRequest) -> PlannedRequest:
    """What the trace has, even where something else is sent."""
    request = recorded.request if recorded.uncut is None else recorded.uncut
    return PlannedRequest(
        conversation,
        turn,
        recorded.at_s,
        request.input_tokens,
        request.max_tokens,
        request.block_tokens,
        request.scope,
        request.hash_ids,
    )


class ReplaySession(Session):
    """A recorded session or, with `name`, a sub-agent's part of one."""

    def __init__(self, phase: str, number: int, turns: Sequence[AgentTurn], maker: PromptMaker, name: str = "") -> None:
        super().__init__(phase, number)
        self.conversation += name
        self.turns = len(turns)
        self._number, self._name, self._recorded, self._maker = number, name, turns, maker
        self._started: list[Session] = []

    def __iter__(self) -> Iterator[Prompt]:
        prompts = self._maker.prompts(self.conversation, [turn.request for turn in self._recorded])
        for prompt, turn in zip(prompts, self._recorded, strict=True):
            self._started = [
                self._sub_agent(each, f"{self._name}-{prompt.turn}.{index}")
                for index, each in enumerate(turn.started, start=1)
            ]
            yield prompt

    def sub_sessions(self) -> Sequence[Session]:
        """The recorded sub-agents that were started after the last answer."""
        started, self._started = self._started, []
        return started

    def _sub_agent(self, recorded: SubAgent, name: str) -> ReplaySession:
        session = ReplaySession(self.phase, self._number, recorded.turns, self._maker, name)
        session.begins_after_s, session.awaited = recorded.delay_s, recorded.awaited
        return session
