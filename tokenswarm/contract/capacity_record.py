"""capacity.json: the highest load within the limits, and the levels that show it. Its records, reader and writer."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tokenswarm.contract.ends import Ends, OpenEnds
from tokenswarm.contract.engine_title import engine_title
from tokenswarm.contract.series_file import read_record, read_to_go_on, write_record
from tokenswarm.contract.summary.figure import Figure

CAPACITY_JSON = "capacity.json"
CAPACITY_FORMAT = 1
UNITS = {"users": "users", "requests_s": "requests/s"}
"""Units of a load, each with its words."""
OUTPUT, USER_SPEED, TTFT, E2E, COST, ENERGY = (
    "output_tok_s_per_gpu",
    "tok_s_per_user",
    "ttft_p95_ms",
    "e2e_p50_ms",
    "usd_per_million_output_tokens",
    "joules_per_output_token",
)
"""A level's figures, by name."""

ENDINGS = {
    "precision": "the interval is as narrow as was asked for",
    "neighbours": "pass and fail are neighbouring numbers of users",
    "undecided": "a level at the target was measured as long as is sensible",
    "levels": "as many loads were tried as is sensible",
    "below_least": "not even the lowest load passes",
    "limited": "the load generator was the limit",
    "refused": "the endpoint's own rate limit refused requests (429)",
    "budget": "the budget was spent",
    "interrupted": "it was interrupted; --resume continues",
    "going on": "the search goes on",
}
"""Why a search ended, in words, by `reason`."""


class CapacityFigure(msgspec.Struct):
    """The capacity. `unit`: users | requests_s; `sure_pass`, `sure_fail`: loads, None where there is none; `limit`: the
    lowest load at which something else than the engine was the limit, and `limit_why` what it was; `reason`: why the
    search ended; `curve`: `ci95` is that of a curve through the levels, and not the bracket."""

    unit: str = "users"
    estimate: float | None = None
    ci95: OpenEnds = msgspec.field(default_factory=lambda: [None, None])
    sure_pass: float | None = None
    sure_fail: float | None = None
    limit: float | None = None
    limit_why: str = ""
    reason: str = ""
    cliff: bool = False
    non_monotone: bool = False
    curve: bool = False


class CapacityLevel(msgspec.Struct):
    """One load. `state`: pass | fail | undecided | limited; `ci95`: of the attainment, valid at any look; `run`: the
    folders of its runs; `why`: what else than the requests decided, such as an engine that died; `figures`: what is
    drawn of it, by the names above; `dominated`: another level is surely better on one axis of the frontier and not
    surely worse on the other."""

    load: float = 0.0
    state: str = "undecided"
    attainment: float | None = None
    ci95: Ends = msgspec.field(default_factory=lambda: [0.0, 1.0])
    requests: int = 0
    measured_s: float = 0.0
    run: list[str] = []
    why: str = ""
    figures: dict[str, Figure] = {}
    dominated: bool = False


class CapacityTier(msgspec.Struct):
    """What the same levels say to other limits. `slo`: limits of a request by latency, ms; `target`: the share of the
    requests that must meet them; `name`: the tier's."""

    name: str = ""
    slo: dict[str, float] = {}
    target: float = 0.95
    capacity: CapacityFigure = msgspec.field(default_factory=CapacityFigure)
    levels: list[CapacityLevel] = []


class CapacityRun(msgspec.Struct):
    """One run, in the order in which they were made: what a search that goes on begins with. `step`: what it was for;
    `measured`: requests of its measured phase; `requests`, `usd`: all that it sent and what that cost, warm-up too;
    `wall_s`: all that it took; `inside_before`: requests of the run before that were still in the engine, None where it
    does not tell."""

    load: float = 0.0
    run: str = ""
    seed: int = 0
    measured_s: float = 0.0
    died: bool = False
    step: str = ""
    measured: int = 0
    requests: int = 0
    usd: float = 0.0
    wall_s: float = 0.0
    inside_before: int | None = None


class Capacity(msgspec.Struct):
    """capacity.json. `target`: the share of sent requests that must meet every limit of `slo`; `engine`, `scenario`:
    names; `precision`: a share; `knee`: the load with the highest throughput over response time; `gpus`: that `per GPU`
    divides by, None where nobody tells (then by 1); `at_least`: the load that was asked for; `tiers`: other limits."""

    format: int = CAPACITY_FORMAT
    sentence: str = ""
    """The answer in a sentence, for a list of results."""
    capacity: CapacityFigure = msgspec.field(default_factory=CapacityFigure)
    levels: list[CapacityLevel] = []
    runs: list[CapacityRun] = []
    slo: dict[str, float] = {}
    target: float = 0.95
    precision: float = 0.1
    start: float = 0.0
    salt: str = ""
    engine: str = ""
    engine_title: str = ""
    """Display name of the engine; files from older versions have `engine` only."""
    scenario: str = ""
    model: str = ""
    simulated: bool = False
    series: str = ""
    notes: list[str] = []
    tiers: list[CapacityTier] = []
    knee: float | None = None
    gpus: int | None = None
    gpu_hour_usd: float | None = None
    at_least: float | None = None

    @property
    def engine_called(self) -> str:
        """The engine's display name, for pages and sentences."""
        return engine_title(self.engine_title, self.engine)


def read_capacity(folder: Path) -> Capacity:
    """The capacity.json of a folder. Raises UserError (RUN_FOLDER)."""
    return read_record(folder / CAPACITY_JSON, Capacity, CAPACITY_FORMAT)


def read_resumable_capacity(folder: Path) -> Capacity:
    """The capacity.json of a search that is to be resumed. Raises UserError (RUN_FOLDER) also if its values cannot come
    from a search."""
    return read_to_go_on(folder / CAPACITY_JSON, Capacity, CAPACITY_FORMAT, _wrong)


def _wrong(record: Capacity) -> str | None:
    if record.capacity.unit not in UNITS:
        return f"capacity.unit is {record.capacity.unit!r}"
    if not record.start > 0.0:
        return f"start is {record.start:g}"
    questions: list[Capacity | CapacityTier] = [record, *record.tiers]
    for each in questions:
        if not 0.0 < each.target < 1.0 or not all(limit > 0.0 for limit in each.slo.values()):
            return "a limit or target of its requests is invalid"
    for number, run in enumerate(record.runs, start=1):
        least = min(run.measured, run.requests, run.usd, run.wall_s, run.measured_s)
        if not run.load > 0.0 or least < 0 or (run.measured and not run.measured_s):
            return f"run {number} has a load, time or count that no run has"
        if run.run in ("", ".", "..") or "/" in run.run:
            return f"run {number} names no folder beside it"
    return None


def write_capacity(folder: Path, record: Capacity) -> None:
    """Replace the whole capacity.json. Raises UserError (RESULTS)."""
    write_record(folder / CAPACITY_JSON, record)
