"""Many tests compare runs of the same content: each content is read and reduced once in a process."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from tokenswarm.analysis.compare import comparison_report

_kept: dict[str, bytes] = {}


def _content(folder: Path) -> str:
    """A digest of all that a run folder holds, and of its name."""
    digest = hashlib.sha256(folder.name.encode())
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"\0{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


@pytest.fixture(autouse=True)
def _read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read = comparison_report.read_member

    def read_or_recall(folder: str | Path) -> comparison_report.Member:
        content = _content(Path(folder))
        if content not in _kept:
            _kept[content] = pickle.dumps(read(folder))
        return replace(pickle.loads(_kept[content]), folder=Path(folder))  # a copy, which a test may change

    monkeypatch.setattr(comparison_report, "read_member", read_or_recall)
