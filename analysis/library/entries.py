"""A results folder as a list of entries: runs, answers of series, and damaged folders, which never stop the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict, Unpack

import msgspec
from tokenswarm.analysis.verdict.outcome import VALID
from tokenswarm.analysis.wording import load_sentence

from tokenswarm.base.errors import UserError
from tokenswarm.base.files import is_read_once
from tokenswarm.contract.engine_title import title_or_name
from tokenswarm.contract.manifest import LoadRecord, Manifest, manifest_of, read_object
from tokenswarm.contract.metric import Latency
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.contract.summary.header_records import EngineHeader, ScenarioHeader
from tokenswarm.contract.summary.summary_file import read_summary
from tokenswarm.contract.summary.summary_record import SUMMARY_FORMAT
from tokenswarm.contract.summary.verdict_records import OutcomeRecord
from tokenswarm.contract.tables import DASHBOARD_HTML, MANIFEST_JSON, REQUESTS_CSV, SERIES_JSON, SUMMARY_JSON
from tokenswarm.contract.tolerant import tolerant_record

RUN, DAMAGED = "run", "damaged"
ANSWERS = ("comparison", "capacity", "tune", "oneshot", "claims", "qualification", "capacities", "decision")
"""Kinds of series: each has its answer in KIND.json and a page KIND.html. A decision also has the files of its
parts.
"""
PAGES: Mapping[str, str] = {RUN: DASHBOARD_HTML} | {kind: f"{kind}.html" for kind in ANSWERS}
_MOMENT = re.compile(r"(?:^|-)(\d{4})(\d\d)(\d\d)(?:-(\d\d)(\d\d)(\d\d)|(?=-|$))")
_DEPTH = 3
"""Folders below the results folder that are searched: a series holds its runs, a decision holds series."""


@dataclass(frozen=True)
class HeadlineColumn:
    """A headline figure of a run: its key and title."""

    key: str
    title: str
    unit: str
    better: str


def _columns() -> tuple[HeadlineColumn, ...]:
    return tuple(
        HeadlineColumn(
            f"{metric.key}.p95" if isinstance(metric, Latency) else metric.name,
            f"{metric.title} p95" if isinstance(metric, Latency) else metric.title,
            metric.unit,
            metric.better,
        )
        for metric in METRICS
        if metric.headline
    )


COLUMNS = _columns()
"""Figures in a run's entry: the headlines of the registry of metrics, latencies by their p95."""


@dataclass(frozen=True)
class Entry:
    """A folder of the library.

    - name: its path below the results folder
    - started_at: UTC, as in run.json
    - outcome: how a run came out; valid: whether its figures can be used
    - sentence: why (run), the answer (series), or what is wrong (damaged folder)
    - figures: by key of COLUMNS, without those that the run lacks
    - page: the file to open, "" if there is none
    - engine: its title; engine_name: the name used in commands
    """

    folder: Path
    name: str
    kind: str
    started_at: str = ""
    engine: str = ""
    version: str = ""
    model: str = ""
    scenario: str = ""
    load: LoadRecord = field(default_factory=LoadRecord)
    label: str = ""
    outcome: str = ""
    valid: bool = False
    sentence: str = ""
    simulated: bool = False
    figures: Mapping[str, Figure] = field(default_factory=dict)
    page: str = ""
    going: bool = False
    engine_name: str = ""

    @property
    def load_words(self) -> str:
        """The load in words; empty if unknown."""
        return load_sentence(self.load) if self.load.mode or self.load.users is not None else ""

    @property
    def engine_words(self) -> str:
        return " ".join(part for part in (self.engine, self.version) if part)


class _Outcome(TypedDict, total=False):
    """The fields of an entry that describe how a run came out."""

    outcome: str
    valid: bool
    sentence: str
    simulated: bool
    figures: Mapping[str, Figure]
    page: str
    going: bool


class _Header(msgspec.Struct):
    engine: EngineHeader = msgspec.field(default_factory=EngineHeader)
    scenario: ScenarioHeader = msgspec.field(default_factory=ScenarioHeader)
    load: LoadRecord = msgspec.field(default_factory=LoadRecord)
    model: str | None = None
    started_at: str | None = None
    label: str | None = None
    going: bool = False


class _Short(msgspec.Struct):
    """What a listing needs from summary.json. The rest is not decoded, because a thousand of them may be read at
    once.
    """

    format: int = 0
    verdict: str = ""
    simulated: bool | None = None
    run: _Header = msgspec.field(default_factory=_Header)
    latency: dict[str, dict[str, Figure]] = msgspec.field(default_factory=dict)
    rates: dict[str, Figure] = msgspec.field(default_factory=dict)
    outcome: OutcomeRecord = msgspec.field(default_factory=OutcomeRecord)


_SHORT = msgspec.json.Decoder(_Short)


def read_library(results: Path) -> list[Entry]:
    """Every run, series and damaged folder below `results`, newest first. Other folders (someone's notes) are skipped.
    Never raises because of a folder's content.
    """
    entries = [entry for folder, name in _folders(results, "", _DEPTH) if (entry := read_entry(folder, name))]
    return sorted(entries, key=lambda entry: (entry.started_at or _moment_of(entry.name), entry.name), reverse=True)


def _folders(folder: Path, prefix: str, depth: int) -> Iterator[tuple[Path, str]]:
    try:
        inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    except OSError:
        return
    for path in inner:
        name = f"{prefix}{path.name}"
        yield path, name
        if depth > 1 and not (path / MANIFEST_JSON).exists():
            yield from _folders(path, f"{name}/", depth - 1)


def read_entry(folder: Path, name: str) -> Entry | None:
    """The entry of one folder; None if it is neither a run nor a series."""
    there = {path.name for path in _listing(folder)}
    if {MANIFEST_JSON, REQUESTS_CSV, SUMMARY_JSON} & there:
        return _run(folder, name, there)
    for kind in reversed(ANSWERS):
        if f"{kind}.json" in there:
            return _series(folder, name, kind, there)
    if SERIES_JSON in there:
        return Entry(folder, name, "series", _moment_of(name), sentence="no answer was reached")
    return None


def _listing(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _run(folder: Path, name: str, there: set[str]) -> Entry:
    page = PAGES[RUN] if PAGES[RUN] in there else ""
    if SUMMARY_JSON not in there:
        return _without_summary(folder, name, page)
    try:
        short = _short(folder)
    except UserError as error:
        return Entry(folder, name, DAMAGED, _moment_of(name), sentence=str(error), page=page)
    return _entry_of_run(
        folder,
        name,
        short.run,
        outcome=short.outcome.headline,
        valid=short.verdict == VALID,
        sentence=short.outcome.sentence,
        simulated=bool(short.simulated),
        figures=_figures(short),
        page=page,
        going=short.run.going,
    )


def _entry_of_run(folder: Path, name: str, run: _Header | Manifest, **ended: Unpack[_Outcome]) -> Entry:
    """The entry of a run, from its summary or its manifest; `ended`: how it came out."""
    return Entry(
        folder,
        name,
        RUN,
        run.started_at or "",
        title_or_name(run.engine.title, run.engine.name) or "",
        run.engine.version or "",
        run.model or "",
        run.scenario.name or "",
        run.load,
        run.label or "",
        engine_name=run.engine.name or "",
        **ended,
    )


def _short(folder: Path) -> _Short:
    """Decodes quickly what we wrote ourselves, and falls back to the tolerant reader, field by field."""
    try:
        if is_read_once(folder / SUMMARY_JSON):  # a pipe, which would block forever
            raise OSError
        short = _SHORT.decode((folder / SUMMARY_JSON).read_bytes())
        if short.format <= SUMMARY_FORMAT:
            return short
    except (OSError, ValueError, RecursionError):  # msgspec's errors are ValueErrors
        pass
    whole = read_summary(folder)
    header = _Header(
        whole.run.engine,
        whole.run.scenario,
        whole.run.load,
        whole.run.model,
        whole.run.started_at,
        label=whole.run.label,
        going=whole.run.going,
    )
    return _Short(whole.format, whole.verdict, whole.simulated, header, whole.latency, whole.rates, whole.outcome)


def _figures(short: _Short) -> dict[str, Figure]:
    figures = {}
    for column in COLUMNS:
        name, _, percentile = column.key.partition(".")
        figure = short.latency.get(name, {}).get(percentile) if percentile else short.rates.get(name)
        if figure is not None and figure.value is not None:
            figures[column.key] = figure
    return figures


def _without_summary(folder: Path, name: str, page: str) -> Entry:
    """A run that is still going, or whose report was never made."""
    try:
        manifest: Manifest = manifest_of(read_object(folder / MANIFEST_JSON))
    except UserError as error:
        return Entry(folder, name, DAMAGED, _moment_of(name), sentence=str(error), page=page)
    going = manifest.status == "running"
    return _entry_of_run(
        folder,
        name,
        manifest,
        outcome="RUNNING" if going else "NO REPORT",
        simulated=bool(manifest.simulated),
        page=page,
        going=going,
        sentence="still in progress, or its process died" if going else "make its report: tokenswarm report FOLDER",
    )


def _series(folder: Path, name: str, kind: str, there: set[str]) -> Entry:
    page = PAGES[kind] if PAGES[kind] in there else ""
    try:
        answer = read_object(folder / f"{kind}.json")
    except UserError as error:
        return Entry(folder, name, DAMAGED, _moment_of(name), sentence=str(error), page=page)
    return Entry(
        folder,
        name,
        kind,
        _text(answer, "started_at") or _moment_of(name),
        title_or_name(_text(answer, "engine_title") or _titles(answer), _text(answer, "engine")) or "",
        version=_text(answer, "version"),
        model=_text(answer, "model"),
        scenario=_text(answer, "scenario"),
        load=tolerant_record(load, LoadRecord) if isinstance(load := answer.get("load"), dict) else LoadRecord(),
        label=_text(answer, "label"),
        sentence=_text(answer, "sentence") or _sentence(answer.get("verdict")) or _first(answer.get("sentences")),
        simulated=answer.get("simulated") is True,
        page=page,
        engine_name=_text(answer, "engine"),
    )


def _text(answer: Mapping[str, object], key: str) -> str:
    value = answer.get(key)
    return value if isinstance(value, str) else ""


def _titles(answer: Mapping[str, object]) -> str:
    """The engines of a decision, which has one as its answer or none."""
    sides = answer.get("sides")
    titles = [_text(side, "title") for side in sides if isinstance(side, dict)] if isinstance(sides, list) else []
    return ", ".join(dict.fromkeys(filter(None, titles)))


def _first(sentences: object) -> str:
    return str(sentences[0]) if isinstance(sentences, list) and sentences else ""


def _sentence(verdict: object) -> str:
    return _text(verdict, "sentence") if isinstance(verdict, dict) else ""


def _moment_of(name: str) -> str:
    """The start time in a folder's name, 20260131-120000, in run.json's form, else that of the series around it; "" if
    neither has one."""
    moments = (_MOMENT.search(part) for part in reversed(name.split("/")))
    moment = next((each for each in moments if each is not None), None)
    if moment is None:
        return ""
    year, month, day, hour, minute, second = moment.groups("00")
    return f"{year}-{month}-{day}T{hour}:{minute}:{second}Z"
