"""How noisy a machine is, as a page, as Markdown and for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from rich import box
from rich.table import Table
from tokenswarm.analysis import wording as text
from tokenswarm.analysis.render.assets import environment, text_page
from tokenswarm.analysis.render.markdown import escape

from tokenswarm.base.sentences import in_a_row
from tokenswarm.contract.qualification_record import NoiseRecord, Qualification
from tokenswarm.contract.tables import DASHBOARD_HTML

_TOLD = "5"
"""The number of pairs in the answer: a comparison's default."""
_SURE = 0.01
"""Below this p value the second runs of the pairs differ from the first ones."""
_MORE = "> 1,000"


def qualification_sentence(record: Qualification) -> str:
    """`5 pairs find a difference of 16.2% in TTFT p95 and of 2.10% in TPOT p95; to find 10% takes 9 and 3 pairs.`"""
    headlines = [each for each in record.figures if each.headline and _TOLD in each.smallest_found]
    if not headlines:
        return "Of no headline figure is it known what pairs of runs find here."
    differences = [f"{text.percent(each.smallest_found[_TOLD])} in {each.title}" for each in headlines]
    takes = [_takes(each) for each in headlines]
    return (
        f"Here {_TOLD} pairs of runs find a difference of {in_a_row(differences, 'and')} (in 80% of series); "
        f"to find 10% takes {in_a_row(takes, 'and')} pairs."
    )


def order_notes(record: Qualification) -> list[str]:
    """Where the second run of a pair differs from the first, though nothing else does."""
    return [
        f"{each.title} of the second run of a pair is {text.number(each.second_to_first.value)} times that of the "
        f"first (p {each.second_to_first.p:.2g}), though nothing differs: runs profit from, or suffer by, what went "
        "before them."
        for each in record.figures
        if each.headline and each.second_to_first.p < _SURE
    ]


def _takes(each: NoiseRecord) -> str:
    return _MORE if each.pairs_for_10_percent is None else f"{each.pairs_for_10_percent:,}"


def numbers_of_pairs(record: Qualification) -> list[str]:
    """For which the smallest difference is told, in order."""
    known = {pairs for each in record.figures for pairs in each.smallest_found if pairs.isdecimal()}
    return sorted(known, key=int)


def _rows(record: Qualification) -> Iterator[tuple[NoiseRecord, list[tuple[str, str]]]]:
    """Each figure with its cells: a value, and what stands below it."""
    counts = numbers_of_pairs(record)
    for each in record.figures:
        low, high = each.pair_spread_ci95 if len(each.pair_spread_ci95) == 2 else (None, None)
        between = "" if low is None or high is None else f"{text.percent(low)} – {text.percent(high)}"
        smallest = (each.smallest_found.get(pairs) for pairs in counts)
        yield (
            each,
            [
                (text.percent(each.run_spread), ""),
                (text.percent(each.pair_spread), between),
                *((text.MISSING if share is None else text.percent(share), "") for share in smallest),
                (f"{_takes(each)} pairs", ""),
            ],
        )


def _headings(record: Qualification) -> list[str]:
    pairs_find = (f"{pairs} pairs find" for pairs in numbers_of_pairs(record))
    return ["Figure", "Run to run", "Within a pair", *pairs_find, "10% takes"]


def qualification_table(record: Qualification) -> Table:
    """For the terminal."""
    table = Table(
        title="How much runs of the same thing differ (standard deviations), and what pairs find in 80% of series",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for place, name in enumerate(_headings(record)):
        table.add_column(name, justify="right" if place else "left", overflow="fold")
    for each, cells in _rows(record):
        table.add_row(each.title, *("\n".join(filter(None, cell)) for cell in cells))
    return table


def qualification_markdown(record: Qualification) -> str:
    """qualification.md: for a ticket or a pull request."""
    out = ["## How noisy this machine is", ""]
    out += ["**SIMULATED**: no real engine was measured.", ""] if record.simulated else []
    out += [f"{escape(record.sentence)} {escape(_about(record))}.", ""]
    headings = _headings(record)
    out += ["| " + " | ".join(headings) + " |", "|---" + "|---:" * (len(headings) - 1) + "|"]
    for each, cells in _rows(record):
        shown = (f"{value} ({between})" if between else value for value, between in cells)
        out.append(f"| {escape(each.title)} | " + " | ".join(shown) + " |")
    out += ["", *(f"- Note: {escape(note)}" for note in record.notes)]
    out += [f"- Left out: {escape(run.run_id)}, {escape(run.why)}" for run in record.left_out]
    return "\n".join(out).rstrip() + "\n"


def _about(record: Qualification) -> str:
    """What was run: `vLLM 0.32 · rag · Qwen3-8B · 16 users, closed loop · 5 pairs`."""
    pairs = max((each.pairs for each in record.figures), default=0)
    engine = " ".join(filter(None, (record.engine_called, record.version)))
    parts = (engine, record.scenario, record.model, text.load_sentence(record.load), f"{pairs} pairs of runs")
    return " · ".join(filter(None, parts))


def _runs(record: Qualification, folder: Path) -> Iterator[tuple[str, str]]:
    """Each run with the way to its page, "" where there is none."""
    for name, way in zip(record.runs, record.folders or [""] * len(record.runs), strict=False):
        page = f"{way}/{DASHBOARD_HTML}" if way else ""
        yield name, quote(page) if page and (folder / page).is_file() else ""


def render_qualification(record: Qualification, folder: Path) -> str:
    """qualification.html: one file, offline; links lead to the pages of its runs."""
    return (
        environment()
        .get_template("qualification.html.j2")
        .render(
            record=record,
            text=text,
            about=_about(record),
            headings=_headings(record),
            rows=list(_rows(record)),
            runs=list(_runs(record, folder)),
            **text_page(),
        )
    )
