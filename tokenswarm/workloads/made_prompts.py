"""Makes prompts of recorded lengths, as text or token IDs, whose blocks are equal exactly where the trace's IDs are.

Content is a keyed hash of (trace, seed, id) and nothing else: the same on every worker and machine, whatever the order.
Three layouts: blocks that fill the prompt, a partial last block, and an end not covered by IDs, which is unique to the
request.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from tokenswarm.traces.recording import RecordedRequest
from tokenswarm.workloads.plain_words import WORDS

_REMEMBERED_PIECES = 8192
_MEAN_WORD_CHARS = 6
_MASK = len(WORDS) - 1


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a prompt that is one text. `key` identifies it, `rank` distinguishes it from its siblings (see
    `ranks_among_siblings`). It covers the tokens from `begin` to `end`; a complete part has `size` tokens."""

    key: str
    rank: int
    begin: int
    end: int
    size: int


class Ranks:
    """The result of `ranks_among_siblings`."""

    def __init__(self, of_ids: Mapping[tuple[str, int], int], of_tails: Mapping[int, int]) -> None:
        self._of_ids, self._of_tails = of_ids, of_tails

    def parts(self, recorded: RecordedRequest) -> Iterator[Part]:
        """The parts of a request's prompt, in order."""
        request = recorded.request
        length, block, end = request.input_tokens or 1, request.block_tokens or 0, 0
        for number, identity in enumerate(request.hash_ids or ()):
            begin, end = number * block, min((number + 1) * block, length)
            yield Part(f"{request.scope}/{identity}", self._of_ids[request.scope, identity], begin, end, block)
        if end < length:
            yield Part(f"end/{recorded.place}", self._of_tails.get(recorded.place, 0), end, length, length - end)


class TextMaker:
    """Makes texts. `key` identifies trace and seed. `chars_per_token`: of this text in the engine's tokenizer.
    `extra_tokens`: tokens around the text (chat template, salt), by which its end is cut so that the whole prompt has
    the requested length. `lead_tokens`: the salt's share of these, by which the first block is shorter. So blocks end
    where the trace's do or a few tokens later (by the start of the chat template), never earlier: an engine that caches
    whole blocks would lose one at each border.
    """

    def __init__(self, key: str, chars_per_token: float, extra_tokens: float, lead_tokens: float = 0.0) -> None:
        self._key, self._chars_per_token = key.encode(), chars_per_token
        self._extra_tokens, self._lead_tokens = extra_tokens, lead_tokens
        self._piece = lru_cache(maxsize=_REMEMBERED_PIECES)(self._piece_of)

    def text(self, parts: Sequence[Part]) -> str:
        """The prompt. Equal parts after equal beginnings are equal texts."""
        text = "".join(
            self._piece(part.key, part.rank, self._chars(part.begin, part.begin + part.size))[
                : self._chars(part.begin, part.end)
            ]
            for part in parts
        )
        length = parts[-1].end if parts else 0
        return text[: max(1, round((length - self._extra_tokens) * self._chars_per_token))] or "."

    def shared_chars(self, parts: Sequence[Part]) -> int:
        """Characters of the first parts."""
        return sum(self._chars(part.begin, part.end) for part in parts)

    def _chars(self, begin: int, end: int) -> int:
        """Characters between two positions of a prompt. Each position is rounded from the start, so rounding errors do
        not add up."""
        first, last = (max(0, round((at - self._lead_tokens) * self._chars_per_token)) for at in (begin, end))
        return last - first

    def _piece_of(self, key: str, rank: int, chars: int) -> str:
        """Words starting at the one for the rank, and a line end, after which any tokenizer starts a new token."""
        source = _random_numbers(self._key, key, chars // _MEAN_WORD_CHARS + 8, 2)
        first = [WORDS[rank & _MASK].capitalize()]
        if rank > _MASK:  # too many siblings for one word: the next word distinguishes them
            first.append(WORDS[rank // len(WORDS) & _MASK])
        words = [WORDS[number & _MASK] for number in source]
        text = " ".join(first + words)
        while len(text) < chars:
            text += " " + text
        return text[: max(0, chars - 1)] + "\n" if chars else ""


class TokenMaker:
    """Makes prompts of token IDs from `allowed`."""

    def __init__(self, key: str, allowed: Sequence[int]) -> None:
        self._key, self._allowed = key.encode(), tuple(allowed)
        self._piece = lru_cache(maxsize=_REMEMBERED_PIECES)(self._piece_of)
        self._first = int.from_bytes(hashlib.blake2b(self._key, digest_size=4).digest(), "big")

    def ids(self, parts: Sequence[Part]) -> list[int]:
        """The prompt: exactly the requested number of IDs, with blocks where the trace has them."""
        ids: list[int] = []
        for part in parts:
            ids += self._piece(part.key, part.rank, part.size)[: part.end - part.begin]
        return ids

    def _piece_of(self, key: str, rank: int, size: int) -> tuple[int, ...]:
        allowed, count = self._allowed, len(self._allowed)
        rest = tuple(allowed[number % count] for number in _random_numbers(self._key, key, size - 1, 4))
        return (allowed[(self._first + rank) % count], *rest)


def _random_numbers(key: bytes, name: str, count: int, bytes_each: int) -> array[int]:
    data = hashlib.shake_128(b"%b/%b" % (key, name.encode())).digest(count * bytes_each)
    numbers = array("H" if bytes_each == 2 else "I", data)
    if _BIG_ENDIAN:
        numbers.byteswap()
    return numbers


_BIG_ENDIAN = array("H", b"\x00\x01")[0] == 1


def common_parts(before: Sequence[Part], parts: Sequence[Part]) -> int:
    """Number of leading parts that two prompts have in common."""
    same = 0
    for old, new in zip(before, parts, strict=False):
        if (old.key, old.end) != (new.key, new.end):
            break
        same += 1
    return same


def allowed_ids(bounds: tuple[int, int], left_out: Sequence[int]) -> list[int]:
    """The IDs from `bounds[0]` up to `bounds[1]` (exclusive), except excluded ones."""
    excluded = frozenset(left_out)
    return [identity for identity in range(*bounds) if identity not in excluded]
