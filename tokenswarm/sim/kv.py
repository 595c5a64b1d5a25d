"""What a KV cache promises the scheduler, whichever way it shares prefixes. Pure."""

from __future__ import annotations

from typing import Protocol


class Lease(Protocol):
    """One sequence's hold on the cache. Tokens: `cached` were found when it was opened, `room` are allocated."""

    cached: int
    room: int


class KVCache(Protocol):
    """A KV cache of limited size that keeps what finished sequences leave behind, for others with the same prefix.

    A sequence is a `bytes` of TOKEN_BYTES each token. What a lease holds is never evicted.
    """

    capacity: int
    commits_early: bool
    """Whether a prefix may be shared as soon as its computation is scheduled, before the step has ended."""

    def open(self, sequence: bytes, known: int) -> Lease:
        """Holds the longest cached prefix of the first `known` tokens, but never all of them: one must be computed."""

    def grow(self, lease: Lease, tokens: int) -> bool:
        """Makes room for the first `tokens` tokens, evicting what nobody holds; False, and no change, if it cannot."""

    def commit(self, lease: Lease, computed: int) -> None:
        """The first `computed` tokens are in the cache now: others may share them."""

    def close(self, lease: Lease, computed: int) -> None:
        """Commits, and gives up the hold. What was computed stays until its room is needed."""

    def flush(self) -> None:
        """Forgets everything. No lease may be open."""

    def held(self) -> int:
        """Tokens that leases hold, shared ones once, rounded up to whole blocks."""
