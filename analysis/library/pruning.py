"""Which results to delete, by age and size; never what is running, labelled or unknown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tokenswarm.analysis.library.entries import Entry


@dataclass(frozen=True)
class PruningRules:
    """What to delete: folders started more than `older_than_s` seconds ago, and the oldest until the rest takes at most
    `most_bytes`. None: no such rule.
    """

    older_than_s: float | None = None
    most_bytes: int | None = None
    keep_labelled: bool = True


def to_prune(sized: Iterable[tuple[Entry, int]], rules: PruningRules, now: datetime) -> Sequence[tuple[Entry, int]]:
    """The entries to delete, each with the size of its folder in bytes, oldest first.

    A run inside a series is deleted only with its series. Runs in progress and folders of unknown age are kept.
    """
    top = [(entry, size) for entry, size in sized if "/" not in entry.name]
    total = sum(size for _, size in top)
    candidates = sorted(
        (
            (entry, size)
            for entry, size in top
            if entry.started_at and not entry.going and not (rules.keep_labelled and entry.label)
        ),
        key=lambda each: each[0].started_at,
    )
    gone = []
    for entry, size in candidates:
        age_s = (now - _moment(entry.started_at, now)).total_seconds()
        old = rules.older_than_s is not None and age_s > rules.older_than_s
        large = rules.most_bytes is not None and total > rules.most_bytes
        if old or large:
            gone.append((entry, size))
            total -= size
    return gone


def _moment(text: str, otherwise: datetime) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return otherwise
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder; links are not followed."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size if not path.is_dir() else 0
        except OSError:
            continue  # deleted meanwhile
    return total
