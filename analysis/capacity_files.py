"""The files of a capacity (JSON, Markdown, HTML, junit.xml), made from its record and runs; and those of a comparison
of two.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from tokenswarm.analysis.capacity.capacity_comparison import CapacityRatio, differences, overlaid, ratio_of
from tokenswarm.analysis.capacity.frontier import add_frontier
from tokenswarm.analysis.capacity.judge import CapacityJudge
from tokenswarm.analysis.render.capacity_page import (
    capacities_markdown,
    capacity_junit,
    capacity_markdown,
    render_capacities,
    render_capacity,
)
from tokenswarm.analysis.render.capacity_words import answer_sentence, load_words
from tokenswarm.analysis.wording import number

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import link_to, make_folder, write_whole
from tokenswarm.contract.capacity_record import CAPACITY_JSON, UNITS, Capacity, read_capacity, write_capacity
from tokenswarm.contract.tables import JUNIT_XML

CAPACITY_MD, CAPACITY_HTML = "capacity.md", "capacity.html"
COMPARED = "capacities"
"""Base name of the three files of a comparison (.json, .md, .html)."""


def write_capacity_files(record: Capacity, folder: Path) -> None:
    """Add the figures of its levels to the record, and write the four files. Raises UserError (RESULTS; RUN_FOLDER if a
    run cannot be read).
    """
    add_frontier(record, folder)
    record.sentence = answer_sentence(record)
    write_capacity(folder, record)
    write_whole(folder / CAPACITY_MD, capacity_markdown(record))
    write_whole(folder / CAPACITY_HTML, render_capacity(record))
    write_whole(folder / JUNIT_XML, capacity_junit(record))


def remake_capacity(folder: Path) -> Capacity:
    """Judge the runs of a folder again, and rewrite its files. Raises UserError."""
    record = read_capacity(folder)
    with _no_odd_values(folder):
        record = CapacityJudge(record, folder).answer(record, record.capacity.reason)
        write_capacity_files(record, folder)
    return record


@contextlib.contextmanager
def _no_odd_values(*folders: Path) -> Iterator[None]:
    """Reject values that have the right type but cannot occur in a search, such as a negative load. Raises UserError
    (RUN_FOLDER).
    """
    try:
        yield
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        files = " or ".join(str(folder / CAPACITY_JSON) for folder in folders)
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(Exit.RUN_FOLDER, f"{files} holds values that no search writes ({what})") from None


def compare_capacities(
    folders: Sequence[Path], labels: Sequence[str | None], into: Path
) -> tuple[dict[str, object], str]:
    """Write capacities.json, .md and .html of two series into a folder; returns the document and its first sentence.

    Raises UserError if a series cannot be read.
    """
    a, b = (read_capacity(folder) for folder in folders)
    with _no_odd_values(*folders):
        return _compared(a, b, folders, labels, into)


def _compared(
    a: Capacity, b: Capacity, folders: Sequence[Path], labels: Sequence[str | None], into: Path
) -> tuple[dict[str, object], str]:
    names = _names(a, b, labels)
    ratio = ratio_of(a, b)
    overlaid(a, b)
    sentences = [ratio_sentence(names, (a, b), ratio), *differences(a, b)]
    document = {
        "format": 1,
        "engine": ", ".join(dict.fromkeys(each.engine_called for each in (a, b))),
        "scenario": ", ".join(dict.fromkeys(each.scenario for each in (a, b))),
        "model": ", ".join(dict.fromkeys(filter(None, (a.model, b.model)))),
        "simulated": a.simulated or b.simulated,
        "a": {"name": names[0], "series": str(folders[0]), "capacity": _plain(a)},
        "b": {"name": names[1], "series": str(folders[1]), "capacity": _plain(b)},
        "ratio": asdict(ratio),
        "sentences": sentences,
    }
    make_folder(into)
    bases = [link_to(folder, into) for folder in folders]
    write_whole(into / f"{COMPARED}.json", json.dumps(document, indent=2) + "\n")
    write_whole(into / f"{COMPARED}.md", capacities_markdown(names, (a, b), sentences))
    write_whole(into / f"{COMPARED}.html", render_capacities(names, (a, b), sentences, bases))
    return document, sentences[0]


def _plain(record: Capacity) -> dict[str, object]:
    figure = record.capacity
    return {
        "unit": figure.unit,
        "estimate": figure.estimate,
        "ci95": figure.ci95,
        "sure_pass": figure.sure_pass,
        "sure_fail": figure.sure_fail,
        "reason": figure.reason,
    }


def _names(a: Capacity, b: Capacity, labels: Sequence[str | None]) -> tuple[str, str]:
    """The engines' names; with the names of the series if both engines are the same."""
    own = [(each.engine_called, each.series) for each in (a, b)]
    same = own[0][0] == own[1][0]
    first, other = (
        label or (f"{engine} ({series})" if same else engine)
        for label, (engine, series) in zip(labels, own, strict=True)
    )
    return first, other


def _between(low: float | None, high: float | None) -> str:
    """`1.10 to 1.33`, or the one known end; empty if neither is known."""
    if low is None or high is None:
        return f"at least {number(low)}" if low is not None else f"at most {number(high)}" if high is not None else ""
    return f"{number(low)} to {number(high)}"


def ratio_sentence(names: Sequence[str], records: Sequence[Capacity], ratio: CapacityRatio) -> str:
    """`B carries 1.21 times what A does (95%: 1.10 to 1.33): 51 against 42 users.`"""
    a, b = names
    ends = _between(ratio.low, ratio.high)
    if ratio.value is None:
        known = f" (95%: {ends} times)" if ends else ""
        return f"How much {b} can serve compared with {a} is not known: {ratio.why}{known}."
    unit = UNITS[records[0].capacity.unit]
    loads = f"{load_words(records[1].capacity.estimate)} against {load_words(records[0].capacity.estimate)} {unit}"
    open_end = "" if ratio.state != "undecided" else " Which of them can serve more is undecided."
    return f"{b} can serve {number(ratio.value)} times what {a} can (95%: {ends or 'not bounded'}): {loads}.{open_end}"
