"""A prefix cache of fixed-size blocks, as vLLM's: a full block is found by a hash of all tokens up to its end. Pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from tokenswarm.sim.jobs import TOKEN_BYTES

_ROOT = 0


@dataclass(slots=True, eq=False)
class BlockLease:
    """See kv.Lease. `chain` is the hash of the first `hashed` blocks."""

    sequence: bytes
    cached: int = 0
    room: int = 0
    blocks: list[int] = field(default_factory=list)
    hashed: int = 0
    chain: int = _ROOT


class BlockCache:
    """See kv.KVCache. Eviction: the block that was freed longest ago; of one sequence, its end before its beginning."""

    commits_early = True

    def __init__(self, capacity_tokens: int, block_size: int, enabled: bool = True) -> None:
        self.block_size = block_size
        self._blocks = capacity_tokens // block_size
        self.capacity = self._blocks * block_size
        self._enabled = enabled
        self.flush()

    def flush(self) -> None:
        """See KVCache."""
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(self._blocks))
        self._holders = [0] * self._blocks
        self._hash_of: list[int | None] = [None] * self._blocks
        self._block_of: dict[int, int] = {}

    def open(self, sequence: bytes, known: int) -> BlockLease:
        """See KVCache."""
        lease = BlockLease(sequence)
        if self._enabled:
            for end in range(self.block_size, known, self.block_size):
                chain = self._link(lease, end)
                block = self._block_of.get(chain)
                if block is None:
                    break
                if self._holders[block] == 0:
                    del self._free[block]
                self._holders[block] += 1
                lease.blocks.append(block)
                lease.chain = chain
                lease.hashed += 1
        lease.cached = lease.room = len(lease.blocks) * self.block_size
        return lease

    def _link(self, lease: BlockLease, end: int) -> int:
        """Hash of the first `end` tokens, given that of the block before; 64 bits, so that no two texts meet."""
        return hash((lease.chain, lease.sequence[(end - self.block_size) * TOKEN_BYTES : end * TOKEN_BYTES]))

    def grow(self, lease: BlockLease, tokens: int) -> bool:
        """See KVCache."""
        lacking = -(-tokens // self.block_size) - len(lease.blocks)
        if lacking > len(self._free):
            return False
        for _ in range(lacking):
            block, _ = self._free.popitem(last=False)
            chain = self._hash_of[block]
            if chain is not None:
                del self._block_of[chain]
                self._hash_of[block] = None
            self._holders[block] = 1
            lease.blocks.append(block)
        lease.room = len(lease.blocks) * self.block_size
        return True

    def commit(self, lease: BlockLease, computed: int) -> None:
        """See KVCache. A block whose text another block holds already stays private."""
        if not self._enabled:
            return
        while (lease.hashed + 1) * self.block_size <= computed:
            chain = self._link(lease, (lease.hashed + 1) * self.block_size)
            block = lease.blocks[lease.hashed]
            if chain not in self._block_of and self._hash_of[block] is None:
                self._block_of[chain] = block
                self._hash_of[block] = chain
            lease.chain = chain
            lease.hashed += 1

    def close(self, lease: BlockLease, computed: int) -> None:
        """See KVCache."""
        self.commit(lease, computed)
        for block in reversed(lease.blocks):
            self._holders[block] -= 1
            if self._holders[block] == 0:
                self._free[block] = None
                if self._hash_of[block] is None:
                    # nothing to lose here: use it before any cached text is evicted
                    self._free.move_to_end(block, last=False)
        lease.blocks = []
        lease.room = 0

    def held(self) -> int:
        """See KVCache."""
        return (self._blocks - len(self._free)) * self.block_size
