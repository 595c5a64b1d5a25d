"""qualification.json: how much repeated runs of the same configuration differ. Its records, reader and writer."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import field

from tokenswarm.contract.engine_title import engine_title
from tokenswarm.contract.manifest import LoadRecord
from tokenswarm.contract.series_file import read_record, write_record

QUALIFICATION_JSON = "qualification.json"
QUALIFICATION_FORMAT = 1


class LeftOutRecord(msgspec.Struct):
    """A run that enters no figure, and why."""

    run_id: str = ""
    why: str = ""


class OrderEffect(msgspec.Struct):
    """The second runs of the pairs over the first ones, and the p value of that ratio being 1."""

    value: float = 1.0
    p: float = 1.0


class NoiseRecord(msgspec.Struct):
    """Of one figure, as shares: `run_spread`, the standard deviation from run to run, each with other work;
    `pair_spread`, that of a pair's ratio, with its 95% interval; `smallest_found`, by a number of pairs the difference
    that so many find in 80% of series; `pairs_for_10_percent`, None where it takes more than 1,000."""

    key: str = ""
    title: str = ""
    headline: bool = False
    pairs: int = 0
    run_spread: float = 0.0
    pair_spread: float = 0.0
    pair_spread_ci95: list[float] = field(default_factory=list)
    smallest_found: dict[str, float] = field(default_factory=dict)
    pairs_for_10_percent: int | None = None
    second_to_first: OrderEffect = field(default_factory=OrderEffect)
    sentence: str = ""


class Qualification(msgspec.Struct):
    """The whole of qualification.json. `runs`: their ids; `folders`: the same as paths from the folder of the file."""

    format: int = QUALIFICATION_FORMAT
    sentence: str = ""
    started_at: str = ""
    engine: str = ""
    engine_title: str = ""
    version: str = ""
    model: str = ""
    scenario: str = ""
    label: str = ""
    load: LoadRecord = field(default_factory=LoadRecord)
    simulated: bool = False
    runs: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    left_out: list[LeftOutRecord] = field(default_factory=list)
    figures: list[NoiseRecord] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def engine_called(self) -> str:
        """The engine's display name, for pages and sentences."""
        return engine_title(self.engine_title, self.engine)


def read_qualification(folder: Path) -> Qualification:
    """The qualification.json of a folder. Raises UserError (RUN_FOLDER) if it is missing or has a newer format."""
    return read_record(folder / QUALIFICATION_JSON, Qualification, QUALIFICATION_FORMAT)


def write_qualification(folder: Path, record: Qualification) -> None:
    """Replace the whole qualification.json. Raises UserError (RESULTS)."""
    write_record(folder / QUALIFICATION_JSON, record)
