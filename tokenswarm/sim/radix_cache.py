"""A prefix cache as a radix tree over tokens, as SGLang's: any shared prefix is found, to the page. Pure."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from tokenswarm.base.presence import present
from tokenswarm.sim.jobs import TOKEN_BYTES

_SWEEP_FROM = 1000
"""Entries in the queue of eviction from which stale ones are swept out."""


@dataclass(slots=True, eq=False)
class Node:
    """A run of tokens behind its parent's. `holders`: leases that hold it; `used`: when it was last touched."""

    label: bytes
    parent: Node | None
    children: dict[bytes, Node] = field(default_factory=dict)
    holders: int = 0
    used: int = 0

    @property
    def tokens(self) -> int:
        """Tokens of this run alone."""
        return len(self.label) // TOKEN_BYTES


@dataclass(slots=True, eq=False)
class RadixLease:
    """See kv.Lease. The first `shared` tokens lie in the tree (down to `node`), the rest of `room` is its own."""

    sequence: bytes
    node: Node
    cached: int = 0
    room: int = 0
    shared: int = 0


class RadixCache:
    """See kv.KVCache. Eviction: of the leaves that nobody holds, the one that was touched longest ago."""

    commits_early = False

    def __init__(self, capacity_tokens: int, page_size: int = 1, enabled: bool = True) -> None:
        self.capacity = capacity_tokens // page_size * page_size
        self._page = page_size
        self._enabled = enabled
        self.flush()

    def flush(self) -> None:
        """See KVCache."""
        self._root = Node(b"", None, holders=1)
        self._free = self.capacity
        self._evictable = 0
        self._clock = 0
        # (used, order, node): entries go stale when a node is touched, held or extended, and are skipped then
        self._leaves: list[tuple[int, int, Node]] = []
        self._leaves_limit = _SWEEP_FROM
        self._order = 0

    # --- leases ---

    def open(self, sequence: bytes, known: int) -> RadixLease:
        """See KVCache."""
        if not self._enabled:
            return RadixLease(sequence, self._root)
        longest = (known - 1) // self._page * self._page
        node, matched = self._walk(sequence[: longest * TOKEN_BYTES])
        self._hold(node)
        return RadixLease(sequence, node, cached=matched, room=matched, shared=matched)

    def grow(self, lease: RadixLease, tokens: int) -> bool:
        """See KVCache."""
        lacking = -(-tokens // self._page) * self._page - lease.room
        if lacking <= 0:
            return True
        if lacking > self._free + self._evictable:
            return False
        while self._free < lacking:
            self._evict_one()
        self._free -= lacking
        lease.room += lacking
        return True

    def commit(self, lease: RadixLease, computed: int) -> None:
        """See KVCache. What another sequence put into the tree meanwhile is shared; the copy of it is freed."""
        whole = computed // self._page * self._page
        if not self._enabled or whole <= lease.shared:
            return
        data = lease.sequence[: whole * TOKEN_BYTES]
        node, matched = self._walk(data)
        self._free += max(0, matched - lease.shared)
        if matched < whole:
            node = self._add(node, data[matched * TOKEN_BYTES :])
        self._hold(node)
        self._release(lease.node)
        lease.node, lease.shared = node, whole

    def close(self, lease: RadixLease, computed: int) -> None:
        """See KVCache."""
        self.commit(lease, computed)
        self._free += lease.room - lease.shared
        if self._enabled:
            self._release(lease.node)
        lease.node, lease.room, lease.shared = self._root, 0, 0

    def held(self) -> int:
        """See KVCache."""
        return self.capacity - self._free - self._evictable

    # --- the tree ---

    def _walk(self, data: bytes) -> tuple[Node, int]:
        """The node at the end of the longest prefix of `data` in the tree, split off if need be, and its tokens."""
        self._clock += 1
        node, position = self._root, 0
        page_bytes = self._page * TOKEN_BYTES
        while position < len(data):
            child = node.children.get(data[position : position + page_bytes])
            if child is None:
                break
            common = common_prefix(child.label, data, position) // page_bytes * page_bytes
            if common < len(child.label):
                child = self._split(child, common)
            child.used = self._clock
            node = child
            position += common
            if not child.children:
                self._offer(child)
        return node, position // TOKEN_BYTES

    def _split(self, node: Node, at: int) -> Node:
        """Cuts a node in two; returns the upper part, which the same leases hold."""
        page_bytes = self._page * TOKEN_BYTES
        upper = Node(node.label[:at], node.parent, holders=node.holders, used=node.used)
        present(node.parent).children[node.label[:page_bytes]] = upper
        upper.children[node.label[at : at + page_bytes]] = node
        node.label, node.parent = node.label[at:], upper
        return upper

    def _add(self, parent: Node, label: bytes) -> Node:
        node = Node(label, parent, used=self._clock)
        parent.children[label[: self._page * TOKEN_BYTES]] = node
        self._evictable += node.tokens
        self._offer(node)
        return node

    def _hold(self, node: Node) -> None:
        while node is not self._root:
            if node.holders == 0:
                self._evictable -= node.tokens
            node.holders += 1
            node = present(node.parent)

    def _release(self, node: Node) -> None:
        while node is not self._root:
            node.holders -= 1
            if node.holders == 0:
                self._evictable += node.tokens
                if not node.children:
                    self._offer(node)
            node = present(node.parent)

    def _offer(self, node: Node) -> None:
        """Enters a leaf that nobody holds into the queue of eviction."""
        if node.holders:
            return
        self._order += 1
        heapq.heappush(self._leaves, (node.used, self._order, node))
        if len(self._leaves) > self._leaves_limit:
            self._leaves = [entry for entry in self._leaves if self._valid(*entry)]
            heapq.heapify(self._leaves)
            # twice what is alive: the sweep costs a constant per entry
            self._leaves_limit = max(_SWEEP_FROM, 2 * len(self._leaves))

    def _valid(self, used: int, order: int, node: Node) -> bool:
        alive = node.parent is not None and node.parent.children.get(node.label[: self._page * TOKEN_BYTES]) is node
        return alive and not node.holders and not node.children and node.used == used

    def _evict_one(self) -> None:
        while True:
            used, order, node = heapq.heappop(self._leaves)
            if self._valid(used, order, node):
                break
        parent = present(node.parent)
        del parent.children[node.label[: self._page * TOKEN_BYTES]]
        node.parent = None
        self._evictable -= node.tokens
        self._free += node.tokens
        if parent is not self._root and not parent.children:
            self._offer(parent)


def common_prefix(label: bytes, data: bytes, start: int) -> int:
    """Number of leading bytes of `label` that data[start:] has too. Bisection: comparing slices is what is quick."""
    low, high = 0, min(len(label), len(data) - start)
    if label[:high] == data[start : start + high]:
        return high
    while low + 1 < high:
        middle = (low + high) // 2
        if label[low:middle] == data[start + low : start + middle]:
            low = middle
        else:
            high = middle
    return low
