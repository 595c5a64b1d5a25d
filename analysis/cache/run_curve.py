"""Hits against cache size for the requests of a run, whose paths in the prefix tree are uses of a cache. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tokenswarm.analysis.cache.hit_curve import HitCurve, Uses, hit_curve
from tokenswarm.analysis.cache.models import Request


def uses_of_requests(
    requests: Sequence[Request],
    segment_tokens: np.ndarray,
    prompt_tokens: np.ndarray,
    counted: np.ndarray,
    block_tokens: int,
) -> Uses:
    """Requests in the order sent, as uses of whole blocks of `block_tokens`.

    - segment_tokens: tokens of each segment of the tree
    - prompt_tokens: of each request
    - counted: which requests the shares cover; the others fill the cache but are not counted

    An answer is cached from its end. Its request then uses its whole prompt once more, because it held it until then.
    """
    events = [(request.sent, number, request.prompt, bool(counted[number])) for number, request in enumerate(requests)]
    events += [
        (request.ended, number, [*request.prompt, *request.answer], False)
        for number, request in enumerate(requests)
        if len(request.answer)
    ]
    events.sort(key=lambda event: event[0])
    lengths = np.array([len(path) for _, _, path, _ in events], dtype=np.int64)
    run = np.fromiter((segment for _, _, path, _ in events for segment in path), dtype=np.int64, count=lengths.sum())
    use_of = np.repeat(np.arange(len(events)), lengths)
    total = np.cumsum(segment_tokens[run])
    starts = np.concatenate(([0], np.cumsum(lengths)))[:-1]
    before = np.concatenate(([0.0], total))[starts]
    ends = total - np.repeat(before, lengths)
    blocks = np.floor(ends / block_tokens + 1e-9).astype(np.int64)
    first = np.zeros(len(run), dtype=bool)
    first[starts[lengths > 0]] = True
    blocks -= np.where(first, 0, np.concatenate(([0], blocks[:-1])) if len(blocks) else blocks)
    asks = np.repeat(np.array([is_asked for *_, is_asked in events], dtype=bool), lengths)
    kept = blocks > 0
    return Uses(
        use_of[kept],
        run[kept],
        blocks[kept],
        np.where(asks, blocks * block_tokens, 0)[kept],
        float(prompt_tokens[counted].sum()),
    )


def run_curve(uses: Uses, block_tokens: int) -> HitCurve:
    """The curve of a cache that evicts the end of what was least recently used, as engines do."""
    return hit_curve(uses, block_tokens, leaf_first=True)


def curve_points(curve: HitCurve, per_decade: int = 12) -> list[tuple[int, float]]:
    """(cache size in tokens, hit rate) from the first hits to where all are found; empty if there are no hits."""
    if not curve.unbounded:
        return []
    least, most = max(curve.block_tokens, curve.size_for(0.01) or 0), curve.size_for(1.0) or 0
    count = max(2, round(per_decade * np.log10(max(most / least, 1.0))) + 1)
    sizes = sorted({int(size) for size in np.ceil(np.geomspace(least, max(most, least + 1), count))})
    return [(size, curve.rate(size)) for size in sizes]
