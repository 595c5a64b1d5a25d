"""Transfers files that workers may lack: the master sends them in slices before the load.

A worker requests the next slice after writing the previous one, so neither side holds more than one. Only files that
the run's scenarios name, with their digests, are sent.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import digest

SLICE_BYTES = 1 << 20
_KEYS = (("file", "sha256"), ("arrival_times_file", "arrival_times_sha256"))
"""Keys under which a scenario's table names a file and its digest."""


def named_files(values: Mapping[str, object]) -> Iterator[tuple[dict[str, object], str, str]]:
    """(table, name of its key, digest) of each file that a scenario's values name with its digest."""
    for value in values.values():
        if isinstance(value, dict):
            for key, key_of_digest in _KEYS:
                if isinstance(value.get(key), str) and isinstance(sha256 := value.get(key_of_digest), str):
                    yield value, key, sha256
            yield from named_files(value)


class FilesToHandOut:
    """The master's side: the files and their slices."""

    def __init__(self, scenarios: Sequence[Mapping[str, object]]) -> None:
        """`scenarios`: the values of all scenarios of a run."""
        self._paths = {
            sha256: Path(str(table[key])) for values in scenarios for table, key, sha256 in named_files(values)
        }

    def offers(self) -> list[dict[str, str]]:
        """Path and digest of each file that workers need."""
        return [{"path": str(path), "sha256": sha256} for sha256, path in self._paths.items()]

    def slice(self, sha256: object, offset: object) -> bytes:
        """The bytes of a file from `offset` on, at most SLICE_BYTES; none at its end. Raises UserError (DATA)."""
        path = self._paths.get(sha256) if isinstance(sha256, str) else None
        if path is None or type(offset) is not int or offset < 0:
            raise UserError(Exit.DATA, "a worker asks for a file that this run does not have")
        try:
            with path.open("rb") as file:
                file.seek(offset)
                return file.read(SLICE_BYTES)
        except OSError as error:
            raise UserError(Exit.DATA, f"{path} cannot be read: {error.strerror or error}") from None


class FilesToFetch:
    """The worker's side. Missing files are stored in a private folder until the process ends."""

    def __init__(self, ask: Callable[[str, int], None], ready: Callable[[], None]) -> None:
        """`ask`: asks the master for the slice of a file, by digest and offset; `ready`: tells it that all are here."""
        self._ask, self._ready = ask, ready
        self._wanted: list[dict[str, str]] = []
        self._local: dict[str, Path] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._digest, self._written = hashlib.sha256(), 0

    def offered(self, offers: Sequence[Mapping[str, str]]) -> None:
        """Handle the list of a run's files; request the first missing one."""
        self._wanted = [dict(offer) for offer in offers if not self._is_here(offer["path"], offer["sha256"])]
        self._next()

    def receive(self, sha256: str, offset: int, data: bytes) -> None:
        """A slice of the file that was asked for; one without bytes ends it. Raises UserError (DATA) where the file is
        not that of the digest, RESULTS where it cannot be written."""
        if not self._wanted or sha256 != self._wanted[0]["sha256"] or offset != self._written:
            return  # a slice of a file that is no longer needed
        path = self._path_of(sha256)
        if data:
            try:
                with path.open("ab") as file:
                    file.write(data)
            except OSError as error:
                raise UserError(Exit.RESULTS, f"{path} cannot be written: {error.strerror or error}") from None
            self._digest.update(data)
            self._written += len(data)
            self._ask(sha256, self._written)
            return
        if self._digest.hexdigest() != sha256:
            raise UserError(
                Exit.DATA,
                f"{self._wanted[0]['path']} is not the file that the run was planned with: it "
                "has changed on the master",
            )
        self._local[sha256] = path
        self._wanted.pop(0)
        self._next()

    def put_into(self, values: Mapping[str, object]) -> None:
        """Point the values of a scenario to the fetched files."""
        for table, key, sha256 in named_files(values):
            if sha256 in self._local:
                table[key] = str(self._local[sha256])

    def _is_here(self, path: str, sha256: str) -> bool:
        try:
            return sha256 in self._local or digest(Path(path)) == sha256
        except UserError:
            return False

    def _path_of(self, sha256: str) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="tokenswarm-")
        return Path(self._folder.name) / sha256

    def _next(self) -> None:
        if not self._wanted:
            self._ready()
            return
        self._digest, self._written = hashlib.sha256(), 0
        sha256 = self._wanted[0]["sha256"]
        self._path_of(sha256).unlink(missing_ok=True)
        self._ask(sha256, 0)
