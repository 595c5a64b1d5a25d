"""qualification.json, qualification.md and qualification.html."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from tokenswarm.analysis.compare.groups import Groups
from tokenswarm.analysis.compare.noise import Noise
from tokenswarm.analysis.render.qualification_page import (
    order_notes,
    qualification_markdown,
    qualification_sentence,
    render_qualification,
)

from tokenswarm.base.files import make_folder, write_whole
from tokenswarm.contract.qualification_record import (
    LeftOutRecord,
    NoiseRecord,
    OrderEffect,
    Qualification,
    write_qualification,
)

QUALIFICATION_MD, QUALIFICATION_HTML = "qualification.md", "qualification.html"


def qualification_of(
    groups: Groups, figures: Sequence[Noise], folders: Mapping[str, Path], folder: Path
) -> Qualification:
    """The record of pairs of runs. `folders`: of each run, by its id; `folder`: where the record will lie."""
    summaries = [*groups.a, *groups.b]
    run = summaries[0].run
    record = Qualification(
        started_at=min((each.run.started_at or "" for each in summaries), default=""),
        engine=run.engine.name or "",
        engine_title=run.engine.title or "",
        version=run.engine.version or "",
        model=run.model or "",
        scenario=run.scenario.name or "",
        label=run.label or "",
        load=run.load,
        simulated=bool(groups.a[0].simulated),
        runs=[each.run_id for each in summaries],
        folders=[os.path.relpath(folders[each.run_id].resolve(), folder.resolve()) for each in summaries],
        left_out=[LeftOutRecord(each.run_id, each.why) for each in groups.left_out],
        figures=[_figure(each) for each in figures],
    )
    record.sentence = qualification_sentence(record)
    record.notes = order_notes(record)
    return record


def _figure(noise: Noise) -> NoiseRecord:
    return NoiseRecord(
        noise.figure.key,
        noise.figure.title,
        noise.figure.headline,
        noise.pairs,
        noise.run_spread,
        noise.pair_spread,
        list(noise.pair_spread_ci95),
        {str(pairs): share for pairs, share in noise.smallest.items()},
        noise.pairs_for_sought,
        OrderEffect(noise.second_to_first, noise.second_to_first_p),
        noise.sentence(),
    )


def write_qualification_files(record: Qualification, folder: Path) -> None:
    """Write the three files. Raises UserError (RESULTS)."""
    make_folder(folder)
    write_qualification(folder, record)
    write_whole(folder / QUALIFICATION_MD, qualification_markdown(record))
    write_whole(folder / QUALIFICATION_HTML, render_qualification(record, folder))
