"""Writes oneshot.json, oneshot.md and oneshot.html."""

from __future__ import annotations

from pathlib import Path

from tokenswarm.analysis.compare.one_shot_figures import with_answer
from tokenswarm.analysis.render.one_shot_page import one_shot_markdown, render_one_shot

from tokenswarm.base.files import make_folder, write_whole
from tokenswarm.contract.one_shot_record import OneShot, write_one_shot

ONE_SHOT_MD, ONE_SHOT_HTML = "oneshot.md", "oneshot.html"


def write_one_shot_files(record: OneShot, folder: Path) -> OneShot:
    """Complete the record from its requests and write the three files; returns the record. Raises UserError
    (RESULTS).
    """
    make_folder(folder)
    record = with_answer(record)
    write_one_shot(folder, record)
    write_whole(folder / ONE_SHOT_MD, one_shot_markdown(record))
    write_whole(folder / ONE_SHOT_HTML, render_one_shot(record))
    return record
