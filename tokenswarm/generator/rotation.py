"""parts.json: which files the tables of a long run are in, and what each holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tokenswarm.base.files import replace_whole
from tokenswarm.contract.tables import PARTS_JSON, part_name


class PartIndex:
    """Counts what goes into each part. `counted` are the tables that nobody else writes to, so that their rows are
    known here."""

    def __init__(self, rotate_s: float, counted: Sequence[str]) -> None:
        self._rotate_s, self._counted = rotate_s, tuple(counted)
        self._parts: list[dict[str, object]] = []
        self.begin_next()

    @property
    def number(self) -> int:
        """Of the part that is being written, from 1."""
        return len(self._parts)

    def begin_next(self) -> None:
        """All rows from now on are those of the next part."""
        self._rows = dict.fromkeys(self._counted, 0)
        number = len(self._parts) + 1
        self._parts.append(
            {
                "part": number,
                "files": {table: part_name(table, number) for table in self._counted},
                "rows": self._rows,
                "first_written_at": None,
                "last_written_at": None,
            }
        )

    def wrote(self, table: str, count: int, at: float) -> None:
        """So many rows of a table were written at this moment (unix seconds)."""
        if table in self._rows:
            self._rows[table] += count
            part = self._parts[-1]
            part["first_written_at"] = part["first_written_at"] or round(at, 3)
            part["last_written_at"] = round(at, 3)

    def save(self, folder: Path, *, going_on: bool) -> None:
        """Replace parts.json as a whole; a run of a single part has none. `going_on`: the last part still grows, so
        nothing is told of what it holds. Raises OSError."""
        if len(self._parts) == 1:
            return
        finished = self._parts[:-1] if going_on else self._parts
        listed = [{**part, "finished": True} for part in finished]
        if going_on:
            last = self._parts[-1]
            listed.append(
                {
                    "part": last["part"],
                    "files": last["files"],
                    "rows": None,
                    "first_written_at": None,
                    "last_written_at": None,
                    "finished": False,
                }
            )
        index = {"rotate_s": self._rotate_s, "parts": listed}
        replace_whole(folder / PARTS_JSON, json.dumps(index, indent=2) + "\n")
