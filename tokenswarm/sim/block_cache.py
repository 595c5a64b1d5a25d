"""A prefix cache of fixed-size blocks, as vLLM's: a full block is found by a hash of all tokens up to its end. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from tokenswarm.sim.jobs import TOKEN_BYTES

_ROOT = 0
_NOTHING = 1 << 64
"""In place of the hash of a block that holds nothing: no hash is so large."""
_SPAN_BLOCKS = 32
_MOST_LISTED = 4
"""Times all blocks: entries among those that were freed from which the list is swept."""
_MOST_SPANS = 8192
"""Of 2 KB each, where a block has 16 tokens."""


@dataclass(slots=True, eq=False)
class BlockLease:
    """See kv.Lease. `chains` are the hashes of the sequence up to the end of each full block, as far as they were asked
    for; those of the first `hashed` blocks are in the cache."""

    sequence: bytes
    cached: int = 0
    room: int = 0
    blocks: list[int] = field(default_factory=list)
    hashed: int = 0
    chains: list[int] = field(default_factory=list)


class BlockCache:
    """See kv.KVCache. Eviction: the block that was freed longest ago; of one sequence, its end before its beginning."""

    commits_early = True

    def __init__(self, capacity_tokens: int, block_size: int, enabled: bool = True) -> None:
        self.block_size = block_size
        self._blocks = capacity_tokens // block_size
        self.capacity = self._blocks * block_size
        self._enabled = enabled
        self._spans: dict[tuple[int, bytes], list[int]] = {}
        self.flush()

    def flush(self) -> None:
        """See KVCache."""
        self._fresh = 0
        """Number of the next block that was never used."""
        self._empty: list[int] = []
        """Blocks that were freed and hold nothing: the last one is used first."""
        self._freed: deque[tuple[int, list[int]]] = deque()
        """Cached blocks that were freed, longest ago first: when, and which (the last one goes first). What was held
        since is still here, and is passed over."""
        self._listed = 0
        """Blocks in there."""
        self._free = 0
        """Of these, the ones that nobody holds."""
        self._clock = 0
        self._holders = [0] * self._blocks
        """Of each block; of a cached one that nobody holds, when it was freed, below 0."""
        self._hash_of: list[int] = [_NOTHING] * self._blocks
        self._block_of: dict[int, int] = {}

    def open(self, sequence: bytes, known: int) -> BlockLease:
        """See KVCache."""
        lease = BlockLease(sequence)
        if self._enabled:
            block_of, holders, taken = self._block_of, self._holders, 0
            chains, held, most = lease.chains, lease.blocks, (known - 1) // self.block_size
            while (begin := len(held)) < most:
                self._chain(lease, begin)
                for block in map(block_of.get, chains[begin:most]):
                    if block is None:
                        break
                    if (count := holders[block]) > 0:
                        holders[block] = count + 1
                    else:
                        holders[block] = 1
                        taken += 1
                    held.append(block)
                else:
                    continue
                break
            lease.hashed = len(held)
            self._free -= taken
        lease.cached = lease.room = len(lease.blocks) * self.block_size
        return lease

    def _chain(self, lease: BlockLease, block: int) -> None:
        """Sees to the hash of all tokens up to the end of a full block; 64 bits, so that no two texts meet."""
        chains = lease.chains
        while len(chains) <= block:
            begin = len(chains) * self.block_size * TOKEN_BYTES
            span = lease.sequence[begin : begin + _SPAN_BLOCKS * self.block_size * TOKEN_BYTES]
            chains += self._span(chains[-1] if chains else _ROOT, span)

    def _span(self, chain: int, text: bytes) -> list[int]:
        """The hashes along a span of text behind `chain`. Shared texts come again and again: they are remembered."""
        hashes = self._spans.get((chain, text))
        if hashes is None:
            hashes, key, size = [], (chain, text), self.block_size * TOKEN_BYTES
            for end in range(size, len(text) + 1, size):
                chain = hash((chain, text[end - size : end]))
                hashes.append(chain)
            if len(self._spans) >= _MOST_SPANS:
                self._spans.clear()
            self._spans[key] = hashes
        return hashes

    def grow(self, lease: BlockLease, tokens: int) -> bool:
        """See KVCache."""
        held = lease.blocks
        lacking = -(-tokens // self.block_size) - len(held)
        if lacking > 0:
            if lacking > len(self._empty) + self._free + self._blocks - self._fresh:
                return False
            self._take(lacking, held)
        lease.room = len(held) * self.block_size
        return True

    def _take(self, count: int, held: list[int]) -> None:
        """So many blocks that nobody holds: such as hold nothing, else those that were freed longest ago."""
        empty, holders = self._empty, self._holders
        while count and empty:
            held.append(empty.pop())
            holders[held[-1]] = 1
            count -= 1
        if fresh := min(count, self._blocks - self._fresh):
            end = self._fresh + fresh
            held += range(self._fresh, end)
            holders[self._fresh : end] = [1] * fresh
            self._fresh = end
        for _ in range(count - fresh):
            block = self._evicted()
            del self._block_of[self._hash_of[block]]
            self._hash_of[block] = _NOTHING
            holders[block] = 1
            held.append(block)

    def _evicted(self) -> int:
        """The cached block that was freed longest ago."""
        while True:
            at, blocks = self._freed[0]
            while blocks:
                self._listed -= 1
                if self._holders[block := blocks.pop()] == -at:
                    self._free -= 1
                    return block
            self._freed.popleft()

    def commit(self, lease: BlockLease, computed: int) -> None:
        """See KVCache. A block whose text another block holds already stays private."""
        full = computed // self.block_size
        if not self._enabled or lease.hashed >= full:
            return
        self._chain(lease, full - 1)
        block_of, hash_of, begin = self._block_of, self._hash_of, lease.hashed
        for chain, block in zip(lease.chains[begin:full], lease.blocks[begin:full], strict=True):
            if chain not in block_of and hash_of[block] == _NOTHING:
                block_of[chain] = block
                hash_of[block] = chain
        lease.hashed = full

    def close(self, lease: BlockLease, computed: int) -> None:
        """See KVCache."""
        self.commit(lease, computed)
        holders, hash_of = self._holders, self._hash_of
        self._clock += 1
        now, freed = -self._clock, []
        for block in reversed(lease.blocks):
            if left := holders[block] - 1:
                holders[block] = left
            elif hash_of[block] == _NOTHING:
                holders[block] = 0
                self._empty.append(block)
            else:
                holders[block] = now
                freed.append(block)
        if freed:
            freed.reverse()
            self._freed.append((self._clock, freed))
            self._free += len(freed)
            self._listed += len(freed)
            if self._listed > _MOST_LISTED * self._blocks:
                self._sweep()
        lease.blocks = []
        lease.room = 0

    def _sweep(self) -> None:
        """Forget what was held since it was freed."""
        holders = self._holders
        kept = ((at, [block for block in blocks if holders[block] == -at]) for at, blocks in self._freed)
        self._freed = deque((at, blocks) for at, blocks in kept if blocks)
        self._listed = self._free

    def held(self) -> int:
        """See KVCache."""
        return (self._fresh - self._free - len(self._empty)) * self.block_size
