"""Cuts messages into pieces whose hashes are stored in prompts.csv."""

from __future__ import annotations

from bisect import bisect_left


def piece_ends(chars: int) -> tuple[int, ...]:
    """Where the pieces of a message of so many characters end; the last one at its end.

    16, 32, ... 256, then every 256 until 4096, then ever further apart (a sixteenth): common beginnings are known to
    the piece, and so to 256 characters or 6%. A message of no characters is one piece.
    """
    return (*_PIECE_ENDS[: bisect_left(_PIECE_ENDS, chars)], chars)


MAX_MESSAGE_CHARS = 2**23 - 1
"""Longer messages are recorded with this length."""


def _all_piece_ends() -> tuple[int, ...]:
    ends = [16]
    while ends[-1] < MAX_MESSAGE_CHARS:
        last = ends[-1]
        ends.append(2 * last if last < 256 else last + max(256, last // 256 * 16))
    return tuple(ends)


_PIECE_ENDS = _all_piece_ends()
