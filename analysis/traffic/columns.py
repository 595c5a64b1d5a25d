"""Recorded requests as columns, in bounded memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from tokenswarm.analysis.cache.hit_curve import beginnings

BYTES_PER_TOKEN = 4
"""Of text whose tokens nobody counted: the field's usual estimate for English."""
TEXT_BLOCK = 16
"""Tokens of a block of text, where there is too much of it to look at every token."""
MAX_SINGLE_TOKENS = 20_000_000
"""Tokens of text that are kept one by one, to see what caches with blocks of any size would find."""


class TrafficRequest(Protocol):
    """What is asked of a request, as `tokenswarm.traces` gives it."""

    time_s: float | None
    input_tokens: int | None
    output_tokens: int | None
    hash_ids: list[int] | None
    block_tokens: int | None
    scope: str
    messages: list[dict[str, object]] | None
    session: str | None
    delay_s: float | None
    expected: str | None


@dataclass(frozen=True, slots=True)
class PromptBlocks:
    """Each prompt as a row of ids of blocks of `block_tokens`: ids[starts[r] : starts[r + 1]] is request r's."""

    ids: np.ndarray
    starts: np.ndarray
    block_tokens: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """A workload, by request in the order of the file. NaN, or -1 for `session`: not recorded.

    time_s: seconds. input_tokens, output_tokens: lengths; `estimated` if some of them are of characters. session:
    numbers from 0 on. delay_s: pause before the request in its session. blocks: None if no prompt is known.
    block_sizes: sizes of blocks, in tokens, that were seen; more than one cannot be put together.
    """

    time_s: np.ndarray
    input_tokens: np.ndarray
    output_tokens: np.ndarray
    session: np.ndarray
    delay_s: np.ndarray
    estimated: bool
    blocks: PromptBlocks | None
    block_sizes: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.time_s)


def collect(requests: Iterable[TrafficRequest]) -> Traffic:
    """The requests as columns. Text is cut into tokens of four bytes, where the file does not tell its blocks."""
    columns = {name: array("d") for name in ("time_s", "input_tokens", "output_tokens", "delay_s")}
    sessions: dict[str, int] = {}
    session_of, blocks, sizes, estimated = array("q"), _BlockColumns(), set(), False
    for request in requests:
        text = b"" if request.messages is None else prompt_bytes(request.messages)
        lengths = {"input_tokens": request.input_tokens, "output_tokens": request.output_tokens}
        if request.input_tokens is None and request.messages is not None:
            lengths["input_tokens"], estimated = len(text) // BYTES_PER_TOKEN, True
        if request.output_tokens is None and request.expected is not None:
            lengths["output_tokens"], estimated = -(-len(request.expected.encode()) // BYTES_PER_TOKEN), True
        for name, value in (("time_s", request.time_s), ("delay_s", request.delay_s), *lengths.items()):
            columns[name].append(np.nan if value is None else value)
        session_of.append(-1 if request.session is None else sessions.setdefault(request.session, len(sessions)))
        if request.hash_ids is not None:
            sizes.add(request.block_tokens or 0)
            blocks.add_ids(request.hash_ids, request.scope)
        else:
            blocks.add_text(text)
    block_tokens = next(iter(sizes)) if len(sizes) == 1 else None
    arrays = {name: np.frombuffer(column, dtype=np.float64) for name, column in columns.items()}
    return Traffic(
        **arrays,
        session=np.frombuffer(session_of, dtype=np.int64),
        estimated=estimated,
        blocks=None if len(sizes) > 1 else blocks.finished(block_tokens),
        block_sizes=tuple(sorted(sizes)),
    )


def prompt_bytes(messages: Sequence[Mapping[str, object]]) -> bytes:
    """A prompt as bytes that begin alike exactly if the messages do."""
    return "".join(f"\x00{message.get('role')}\x00{_text(message.get('content'))}" for message in messages).encode(
        "utf-8", "surrogatepass"
    )


def _text(content: object) -> str:
    if isinstance(content, list):  # parts, some of which may be no text
        return "\x01".join(str(part.get("text", part)) if isinstance(part, dict) else str(part) for part in content)
    return "" if content is None else str(content)


class _BlockColumns:
    """Ids of all prompts, one behind the other; of text, single tokens until there are too many of them."""

    def __init__(self) -> None:
        self._ids, self._starts = array("q"), array("q", [0])
        self._of_text = self._of_ids = False
        self._every = 1
        self._scopes: dict[str, int] = {"": 0}

    def add_ids(self, ids: list[int], scope: str) -> None:
        """A prompt whose blocks have ids; equal ids of two scopes are two blocks."""
        self._of_ids = True
        if scope:  # a first id of its own would move the blocks by one, so every id is changed
            shift = self._scopes.setdefault(scope, len(self._scopes)) << 40
            ids = [each ^ shift for each in ids]
        self._ids.extend(ids)
        self._starts.append(len(self._ids))

    def add_text(self, text: bytes) -> None:
        """A prompt as text; one that is not known is empty."""
        if text:
            self._of_text = True
            whole = len(text) // BYTES_PER_TOKEN * BYTES_PER_TOKEN
            tokens = np.frombuffer(text[:whole], dtype=np.uint32)
            if self._every > 1:
                tokens = beginnings(tokens)[self._every - 1 :: self._every].view(np.int64)
            self._ids.frombytes(tokens.astype(np.int64).tobytes())
        self._starts.append(len(self._ids))
        if self._of_text and self._every == 1 and len(self._ids) > MAX_SINGLE_TOKENS:
            self._coarsen()

    def finished(self, block_tokens: int | None) -> PromptBlocks | None:
        """What was collected. None where no prompt is known, or some by their ids and some by their text."""
        if self._of_text == self._of_ids or not len(self._ids):
            return None
        size = block_tokens if self._of_ids else self._every
        return PromptBlocks(self._array(self._ids), self._array(self._starts), size) if size else None

    def _coarsen(self) -> None:
        whole = coarser(PromptBlocks(self._array(self._ids), self._array(self._starts), 1), TEXT_BLOCK)
        self._every = TEXT_BLOCK
        self._ids, self._starts = array("q", whole.ids.tobytes()), array("q", whole.starts.tobytes())

    @staticmethod
    def _array(column: array[int]) -> np.ndarray:
        return np.frombuffer(column, dtype=np.int64)


def first_requests(traffic: Traffic, most: int) -> Traffic:
    """The first of them by time, or of the file where times are missing."""
    if len(traffic) <= most:
        return traffic
    order = np.argsort(traffic.time_s, kind="stable")[:most]  # NaN comes last, in the order of the file
    return reordered(traffic, order)


def reordered(traffic: Traffic, order: np.ndarray) -> Traffic:
    """The requests of these places, in this order."""
    return replace(
        traffic,
        time_s=traffic.time_s[order],
        input_tokens=traffic.input_tokens[order],
        output_tokens=traffic.output_tokens[order],
        session=traffic.session[order],
        delay_s=traffic.delay_s[order],
        blocks=None if traffic.blocks is None else reordered_blocks(traffic.blocks, order),
    )


def reordered_blocks(blocks: PromptBlocks, order: np.ndarray) -> PromptBlocks:
    """The prompts of these places, in this order."""
    if len(order) == len(blocks.starts) - 1 and (np.diff(order) == 1).all():
        return blocks
    lengths = np.diff(blocks.starts)[order]
    starts = np.concatenate(([0], np.cumsum(lengths)))
    at = np.arange(starts[-1]) - np.repeat(starts[:-1] - blocks.starts[:-1][order], lengths)
    return PromptBlocks(blocks.ids[at], starts, blocks.block_tokens)


def coarser(blocks: PromptBlocks, block_tokens: int) -> PromptBlocks:
    """The same prompts in larger blocks, a multiple of what they have; what fills no whole block is left out."""
    if block_tokens == blocks.block_tokens:
        return blocks
    factor = block_tokens // blocks.block_tokens
    chained = beginnings(blocks.ids, blocks.starts)
    lengths = np.diff(blocks.starts)
    place = np.arange(len(blocks.ids)) - np.repeat(blocks.starts[:-1], lengths)
    starts = np.concatenate(([0], np.cumsum(lengths // factor)))
    return PromptBlocks(chained[place % factor == factor - 1].view(np.int64), starts, block_tokens)
