"""The truth log: when each request came in and when each of its tokens was really written.

All times are time.monotonic_ns() of the machine, which every process on it shares under Linux.
"""

from __future__ import annotations

import csv
import io
from array import array
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tokenswarm.base.errors import Exit, UserError

COLUMNS = (
    "request_id", "outcome", "arrival_ns", "submitted_ns", "first_write_ns", "last_write_ns", "writes", "tokens",
    "first_written_ns", "first_model_ns", "last_model_ns", "max_gap_ns", "max_late_ns", "prompt_tokens",
    "cached_tokens", "completion_tokens", "write_ns", "model_ns",
)  # fmt: skip
"""Columns of the log; see Truth for their meaning."""

_COUNTS = tuple(name for name in COLUMNS if name not in ("request_id", "outcome", "write_ns", "model_ns"))

_BUFFER_CHARS = 1 << 16
"""A longer buffer would take so long to write that tokens came late."""


def _stamps() -> array[int]:
    return array("q")


@dataclass(slots=True)
class Truth:
    """One request. Empty (None) means that it did not happen.

    arrival_ns: the first bytes of the request were read; submitted_ns: it was complete and went to the engine.
    writes_ns: stamped immediately before the write call of each event with text; models_ns: when the model of time
    wanted it. first_written_ns: when the first of these events had left, after the event loop's next flush: the event
    arrived in between. tokens: tokens in these events. outcome: ok, fault, disconnected, or interrupted by the
    server's end.
    """

    request_id: str
    arrival_ns: int
    submitted_ns: int
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    tokens: int = 0
    outcome: str = "interrupted"
    first_written_ns: int | None = None
    # arrays, not lists: the garbage collector would walk through every stamp, and tokens would come late meanwhile
    writes_ns: array[int] = field(default_factory=_stamps)
    models_ns: array[int] = field(default_factory=_stamps)

    def row(self, every_token: bool) -> list[object]:
        """The row of the log; every_token adds the two lists, as offsets from arrival_ns joined by spaces."""
        writes, models = self.writes_ns, self.models_ns
        figures: list[object] = [""] * 4
        if writes:
            gaps = [later - earlier for earlier, later in pairwise(writes)]
            late = max(write - model for write, model in zip(writes, models, strict=True))
            figures = [models[0], models[-1], max(gaps, default=""), late]
        lists = ["", ""]
        if every_token:
            lists = [" ".join([str(stamp - self.arrival_ns) for stamp in stamps]) for stamps in (writes, models)]
        ends = [writes[0], writes[-1]] if writes else ["", ""]
        return [
            self.request_id, self.outcome, self.arrival_ns, self.submitted_ns, *ends, len(writes), self.tokens,
            "" if self.first_written_ns is None else self.first_written_ns, *figures,
            self.prompt_tokens, self.cached_tokens, self.completion_tokens, *lists,
        ]  # fmt: skip


class TruthLog:
    """Writes rows to a CSV file: kept in memory until `flush`, which the server calls each second and at its end."""

    def __init__(self, path: Path, every_token: bool) -> None:
        """Raises UserError(Exit.USAGE) if the file cannot be written."""
        self._every_token = every_token
        self._buffer = io.StringIO()
        self._writer = csv.writer(self._buffer, lineterminator="\n")
        try:
            self._file = path.open("w", encoding="utf-8", newline="")
        except OSError as error:
            raise UserError(Exit.USAGE, f"the truth log {path} cannot be written: {error.strerror}") from None
        self._writer.writerow(COLUMNS)
        self.flush()

    def add(self, truth: Truth) -> None:
        """Takes the record of a request that has ended."""
        self._writer.writerow(truth.row(self._every_token))
        if self._buffer.tell() > _BUFFER_CHARS:
            self.flush()

    def flush(self) -> None:
        """Hands all rows to the operating system."""
        self._file.write(self._buffer.getvalue())
        self._file.flush()
        self._buffer.seek(0)
        self._buffer.truncate()

    def close(self) -> None:
        """Flushes and closes."""
        self.flush()
        self._file.close()


def read_truth(path: str | Path) -> list[dict[str, object]]:
    """The rows of a truth log, in the order in which the requests ended.

    Numbers are int, or None where the cell is empty. write_ns and model_ns are lists of absolute stamps, empty
    without --truth-tokens. A torn last line (the server was killed) is left out.
    """
    csv.field_size_limit(1 << 30)
    rows: list[dict[str, object]] = []
    text = Path(path).read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    for cells in csv.reader(io.StringIO(whole, newline="")):
        if len(cells) != len(COLUMNS) or cells[0] == COLUMNS[0]:
            continue
        raw = dict(zip(COLUMNS, cells, strict=True))
        row: dict[str, object] = {"request_id": raw["request_id"], "outcome": raw["outcome"]}
        row.update({name: int(raw[name]) if raw[name] else None for name in _COUNTS})
        start_ns = int(raw["arrival_ns"])
        for name in ("write_ns", "model_ns"):
            row[name] = [start_ns + int(offset) for offset in raw[name].split()]
        rows.append(row)
    return rows
