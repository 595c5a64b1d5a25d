"""The radix tree of everything a run sent: which requests share a beginning, and where they diverge. Pure.

Requests are sequences of messages, so the first tree is one of messages. Where different messages follow the same ones,
their pieces show how long they agree. Text that always occurs together is one *segment*.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import pandas as pd
from tokenswarm.analysis.read.prompts import Messages, RecordedPrompts

ROOT = 0
_PIECE_BITS = 24


@dataclass(frozen=True)
class PrefixTree:
    """Nodes are sequences of messages from the beginning; node 0 is the empty one.

    - parent: of each node
    - prompt, full: of each request, the node of its prompt, and the node of prompt and answer (the same if it has none)
    - segments[segment_starts[v] : segment_starts[v + 1]]: what node v adds to its parent

    For each segment:

    - chars: its characters
    - ends: whether a message ends with it
    - assistant: whether it belongs to an assistant's message
    - step: characters of its first piece. A request found to diverge before this segment may still share up to step - 1
      of them.
    """

    parent: np.ndarray
    prompt: np.ndarray
    full: np.ndarray
    segment_starts: np.ndarray
    segments: np.ndarray
    chars: np.ndarray
    ends: np.ndarray
    assistant: np.ndarray
    step: np.ndarray

    def path(self, node: int, down_from: int = ROOT) -> list[int]:
        """The segments after the node `down_from` to the end of `node`, in order."""
        parent, added = self._added
        parts = []
        while node != down_from:
            parts.append(added[node])
            node = parent[node]
        return [segment for part in reversed(parts) for segment in part]

    @cached_property
    def _added(self) -> tuple[list[int], list[list[int]]]:
        """parent, and the segments that each node adds, as plain lists, which are looked up millions of times."""
        segments, starts = self.segments.tolist(), self.segment_starts.tolist()
        return self.parent.tolist(), [segments[begin:end] for begin, end in pairwise(starts)]


def build(prompts: RecordedPrompts) -> PrefixTree:
    """The tree of all prompts and answers, in any order."""
    parent, message, prompt, full = _message_tree(prompts)
    node, key, chars, ends, step = _segments(prompts.messages, parent, message)
    codes, distinct = pd.factorize(key)
    first = np.zeros(len(distinct), dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    starts = np.searchsorted(node, np.arange(len(parent) + 1))
    assistant = prompts.messages.assistant[message[node]] if len(node) else np.zeros(0, dtype=bool)
    return PrefixTree(parent, prompt, full, starts, codes, chars[first], ends[first], assistant[first], step[first])


def _message_tree(prompts: RecordedPrompts) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """parent and message of each node; the nodes of each request's prompt, and of its prompt and answer."""
    many = max(1, len(prompts.messages.chars))
    lengths = np.diff(prompts.starts)
    at = np.full(len(prompts), ROOT, dtype=np.int64)
    parents, messages, size = [np.zeros(1, dtype=np.int64)], [np.zeros(1, dtype=np.int64)], 1
    prompt = at.copy()
    answered = prompts.answers >= 0
    for depth in range(int(lengths.max(initial=0)) + 1):
        answering = answered & (lengths == depth)
        asking = lengths > depth
        prompt[lengths == depth] = at[lengths == depth]
        going = np.flatnonzero(answering | asking)
        if not len(going):
            continue
        follows = np.where(
            asking[going],
            prompts.sequence[np.minimum(prompts.starts[going] + depth, max(0, len(prompts.sequence) - 1))],
            prompts.answers[going],
        )
        codes, pairs = pd.factorize(at[going] * many + follows)
        at[going] = size + codes
        parents.append(pairs // many)
        messages.append(pairs % many)
        size += len(pairs)
    return np.concatenate(parents), np.concatenate(messages), prompt, at


@dataclass(frozen=True, slots=True)
class _Parts:
    """The current segment of each node: its key, where it begins in its message (characters), and at which piece."""

    node: np.ndarray
    key: np.ndarray
    begin: np.ndarray
    first: np.ndarray

    def of(self, chosen: np.ndarray) -> _Parts:
        """The selected ones, by a boolean for each."""
        return _Parts(self.node[chosen], self.key[chosen], self.begin[chosen], self.first[chosen])


class _Segments:
    """The segments found so far, as columns: node, order within it, key, chars, ends, step."""

    def __init__(self, messages: Messages, message: np.ndarray) -> None:
        """`message`: the message of each node."""
        self.rows: list[tuple[np.ndarray, ...]] = []
        self._messages, self._message = messages, message

    def add(self, order: int, parts: _Parts, end: np.ndarray, ends_message: np.ndarray) -> None:
        """Add the segments from where these parts begin to `end`; `ends_message` marks those that end their message."""
        if len(parts.node):
            step = self._messages.piece_end(self._message[parts.node], parts.first) - parts.begin
            self.rows.append(
                (parts.node, np.full(len(parts.node), order), parts.key, end - parts.begin, ends_message, step)
            )

    def sorted(self) -> tuple[np.ndarray, ...]:
        """The columns without the order, by node and order."""
        if not self.rows:
            none = np.zeros(0, dtype=np.int64)
            return none, none, none, none.astype(bool), none
        node, order, *others = (np.concatenate(column) for column in zip(*self.rows, strict=True))
        by = np.lexsort((order, node))
        return node[by], *(column[by] for column in others)


def _segments(messages: Messages, parent: np.ndarray, message: np.ndarray) -> tuple[np.ndarray, ...]:
    """The segments of all nodes but the root: node, key (equal if shared), chars, ends, step; sorted by node.

    Goes piece by piece. The children of a node form groups that agree so far. While a group stays whole, it is within
    one segment. When the group splits, or one member ends, the segment ends; a member left alone gets the rest as its
    segment.
    """
    segments = _Segments(messages, message)
    size = len(parent)
    node = np.arange(1, size)
    group = parent[1:].copy()  # of each node that still shares its group; groups are numbered from `size`
    group_size = np.bincount(group, minlength=size)[group] if len(node) else group
    begin = np.zeros(len(node), dtype=np.int64)  # where its current segment begins, in characters
    first = np.zeros(len(node), dtype=np.int64)  # and at which piece
    numbered, piece = size, 0
    while len(node):
        counts = messages.piece_starts[message[node] + 1] - messages.piece_starts[message[node]]
        has = counts > piece
        # Groups are keyed by number; the members that ended form a part of their own.
        at = np.minimum(messages.piece_starts[message[node]] + piece, len(messages.pieces) - 1)
        codes, distinct = pd.factorize(np.where(has, group << _PIECE_BITS | messages.pieces[at], -1 - node))
        new_size = np.bincount(codes, minlength=len(distinct))[codes]
        broken = new_size < group_size
        cut = messages.piece_end(message[node], piece - 1) if piece else np.zeros(len(node), dtype=np.int64)
        ended = broken & (cut > begin)
        segments.add(piece, _Parts(node, group, begin, first).of(ended), cut[ended], ~has[ended])
        begin, first = np.where(broken, cut, begin), np.where(broken, piece, first)
        alone = (new_size == 1) & has
        end = messages.chars[message[node]]
        segments.add(piece + 1, _Parts(node, -1 - node, begin, first).of(alone), end[alone], alone[alone])
        going = has & ~alone
        node, group, group_size = node[going], (numbered + codes)[going], new_size[going]
        begin, first = begin[going], first[going]
        numbered, piece = numbered + len(distinct), piece + 1
    return segments.sorted()
