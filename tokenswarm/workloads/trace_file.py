"""The file that a workload's requests come from: its whole path, and its digest, by which every process knows it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import digest


def with_file(table: dict[str, Any], folders: Sequence[Path]) -> dict[str, Any]:
    """The table with the whole path of its `file`, and its `sha256`. Raises UserError (DATA) if it cannot be read."""
    file = table.get("file")
    if not isinstance(file, str) or not file:
        return table
    path = Path(file).expanduser()
    path = next((folder / path for folder in folders if (folder / path).is_file()), path).absolute()
    return {**table, "file": str(path), "sha256": digest(path)}


def require_same_file(file: str, sha256: str | None) -> None:
    """Raise UserError (DATA) unless the file is the one of that digest."""
    if sha256 is not None and digest(Path(file)) != sha256:
        raise UserError(Exit.DATA, f"{file} is not the file that the run was planned with: it has changed, or this "
                                   "machine has another one")
