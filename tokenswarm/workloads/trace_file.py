"""The file that a workload's requests come from: how a scenario names it, and that every process reads the same one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import at_home, digest, is_there
from tokenswarm.scenario.workload_kinds import WorkloadSettings
from tokenswarm.traces.reader import Trace, open_trace


@dataclass(frozen=True, slots=True)
class TraceFile:
    """A file, how it is read, and its digest. `fields`: (role, name of the field) of a mapping."""

    path: str
    sha256: str | None
    format: str | None
    bad_rows: float
    fields: tuple[tuple[str, str], ...]

    def open(self) -> Trace:
        """The file to read. Raises UserError: DATA if it is not that of the digest or of no known format; USAGE for a
        mapping of fields that makes no sense."""
        if self.sha256 is not None and digest(Path(self.path)) != self.sha256:
            raise UserError(
                Exit.DATA,
                f"{self.path} is not the file that the run was planned with: it has changed, or "
                "this machine has another one",
            )
        return open_trace(self.path, self.format, self.bad_rows, dict(self.fields))


class TraceFileSettings(WorkloadSettings):
    """The settings of a workload that reads a file."""

    file: str = Field(default="", description="the file, in any format of docs/traffic.md; DATA= sets it")
    sha256: str | None = Field(default=None, description="the file's digest, filled in by a run")
    format: str | None = Field(default=None, description="the file's format; unset: recognised from the content")
    fields: dict[str, str] = Field(
        default_factory=dict,
        description='what the fields of its rows mean, if no known format fits: `{ prompt = "question", expected = '
        '"gold" }` (docs/traffic.md)',
    )
    bad_rows: Annotated[float, Field(strict=True, ge=0, le=1)] = Field(
        default=0.01, description="share of rows that may be unreadable"
    )

    @property
    def source(self) -> TraceFile:
        return TraceFile(self.file, self.sha256, self.format, self.bad_rows, tuple(sorted(self.fields.items())))

    @classmethod
    def completed(cls, table: dict[str, object], folders: Sequence[Path]) -> dict[str, object]:
        """With the file's whole path and its digest. Raises UserError (DATA) if it cannot be read."""
        file = table.get("file")
        if not isinstance(file, str) or not file:
            return table
        path = at_home(file)
        path = next((folder / path for folder in folders if is_there(folder / path)), path).absolute()
        return {**table, "file": str(path), "sha256": digest(path)}
