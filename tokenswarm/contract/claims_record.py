"""claims.json: published claims and what was measured here. Its records, reader and writer."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import field

from tokenswarm.contract.ends import OpenEnds
from tokenswarm.contract.series_file import read_record, write_record
from tokenswarm.contract.summary.figure import Figure

CLAIMS_JSON = "claims.json"
CLAIMS_FORMAT = 1
SUPPORTED, CONTRADICTED, UNDECIDED, NOT_TESTABLE = "supported", "contradicted", "undecided", "not testable here"
STATES = (SUPPORTED, CONTRADICTED, UNDECIDED, NOT_TESTABLE)


class ClaimSource(msgspec.Struct):
    """Who says it, and their figure in their terms. `ratio`: what follows from it, in the terms of our figure."""

    name: str = ""
    title: str = ""
    url: str = ""
    date: str = ""
    setup: str = ""
    figure: str = ""
    ratio: float | None = None


class ClaimEvidence(msgspec.Struct):
    """What was seen of a claim in one place: a figure with its interval, or whether the sentence `holds`.

    `trials`, `failures`: of a sentence that says "always". `engine`: which one, or both of a comparison; `where`: the
    hardware in words. `runs`: folders below the series. `why`: why there is nothing.
    """

    engine: str = ""
    version: str | None = None
    where: str = ""
    simulated: bool = False
    on_cpu: bool = False
    figure: Figure = field(default_factory=Figure)
    holds: bool | None = None
    trials: int = 1
    failures: int = 0
    words: str = ""
    why: str = ""
    runs: list[str] = field(default_factory=list)
    state: str = ""
    state_why: str = ""


class ClaimRecord(msgspec.Struct):
    """One claim. `contradicts`: names of claims that cannot hold where this one does. `region`: [at least, at most] of
    the figure if the claim holds, None for an open end. `missing`: what this machine lacks; `command`: what to type
    where it is there, "" where nothing measures it yet."""

    name: str = ""
    title: str = ""
    kind: str = ""
    sentence: str = ""
    sources: list[ClaimSource] = field(default_factory=list)
    needs: str = ""
    how: str = ""
    figure: str = ""
    of: str = ""
    region: OpenEnds = field(default_factory=lambda: [None, None])
    reading: str = ""
    command: str = ""
    estimate_s: float = 0.0
    missing: list[str] = field(default_factory=list)
    evidence: list[ClaimEvidence] = field(default_factory=list)
    state: str = NOT_TESTABLE
    why: str = ""
    contradicts: list[str] = field(default_factory=list)


class Claims(msgspec.Struct):
    """The whole of claims.json."""

    format: int = CLAIMS_FORMAT
    started_at: str = ""
    sentence: str = ""
    engine: str = ""
    simulated: bool = False
    machine: str = ""
    reason: str = ""
    claims: list[ClaimRecord] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_claims(folder: Path) -> Claims:
    """The claims.json of a folder. Raises UserError (RUN_FOLDER) if it is missing or has a newer format."""
    return read_record(folder / CLAIMS_JSON, Claims, CLAIMS_FORMAT)


def write_claims(folder: Path, record: Claims) -> None:
    """Replace the whole claims.json. Raises UserError (RESULTS)."""
    write_record(folder / CLAIMS_JSON, record)
