"""The prompts of recorded requests: text on record, made text, or token ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tokenswarm.traces.recording import RecordedRequest
from tokenswarm.workloads.base import Message, Prompt, chars_of, with_prefix
from tokenswarm.workloads.dataset import common_chars
from tokenswarm.workloads.made_prompts import Part, TextMaker, TokenMaker, common_parts
from tokenswarm.workloads.replay_settings import ReplaySettings, ReplayTrace

_CHARACTERS, _FIRST_CHARACTER, _SURROGATES = 4, 0x100, (0xD800, 0xE000)


class PromptMaker:
    """Makes the prompts of one session after the other; what all of a trace's prompts have in common."""

    def __init__(self, trace: ReplayTrace, settings: ReplaySettings) -> None:
        self._trace, self._settings = trace, settings

    def prompts(self, conversation: str, requests: Sequence[RecordedRequest]) -> Iterator[Prompt]:
        """The prompts of a session, in order."""
        raise NotImplementedError

    @staticmethod
    def _pause_after(turn: int, requests: Sequence[RecordedRequest]) -> float | None:
        """The pause on record behind the request of that turn."""
        return requests[turn].delay_s if turn < len(requests) else None

    def _answer(self, recorded_request: RecordedRequest) -> tuple[int | None, dict[str, object] | None]:
        """max_tokens and body of a request."""
        request = recorded_request.request
        if self._settings.output == "free" or request.output_tokens is None:
            return None, request.body or None
        # A grammar ends the answer itself: to go on behind its end crashes engines (vllm#37506).
        constrained = {"response_format", "tools", "structured_outputs"} & request.body.keys()
        return request.max_tokens, request.body if constrained else {**request.body, "ignore_eos": True}

    def _leading_shared(self, recorded_request: RecordedRequest) -> int:
        """How many blocks at a prompt's beginning other requests have too."""
        request = recorded_request.request
        count = 0
        for identity in request.hash_ids or ():
            if (request.scope, identity) not in self._trace.shared:
                break
            count += 1
        return count


class ChatPrompts(PromptMaker):
    """Prompts as chat messages: recorded ones, or one message of made text."""

    def __init__(self, trace: ReplayTrace, settings: ReplaySettings, text: TextMaker, prefix: str) -> None:
        super().__init__(trace, settings)
        self._text, self._prefix = text, prefix

    def prompts(self, conversation: str, requests: Sequence[RecordedRequest]) -> Iterator[Prompt]:
        before: list[Message] = []
        for turn, each in enumerate(requests, start=1):
            max_tokens, body = self._answer(each)
            if each.request.messages is not None:
                messages = with_prefix(each.request.messages, self._prefix)
                common = common_chars(before, messages) or len(self._prefix)
            else:
                parts = list(self._trace.ranks.parts(each))
                messages = [{"role": "user", "content": self._prefix + self._text.text(parts)}]
                common = len(self._prefix) + self._text.shared_chars(parts[: self._leading_shared(each)])
            yield Prompt(
                messages,
                conversation,
                turn,
                min(common, chars_of(messages)),
                max_tokens=max_tokens,
                body=body,
                pause_after_s=self._pause_after(turn, requests),
                private=each.request.messages is not None,
            )
            before = messages


class IdPrompts(PromptMaker):
    """Prompts as ids of tokens."""

    def __init__(self, trace: ReplayTrace, settings: ReplaySettings, tokens: TokenMaker) -> None:
        super().__init__(trace, settings)
        self._tokens = tokens

    def prompts(self, conversation: str, requests: Sequence[RecordedRequest]) -> Iterator[Prompt]:
        before: list[Part] = []
        for turn, each in enumerate(requests, start=1):
            max_tokens, body = self._answer(each)
            parts = list(self._trace.ranks.parts(each))
            shared = max(self._leading_shared(each), common_parts(before, parts))
            ids = self._tokens.ids(parts)
            message = {"role": "prompt", "content": as_characters(ids)}
            shared_tokens = sum(part.end - part.begin for part in parts[:shared])
            yield Prompt(
                [message],
                conversation,
                turn,
                _CHARACTERS * shared_tokens,
                max_tokens=max_tokens,
                body=body,
                pause_after_s=self._pause_after(turn, requests),
                token_ids=ids,
            )
            before = parts


def as_characters(ids: Sequence[int]) -> str:
    """A text with four characters for each id, by which prompts of ids are compared as texts of that length are."""
    low, high = _SURROGATES
    return "".join(
        _CHARACTERS * chr(code if code < low else code + high - low) for code in (i + _FIRST_CHARACTER for i in ids)
    )
