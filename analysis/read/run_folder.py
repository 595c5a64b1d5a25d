"""Reads a run folder, including old, incomplete and third-party ones."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.numbers import LARGEST, sane_json
from tokenswarm.contract.manifest import VIRTUAL, Manifest, manifest_of, too_new
from tokenswarm.contract.tables import (
    ENGINE_METRIC_COLUMNS,
    ENGINE_METRICS_CSV,
    FORMAT,
    HOST_METRIC_COLUMNS,
    HOST_METRICS_CSV,
    MANIFEST_JSON,
    REQUEST_COLUMNS,
    REQUESTS_CSV,
    STATUSES,
    Column,
    names,
    part_name,
    table_parts,
)

_MANY_VALUES = frozenset({"request_id", "conversation", "error_detail"})
"""Text columns with nearly unique values, for which a category would only cost memory."""
_SILENT_S = 30.0
"""A run that has written nothing for this long is over, whatever its manifest says."""
_LATEST = 1000
"""Rows at the end of a table that are searched for its latest time, because several processes write out of order."""


@dataclass(frozen=True)
class Run:
    """A run folder in memory.

    requests, engine_metrics and host_metrics have every column of `tokenswarm.contract.tables`: numbers as float64 (NaN
    = not measured; true/false as 1/0), text as categories or strings. Requests are in the order sent.

    - damaged_lines: lines that are not rows (such as a torn last line) and are left out of the tables
    - notes: sentences about what the folder lacks
    - missing_files: which of run.json and requests.csv are missing or damaged
    - going: the run is still writing into its folder
    - manifest_text: run.json as it is on disk, for people to read
    """

    folder: Path
    manifest: Manifest
    manifest_text: str
    requests: pd.DataFrame
    engine_metrics: pd.DataFrame
    host_metrics: pd.DataFrame
    damaged_lines: int = 0
    notes: tuple[str, ...] = ()
    missing_files: tuple[str, ...] = ()
    going: bool = False

    @property
    def has_start_times(self) -> bool:
        """Whether `sent_at` is a real time; in some imported runs it only keeps the order of the requests."""
        return self.manifest.imported is None or self.manifest.imported.start_times

    @cached_property
    def measured(self) -> pd.DataFrame:
        """The requests that enter figures: those sent in the measure phase (all, if the table has no phases)."""
        phase = self.requests["phase"]
        return self.requests if phase.isna().all() else self.requests[(phase == "measure").to_numpy()]


def dig(tree: object, *keys: str) -> object:
    """`tree[k1][k2]...`, or None if a key is missing."""
    for key in keys:
        if not isinstance(tree, dict):
            return None
        tree = tree.get(key)
    return tree


def read_run(folder: str | Path) -> Run:
    """Read a run folder. Raises UserError(Exit.RUN_FOLDER) if it contains nothing readable."""
    path = Path(folder)
    if not path.is_dir():
        raise UserError(
            Exit.RUN_FOLDER, f"There is no run folder at {path}: give the folder that holds {REQUESTS_CSV}."
        )
    if not (path / MANIFEST_JSON).is_file() and not table_parts(path, REQUESTS_CSV):
        raise UserError(
            Exit.RUN_FOLDER, f"{path} is not a run folder: it holds neither {MANIFEST_JSON} nor {REQUESTS_CSV}."
        )
    notes: list[str] = []
    content = _read_json_object(path / MANIFEST_JSON, notes)
    manifest = manifest_of(content)
    if (newer := too_new(MANIFEST_JSON, manifest.format, FORMAT)) is not None:
        notes.append(newer)
    requests, damaged = _read_parts(path, REQUESTS_CSV, REQUEST_COLUMNS, ("sent_at", "status"), notes)
    engine, damaged_engine = _read_parts(path, ENGINE_METRICS_CSV, ENGINE_METRIC_COLUMNS, ("at",), [])
    watched = manifest.imported is None and manifest.engine.runtime != VIRTUAL  # else there was nothing to watch
    host, damaged_host = _read_parts(path, HOST_METRICS_CSV, HOST_METRIC_COLUMNS, ("at",), notes if watched else [])
    requests, odd = _keep_rows_with_an_outcome(requests)
    requests = _misses_left_out(requests, notes)
    return Run(
        folder=path,
        manifest=manifest,
        manifest_text=json.dumps(content, indent=2, ensure_ascii=False),
        requests=requests,
        engine_metrics=engine[engine["at"].notna()].reset_index(drop=True),
        host_metrics=host[host["at"].notna()].reset_index(drop=True),
        damaged_lines=damaged + damaged_engine + damaged_host + odd,
        notes=tuple(notes),
        missing_files=_missing_files(path, content),
        going=manifest.status == "running" and abs(time.time() - _last_sign(requests, host)) < _SILENT_S,
    )


def _missing_files(path: Path, manifest: Mapping[str, object]) -> tuple[str, ...]:
    there = {MANIFEST_JSON: bool(manifest), REQUESTS_CSV: bool(table_parts(path, REQUESTS_CSV))}
    return tuple(name for name, is_there in there.items() if not is_there)


def _last_sign(requests: pd.DataFrame, host: pd.DataFrame) -> float:
    """The latest time in the tables: a run in progress records itself at least once a second."""
    return float(np.nanmax([*host["at"].tail(_LATEST), *requests["sent_at"].tail(1), 0.0]))


def _read_json_object(path: Path, notes: list[str]) -> dict[str, object]:
    if not path.is_file():
        notes.append(
            f"{MANIFEST_JSON} is missing: scenario, load and engine (real or simulated) of this run are not known."
        )
        return {}
    try:
        content = sane_json(path.read_text(encoding="utf-8", errors="replace"))
    except (ValueError, OSError):
        content = None
    if not isinstance(content, dict):
        notes.append(
            f"{MANIFEST_JSON} is damaged: scenario, load and engine (real or simulated) of this run are not known."
        )
        return {}
    return content


class _WholeLines(io.RawIOBase):
    """The bytes of a file up to its last line end, counting lines as they pass.

    A killed writer leaves a torn last line, which must not be mistaken for a row.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self.torn = False
        self.lines = 0
        self._left = self._whole_length()
        self._file.seek(0)

    def _whole_length(self) -> int:
        size = end = self._file.seek(0, io.SEEK_END)
        while end > 0:
            start = max(0, end - 65536)
            self._file.seek(start)
            cut = self._file.read(end - start).rfind(b"\n")
            if cut >= 0:
                self.torn = start + cut + 1 < size
                return start + cut + 1
            end = start
        self.torn = size > 0
        return 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: self._left]
        count = self._file.readinto(view) if len(view) else 0
        self._left -= count
        self.lines += bytes(view[:count]).count(b"\n")
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _read_parts(
    folder: Path, name: str, columns: tuple[Column, ...], needed: tuple[str, ...], notes: list[str]
) -> tuple[pd.DataFrame, int]:
    """A table with all its parts (a long run has one per hour), and the number of lines that are not rows of it."""
    paths = table_parts(folder, name)
    _note_gaps(paths, folder, name, notes)
    tables, damaged = [], 0
    for path in paths or [folder / name]:
        frame, bad = _read_table(path, columns, needed, notes)
        damaged += bad
        tables.append(frame)
    return (tables[0] if len(tables) == 1 else _joined(tables, columns)), damaged


def _note_gaps(paths: list[Path], folder: Path, name: str, notes: list[str]) -> None:
    """Add a note if parts are missing: figures cover only those that are there."""
    numbers = [1 if path.name == name else int(path.name.split(".")[-2]) for path in paths]
    lacking = [part_name(name, number) for number in range(1, max(numbers, default=1)) if number not in numbers]
    if lacking:
        notes.append(
            f"{', '.join(lacking[:5])}{', ...' if len(lacking) > 5 else ''} of {folder.name} "
            f"{'is' if len(lacking) == 1 else 'are'} missing: figures are about what is there."
        )


def _joined(tables: list[pd.DataFrame], columns: tuple[Column, ...]) -> pd.DataFrame:
    """The tables concatenated. Categories are united first, else they would turn into plain text."""
    for column in columns:
        if isinstance(tables[0][column.name].dtype, pd.CategoricalDtype):
            united = union_categoricals([table[column.name] for table in tables])
            begin = 0
            for number, table in enumerate(tables):
                tables[number] = table.assign(**{column.name: united[begin : begin + len(table)]})
                begin += len(table)
    return pd.concat(tables, ignore_index=True)


def _read_table(
    path: Path, columns: tuple[Column, ...], needed: tuple[str, ...], notes: list[str]
) -> tuple[pd.DataFrame, int]:
    """The table with exactly the schema's columns, and the number of lines that are not rows of it."""
    if not path.is_file() or path.stat().st_size == 0:
        notes.append(f"{path.name} is {'empty' if path.is_file() else 'missing'}.")
        return _conform(pd.DataFrame(), columns), 0
    try:
        frame, lines, torn = _parse(path, columns, typed=True)
    except (ValueError, OverflowError):
        # Some cell has the wrong type: read text, and turn what is not a number into "not measured".
        try:
            frame, lines, torn = _parse(path, columns, typed=False)
        except (ValueError, OSError) as error:
            raise UserError(Exit.RUN_FOLDER, f"{path} cannot be read as a CSV table: {error}.") from error
    except OSError as error:
        raise UserError(Exit.RUN_FOLDER, f"{path} cannot be read: {error.strerror or error}.") from error
    if lines and not set(needed) <= set(frame.columns):
        lacking = ", ".join(name for name in needed if name not in frame.columns)
        raise UserError(Exit.RUN_FOLDER, f"{path} is not a table of a run: its first line lacks the column {lacking}.")
    damaged = max(0, lines - 1 - len(frame)) + torn
    return _conform(frame, columns), damaged


def _parse(path: Path, columns: tuple[Column, ...], *, typed: bool) -> tuple[pd.DataFrame, int, int]:
    known = set(names(columns))
    dtypes = {column.name: _dtype(column) if typed else "str" for column in columns}
    source = _WholeLines(path)
    try:
        frame = pd.read_csv(
            io.BufferedReader(source, 1 << 20),
            usecols=lambda name: name in known,
            dtype=dtypes,
            keep_default_na=False,
            na_values=[""],
            on_bad_lines="skip",
            encoding_errors="replace",
            index_col=False,
        )
    except pd.errors.EmptyDataError:
        frame = pd.DataFrame()
    finally:
        lines, torn = source.lines, int(source.torn)
        source.close()
    return frame, lines, torn


def _dtype(column: Column) -> str:
    # Not "category": pandas would convert categories that look like numbers into numbers.
    return "str" if column.kind in ("text", "bool") else "float64"


def _conform(frame: pd.DataFrame, columns: tuple[Column, ...]) -> pd.DataFrame:
    out = {}
    for column in columns:
        if column.name not in frame:
            values = _absent(column, len(frame))
        else:
            values = frame[column.name]
            if column.kind == "bool":
                values = values.map({"true": 1.0, "false": 0.0}).astype("float64")
            elif column.kind != "text":
                if values.dtype != "float64":
                    values = pd.to_numeric(values, errors="coerce").astype("float64")
                values = _possible(values, column)
        if column.kind == "text" and column.name not in _MANY_VALUES and values.dtype != "category":
            values = values.astype("category")
        out[column.name] = values.array  # without an index, or pandas would align the columns one by one
    return pd.DataFrame(out, index=frame.index, copy=False)


def _absent(column: Column, rows: int) -> pd.Series:
    """A column that the file lacks: all not measured."""
    if column.kind != "text":
        return pd.Series(np.full(rows, np.nan))
    if column.name in _MANY_VALUES:
        return pd.Series([np.nan] * rows, dtype="str")
    return pd.Series(pd.Categorical.from_codes(np.full(rows, -1), pd.Index([], dtype="str")))


_SIGNED = frozenset({"lateness_ms", "lateness_max_ms"})


def _possible(values: pd.Series, column: Column) -> pd.Series:
    """Impossible numbers (infinite, absurdly large, a negative count or duration) become "not measured"."""
    numbers = values.to_numpy()
    impossible = (np.abs(numbers) > LARGEST) | ((numbers < 0) & (column.name not in _SIGNED))
    return values.mask(impossible) if impossible.any() else values


def _misses_left_out(requests: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Cached tokens of 0 if the engine reports hits but omits the field for a miss, as older vLLM and SGLang do.

    The signs: some answers have cached tokens, none has 0 of them, and others have usage without the field. If these
    counted as not measured, the hit rate would be that of the hits alone.
    """
    cached = requests["cached_tokens"].to_numpy()
    ok = (requests["status"] == "ok").to_numpy()
    silent = ok & np.isnan(cached) & ~np.isnan(requests["prompt_tokens"].to_numpy())
    hits = cached[ok & ~np.isnan(cached)]
    if not silent.any() or not len(hits) or hits.min() <= 0:
        return requests
    notes.append(
        f"{int(silent.sum()):,} answers report no cached tokens and no answer reports 0: they are counted as "
        "misses (older versions of vLLM and SGLang leave the field out then)."
    )
    return requests.assign(cached_tokens=np.where(silent, 0.0, cached))


def _keep_rows_with_an_outcome(requests: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    good = (requests["status"].isin(STATUSES) & np.isfinite(requests["sent_at"])).to_numpy()
    if not good.all():
        requests = requests[good]
    if not requests["sent_at"].is_monotonic_increasing:
        # Rows are written in the order in which requests end; statistics over time need the order sent.
        requests = requests.sort_values("sent_at", kind="stable")
    return requests.reset_index(drop=True), int((~good).sum())
