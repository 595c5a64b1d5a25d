"""Converts another tool's result file to run folders."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import digest, make_folder
from tokenswarm.base.numbers import json_value
from tokenswarm.contract.manifest import (
    CountsRecord,
    ImportedRecord,
    Manifest,
    PhaseRecord,
    ScenarioRecord,
    write_manifest,
)
from tokenswarm.contract.tables import FORMAT, REQUEST_COLUMNS, REQUESTS_CSV, format_rows, header
from tokenswarm.imports.aiperf_records import read_aiperf
from tokenswarm.imports.foreign_run import ForeignRun, Row
from tokenswarm.imports.guidellm_report import read_guidellm
from tokenswarm.imports.sglang_bench import read_sglang_line
from tokenswarm.imports.vllm_bench import read_vllm_bench

FORMATS = (
    "vllm bench serve --save-detailed",
    "sglang.bench_serving --output-details",
    "aiperf profile_export.jsonl",
    "guidellm benchmarks.json",
)
_BATCH = 1000
_HEAD = 65536
_NAME_CHARS = 40


def read_foreign(path: Path) -> Iterator[ForeignRun]:
    """The runs in another tool's result file, recognized by its content. Consume the rows of each run before the next.
    Raises UserError (DATA) if the file cannot be read or is in none of FORMATS."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            file.seek(0)
            kind = _kind(head)
            if kind == "aiperf":
                yield read_aiperf(file, path.name)
            elif kind == "sglang":
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield read_sglang_line(line, f"{path.name}, line {number},")
            elif kind == "guidellm":
                yield from read_guidellm(file.read(), path.name)
            elif kind == "vllm":
                yield read_vllm_bench(file.read(), path.name)
            else:
                raise UserError(
                    Exit.DATA, f"{path} is not one of the result files that can be read here: {'; '.join(FORMATS)}"
                )
    except OSError as error:
        raise UserError(Exit.DATA, f"{path} cannot be read: {error.strerror or error}") from None


def _kind(head: bytes) -> str:
    """The tool that wrote a file with this beginning, by keys that only that tool has; "" if unknown."""
    keys = {
        key
        for key in (
            b"metadata",
            b"guidellm_version",
            b"benchmarks",
            b"request_start_ns",
            b"benchmark_phase",
            b"model_id",
            b"tokenizer_id",
            b"dataset_name",
            b"sharegpt_output_len",
            b"random_input_len",
            b"total_token_throughput",
            b"request_throughput",
            b"duration",
            b"num_prompts",
            b"backend",
        )
        if b'"' + key + b'"' in head
    }
    if b"request_start_ns" in keys:
        return "aiperf"
    if b"guidellm_version" in keys or {b"metadata", b"benchmarks"} <= keys:
        return "guidellm"
    if b"random_input_len" in keys or b"sharegpt_output_len" in keys:
        return "sglang"
    return "vllm" if b"duration" in keys and keys & {b"model_id", b"tokenizer_id", b"num_prompts", b"backend"} else ""


def is_foreign(path: Path) -> bool:
    """Whether this is a file and therefore not a run folder."""
    return path.is_file()


def import_file(path: Path, out: Path | None = None, results: Path = Path("results")) -> list[Path]:
    """Import a file into run folders: `out`, or a folder named after it in `results`, numbered if the file has several
    runs. An existing folder is replaced. Raises UserError (DATA, RESULTS)."""
    stem = "".join(sign if sign.isalnum() or sign in "._" else "-" for sign in path.name.partition(".json")[0])
    base = out or results / f"import-{stem[:_NAME_CHARS].strip('-')}-{_short_digest(path)}"
    folders = []
    try:
        for number, run in enumerate(read_foreign(path), 1):
            folder = base if number == 1 else base.with_name(f"{base.name}-{number}")
            _write(folder, run, path)
            folders.append(folder)
    except (ArithmeticError, ValueError, TypeError, RecursionError) as error:  # correctly typed, but invalid
        raise UserError(Exit.DATA, f"{path} holds values that no run has ({error})") from None
    if not folders:
        raise UserError(Exit.DATA, f"{path} holds no run")
    return folders


def _short_digest(path: Path) -> str:
    try:
        return digest(path)[:6]
    except OSError as error:
        raise UserError(Exit.DATA, f"{path} cannot be read: {error.strerror or error}") from None


@dataclass
class _Seen:
    """What the manifest needs of the rows."""

    rows: int = 0
    first: float = float("inf")
    last: float = float("-inf")
    status: dict[str, int] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        self.rows += 1
        status = str(row["status"])
        self.status[status] = self.status.get(status, 0) + 1
        if row["phase"] == "measure":
            self.first = min(self.first, row["sent_at"])
            self.last = max(self.last, row["sent_at"] + (row.get("e2e_ms") or 0.0) / 1e3)


def _write(folder: Path, run: ForeignRun, source: Path) -> None:
    """Write to a temporary place first, so that a damaged file leaves nothing behind."""
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    make_folder(beside)
    try:
        seen = _write_rows(beside, run, folder.name)
        write_manifest(beside, _manifest(run, seen, source, folder.name))
        if folder.exists():
            if not _is_ours(folder):
                raise UserError(
                    Exit.RESULTS, f"{folder} already exists and is not an imported run: name another folder"
                )
            shutil.rmtree(folder)
        beside.rename(folder)
    except OSError as error:
        raise UserError(Exit.RESULTS, f"{folder} cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _is_ours(folder: Path) -> bool:
    try:
        manifest = json_value((folder / "run.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and isinstance(manifest.get("imported"), dict)


def _write_rows(folder: Path, run: ForeignRun, run_id: str) -> _Seen:
    seen, rows = _Seen(), iter(run.rows)
    common: Mapping[str, object] = {
        "run_id": run_id,
        "worker": 0,
        "phase": "measure",
        "user_class": "imported",
        "attempt": 1,
    }
    with (folder / REQUESTS_CSV).open("w", encoding="utf-8", newline="") as file:
        file.write(header(REQUEST_COLUMNS))
        while batch := [{**common, **row} for row in islice(rows, _BATCH)]:
            for row in batch:
                seen.add(row)
            file.write(format_rows(REQUEST_COLUMNS, batch))
    if not seen.rows:
        raise UserError(Exit.DATA, f"the file of {run.tool} holds no request")
    return seen


def _manifest(run: ForeignRun, seen: _Seen, source: Path, run_id: str) -> Manifest:
    started = run.started if run.started is not None else seen.first if seen.rows else 0.0
    started = (
        math.floor(started * 1e6) / 1e6
    )  # rounded as in requests.csv: otherwise the first request may be before the window
    ended = started + run.seconds if run.seconds is not None else max(seen.last, started)
    title = f"{run.tool}{f': {run.workload}' if run.workload else ''}"
    imported = ImportedRecord(run.tool, run.version, source.name, digest(source), list(run.unknown), run.start_times)
    known = started > 0.0
    return Manifest(
        format=FORMAT,
        run_id=run_id,
        status="complete",
        simulated=False,
        engine=run.engine,
        model=run.model,
        started_at=_utc(started) if known else None,
        ended_at=_utc(ended) if known else None,
        scenario=ScenarioRecord(name="imported", title=title),
        load=run.load,
        phases=[PhaseRecord("measure", started, ended)],
        counts=CountsRecord(
            ok=seen.status.get("ok", 0),
            failed=seen.status.get("failed", 0),
            cancelled=seen.status.get("cancelled", 0),
            rows=seen.rows,
            sent=max(run.sent or 0, seen.rows),
        ),
        imported=imported,
        notes=[
            f"Imported from {source.name} of {title}.",
            f"Not known of a run of {run.tool}: {'; '.join(run.unknown)}.",
            *([f"Defined otherwise than by {run.tool}: {'; '.join(run.otherwise)}."] if run.otherwise else []),
        ],
    )


def _utc(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
