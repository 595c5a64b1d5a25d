"""A claim as data: who says it, under which conditions, what to run, and which interval would support it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tokenswarm.base.config_text import explain
from tokenswarm.base.data_files import CLAIMS_DIR
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.lookup import FileKind
from tokenswarm.base.sentences import unknown
from tokenswarm.base.toml_text import NotToml, decode

CLAIMS = FileKind("claims", ".toml", CLAIMS_DIR)
SOURCES_TOML = "_sources.toml"
_Table = TypeVar("_Table", bound="ClaimTable")
SPEED, BEHAVIOUR = "speed", "behaviour"


class ClaimTable(BaseModel):
    """A table in a claim's file; unknown keys are rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Publication(ClaimTable):
    """The source of a publication."""

    title: str
    url: str = ""
    date: str = ""
    setup: str = ""
    """Hardware, model and versions, as the source says."""


class Published(ClaimTable):
    """The statement of one source: its figure in its own terms, and the ratio that follows from it."""

    source: str
    figure: str = ""
    ratio: float | None = None


class Needs(ClaimTable):
    """Conditions for testing the claim. `gpu`: part of a product name; `lacks`: what no machine has, because tokenswarm
    cannot measure it."""

    engines: list[str] = Field(min_length=1)
    gpus: int = 0
    gpu: str = ""
    model: str = ""
    data: str = ""
    lacks: str = ""


class SideOfRun(ClaimTable):
    """One side of paired runs: an engine and its own scenario values (as in SET)."""

    engine: str
    set: str = ""


class ClaimRun(ClaimTable):
    """What to run. `by`: oneshot | pairs | sweep | spread | start | check. `points`: points of a sweep, as in SET;
    `unset`: settings left to the engine even if tokenswarm has a default; `commands`: published command lines by
    engine."""

    by: Literal["oneshot", "pairs", "sweep", "spread", "start", "check"]
    scenario: str = "chat"
    set: str = ""
    a: SideOfRun | None = None
    b: SideOfRun | None = None
    points: list[str] = []
    repeats: int = Field(default=5, ge=1)
    duration_s: float = Field(default=60.0, gt=0)
    context_tokens: int = 0
    max_tokens: int = 150
    check: str = ""
    trials: int = Field(default=1, ge=1)
    unset: list[str] = []
    commands: dict[str, list[str]] = {}

    @model_validator(mode="after")
    def _is_whole(self) -> ClaimRun:
        if self.by in ("pairs", "sweep", "spread") and (self.a is None or self.b is None):
            raise ValueError(f"by = {self.by} needs both sides, [run.a] and [run.b]")
        if self.by == "sweep" and len(self.points) < 2:
            raise ValueError("a sweep needs two points or more")
        if (self.by == "check") is not bool(self.check):
            raise ValueError("check names what by = check does, and nothing else")
        return self


class Expect(ClaimTable):
    """The figure, and its region if the claim holds. `of`: a description of the figure; `reading`: how the source's
    words were turned into the region. `case_a`, `case_b`: cases of a one-shot."""

    figure: str = ""
    of: str = ""
    case_a: str = ""
    case_b: str = ""
    at_least: float | None = None
    at_most: float | None = None
    reading: str = ""

    @model_validator(mode="after")
    def _is_region(self) -> Expect:
        if self.at_least is not None and self.at_most is not None and self.at_least >= self.at_most:
            raise ValueError("at_least should be below at_most")
        return self


class Claim(ClaimTable):
    """One file of claims/."""

    name: str = ""
    title: str
    kind: Literal["speed", "behaviour"]
    sentence: str
    published: list[Published] = Field(min_length=1)
    contradicts: list[str] = []
    """Names of claims that contradict this one."""
    needs: Needs
    run: ClaimRun
    expect: Expect

    @model_validator(mode="after")
    def _can_be_decided(self) -> Claim:
        """A speed claim is decided by an interval, so it needs a region."""
        if self.kind == SPEED and self.expect.at_least is None and self.expect.at_most is None:
            raise ValueError("[expect] of a claim about speed needs at_least or at_most")
        return self


def load_sources(folder: Path = CLAIMS_DIR) -> dict[str, Publication]:
    """All sources by name. Raises UserError (USAGE)."""
    path = folder / SOURCES_TOML
    return {name: _validated(table, Publication, path) for name, table in _read(path).items()}


def load_claims(only: list[str] | None = None) -> list[Claim]:
    """The claims, sorted by name, including those of the working folder and the user's configuration folder. `only`:
    names or paths of some of them, looked up like scenarios. Raises UserError (USAGE) for an invalid file or an unknown
    name."""
    paths = [_file(name) for name in only] if only else CLAIMS.files().values()
    return [load_claim(path) for path in sorted(dict.fromkeys(paths), key=lambda path: path.stem)]


def _file(name_or_path: str) -> Path:
    path = CLAIMS.find(name_or_path)
    if path is None:
        raise UserError(Exit.USAGE, CLAIMS.missing(name_or_path))
    return path


def load_claim(path: Path) -> Claim:
    """One claim. Raises UserError (USAGE)."""
    claim = _validated({**_read(path), "name": path.stem}, Claim, path)
    known = {**load_sources(), **(load_sources(path.parent) if (path.parent / SOURCES_TOML).is_file() else {})}
    for statement in claim.published:
        if statement.source not in known:
            raise UserError(Exit.USAGE, f"{path}: {unknown('source', statement.source, known)}")
    return claim


def _read(path: Path) -> Mapping[str, object]:
    try:
        return decode(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, NotToml) as error:
        raise UserError(Exit.USAGE, f"{path} cannot be read as a claim: {error}") from None


def _validated(table: object, kind: type[_Table], path: Path) -> _Table:
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        raise UserError(Exit.USAGE, explain(error, kind, str(path))) from None
