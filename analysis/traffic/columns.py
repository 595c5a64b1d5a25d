"""Recorded requests as columns, in bounded memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from tokenswarm.analysis.cache.sampled_curve import BlockSample
from tokenswarm.analysis.traffic.prompt_blocks import BYTES_PER_TOKEN, BlockColumns, PromptBlocks, reordered_blocks


class TrafficRequest(Protocol):
    """The attributes of a request that are needed here, as provided by `tokenswarm.traces`."""

    time_s: float | None
    input_tokens: int | None
    output_tokens: int | None
    hash_ids: list[int] | None
    block_tokens: int | None
    scope: str
    messages: Sequence[dict[str, object]] | None
    session: str | None
    delay_s: float | None
    expected: str | None


@dataclass(frozen=True, slots=True)
class Traffic:
    """A workload; columns by request, in file order. NaN, or -1 for `session`: not recorded.

    - time_s: seconds
    - input_tokens, output_tokens: lengths; `estimated`: some of them were estimated from characters
    - session: numbers from 0
    - delay_s: pause before the request within its session
    - blocks: None if no prompt is known
    - block_sizes: block sizes in tokens that occurred; blocks of different sizes cannot be combined
    - sample: if there are too many blocks to keep, a sample from all prompts; `blocks` then covers the first requests
      of the file
    """

    time_s: np.ndarray
    input_tokens: np.ndarray
    output_tokens: np.ndarray
    session: np.ndarray
    delay_s: np.ndarray
    estimated: bool
    blocks: PromptBlocks | None
    block_sizes: tuple[int, ...]
    sample: BlockSample | None = None

    def __len__(self) -> int:
        return len(self.time_s)


def collect(requests: Iterable[TrafficRequest]) -> Traffic:
    """The requests as columns. Text is cut into tokens of four bytes if the file has no blocks."""
    columns = {name: array("d") for name in ("time_s", "input_tokens", "output_tokens", "delay_s")}
    sessions: dict[str, int] = {}
    session_of, blocks, sizes, estimated = array("q"), BlockColumns(), set(), False
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
    known, sample = (None, None) if len(sizes) > 1 else blocks.finished(block_tokens)
    return Traffic(
        **arrays,
        session=np.frombuffer(session_of, dtype=np.int64),
        estimated=estimated,
        blocks=known,
        block_sizes=tuple(sorted(sizes)),
        sample=sample,
    )


def prompt_bytes(messages: Sequence[Mapping[str, object]]) -> bytes:
    """A prompt as bytes, such that two prompts share a prefix exactly if their messages do."""
    return "".join(f"\x00{message.get('role')}\x00{_text(message.get('content'))}" for message in messages).encode(
        "utf-8", "surrogatepass"
    )


def _text(content: object) -> str:
    if isinstance(content, list):  # parts, some of which may not be text
        return "\x01".join(str(part.get("text", part)) if isinstance(part, dict) else str(part) for part in content)
    return "" if content is None else str(content)


def with_all_blocks(traffic: Traffic) -> Traffic:
    """The requests whose blocks are all kept: the first ones of the file, if there are too many blocks."""
    if traffic.sample is None or traffic.blocks is None:
        return traffic
    return _of_places(traffic, np.arange(len(traffic.blocks.starts) - 1))


def first_requests(traffic: Traffic, most: int) -> Traffic:
    """The first of them by time, or in file order if times are missing."""
    traffic = with_all_blocks(traffic)
    if len(traffic) <= most:
        return traffic
    return _of_places(traffic, np.argsort(traffic.time_s, kind="stable")[:most])  # NaN last, in file order


def reordered(traffic: Traffic, order: np.ndarray) -> Traffic:
    """All requests, in this order."""
    return _of_places(with_all_blocks(traffic), order)


def _of_places(traffic: Traffic, places: np.ndarray) -> Traffic:
    return replace(
        traffic,
        time_s=traffic.time_s[places],
        input_tokens=traffic.input_tokens[places],
        output_tokens=traffic.output_tokens[places],
        session=traffic.session[places],
        delay_s=traffic.delay_s[places],
        blocks=None if traffic.blocks is None else reordered_blocks(traffic.blocks, places),
        sample=None,
    )
