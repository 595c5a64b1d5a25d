"""tune.json: which engine settings won a race, and how certain that is. Its records, reader and writer."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import field

from tokenswarm.contract.ends import Ends, OpenEnds
from tokenswarm.contract.engine_title import engine_title
from tokenswarm.contract.series_file import read_record, write_record

TUNE_FORMAT = 1
"""Version of the format of tune.json, written as `format`."""
TUNE_JSON = "tune.json"


class Ratio(msgspec.Struct):
    """A ratio with its 95% interval, or `why` there is none."""

    value: float | None = None
    ci95: Ends | None = None
    why: str | None = None


class CandidateRecord(msgspec.Struct):
    """One candidate. `state`: winner | equal (not told from the winner) | dropped (surely worse) | failed | open
    (the race ended before its first round did).

    `figures`: of its runs in the race, by round. `ratio`: to the leader, as it stood when it left the race: it flatters
    the leader. `reason`: why it failed. `runs`: paths from the folder of the race.
    """

    name: str = ""
    settings: dict[str, object] = field(default_factory=dict)
    state: str = ""
    figures: list[float] = field(default_factory=list)
    ratio: Ratio = field(default_factory=Ratio)
    dropped_after_round: int | None = None
    reason: str | None = None
    runs: list[str] = field(default_factory=list)


class EffectRecord(msgspec.Struct):
    """What a value of a setting does against another one, the other settings alike: a ratio of the objective."""

    setting: str = ""
    value: str = ""
    against: str = ""
    ratio: Ratio = field(default_factory=Ratio)


class TimeRecord(msgspec.Struct):
    """Seconds of the whole, and those in which engines were started."""

    total_s: float = 0.0
    starts_s: float = 0.0
    starts: int = 0
    race_runs: int = 0
    fresh_runs: int = 0


class AnswersRecord(msgspec.Struct):
    """Whether the answers are as good under the winner's settings. `state`: not_at_stake (no number format changes) |
    not_checked | cannot_tell | worse | as_good (surely, within 5 points) | undecided. `before`, `after`: shares of
    `tasks` with known results that were solved; `change`: after - before, a share, with its interval."""

    state: str = ""
    tasks: int = 0
    before: float | None = None
    after: float | None = None
    change: float | None = None
    ci95: OpenEnds | None = None
    runs: list[str] = field(default_factory=list)
    sentence: str = ""


class Tune(msgspec.Struct):
    """The whole of tune.json. `ratio`: the winner's objective against the default's, of runs made after the race on
    fresh seeds. `reason`: why the race ended."""

    format: int = TUNE_FORMAT
    sentence: str = ""
    """The answer in a sentence, for a list of results."""
    engine: str = ""
    engine_title: str = ""
    """Display name of the engine; files from older versions have `engine` only."""
    scenario: str = ""
    objective: str = ""
    unit: str = ""
    simulated: bool | None = None
    winner: str | None = None
    default: str = ""
    ratio: Ratio = field(default_factory=Ratio)
    equal_to_winner: list[str] = field(default_factory=list)
    reason: str = ""
    rounds: int = 0
    spread: float | None = None
    """Residual standard deviation between two runs after removing the effects of candidate and round, as a share."""
    candidates: list[CandidateRecord] = field(default_factory=list)
    effects: list[EffectRecord] = field(default_factory=list)
    quality: str = ""
    """Whether the answers are as good under the winner's settings, in a sentence."""
    answers: AnswersRecord = field(default_factory=AnswersRecord)
    time: TimeRecord = field(default_factory=TimeRecord)
    fresh_runs: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def engine_called(self) -> str:
        """The engine's display name, for pages and sentences."""
        return engine_title(self.engine_title, self.engine)


def read_tune(folder: Path) -> Tune:
    """The tune.json of a folder. Raises UserError (RUN_FOLDER) if it is missing or has a newer format."""
    return read_record(folder / TUNE_JSON, Tune, TUNE_FORMAT)


def write_tune(folder: Path, tune: Tune) -> None:
    """Replace the whole tune.json. Raises UserError (RESULTS)."""
    write_record(folder / TUNE_JSON, tune)
