"""The figure of a claim, from runs; and claims.json, claims.md and claims.html."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenswarm.analysis.compare.comparison import Result
from tokenswarm.analysis.compare.comparison_report import compare_runs
from tokenswarm.analysis.compare.one_shot_figures import geometric
from tokenswarm.analysis.one_shot_files import write_one_shot_files
from tokenswarm.analysis.render.claims_page import claims_markdown, render_claims, sentence
from tokenswarm.analysis.verdict.claim_evidence import spread_ratio, trend

from tokenswarm.base.errors import UserError
from tokenswarm.base.files import make_folder, write_whole
from tokenswarm.contract.claims_record import Claims, write_claims
from tokenswarm.contract.one_shot_record import OneShot
from tokenswarm.contract.summary.figure import Figure

CLAIMS_MD, CLAIMS_HTML = "claims.md", "claims.html"


def _result(a: Sequence[Path], b: Sequence[Path], key: str) -> Result | str:
    """A comparison's figure, or the reason why there is none."""
    try:
        comparison = compare_runs(a=a, b=b)
    except UserError as error:
        return str(error)
    result = next((each for each in comparison.results if each.metric.key == key), None)
    return result or f"no run has the figure {key}"


def ratio_of_runs(a: Sequence[Path], b: Sequence[Path], key: str) -> Figure:
    """B over A in the figure `key` of a comparison, with its 95% interval."""
    result = _result(a, b, key)
    if isinstance(result, str) or result.difference is None:
        return Figure(why=result if isinstance(result, str) else result.why)
    known = result.difference
    if not known.repeated:
        return Figure(known.change, n=1, why="a single run of each says nothing about the next")
    return Figure(known.change, "", min(len(known.a.runs), len(known.b.runs)), [known.low, known.high])


def spread_of_runs(a: Sequence[Path], b: Sequence[Path], key: str) -> Figure:
    """How much more B varies from run to run than A does."""
    result = _result(a, b, key)
    if isinstance(result, str) or result.difference is None:
        return Figure(why=result if isinstance(result, str) else result.why)
    known = result.difference
    ratio = spread_ratio(known.a.runs, known.b.runs)
    if ratio is None:
        return Figure(why="too few runs, or runs that do not vary")
    return Figure(ratio[0], "", min(len(known.a.runs), len(known.b.runs)), [ratio[1], ratio[2]])


def trend_of(figures: Sequence[Figure]) -> Figure:
    """The last ratio over the first."""
    ends = []
    for figure in (figures[0], figures[-1]):
        low, high = figure.ends
        if figure.value is None or low is None or high is None:
            return Figure(why=figure.why or "a point has no interval")
        ends.append((float(figure.value), float(low), float(high)))
    value, low, high = trend(ends[0], ends[1])
    return Figure(value, "", len(figures), [low, high])


def one_shot_figure(record: OneShot, folder: Path, cases: tuple[str, str], what: str) -> Figure:
    """The ratio between two cases of one engine, or between two engines in one case, from a one-shot record; writes its
    files into `folder`.
    """
    record = write_one_shot_files(record, folder)
    case_a, case_b = cases
    found_none = Figure(why="the one shot has no such figure: " + record.sentence)
    for each in record.contrasts:
        between = each.engine_a != each.engine_b
        if each.what == what and (each.case_a, each.case_b) == cases and between is (case_a == case_b):
            return Figure(
                each.ratio,
                "",
                record.repeats,
                list(each.ci95) if each.ci95 else None,
                None if each.ratio is not None else each.why,
            )
    return found_none


def mean_of(values: Sequence[float], unit: str) -> Figure:
    """Geometric mean with its 95% interval."""
    return geometric(list(values), unit)


def write_claims_files(record: Claims, folder: Path) -> None:
    """Write the three files. Raises UserError (RESULTS)."""
    make_folder(folder)
    record.sentence = sentence(record)
    write_claims(folder, record)
    write_whole(folder / CLAIMS_MD, claims_markdown(record))
    write_whole(folder / CLAIMS_HTML, render_claims(record))
