"""A reader is told how the measure phase began, if it matters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.summary import summarise

from tests.analysis.make_run import row, write_table
from tokenswarm.contract.tables import REQUEST_COLUMNS

SENTENCE = "The warm-up ended at its limit of 60 s; TTFT was still falling."


def notes_of(folder: Path, **manifest: Any) -> list[str]:
    write_table(folder / "requests.csv", REQUEST_COLUMNS, [row()])
    (folder / "run.json").write_text(json.dumps({"format": 1, **manifest}))
    return [note for note in summarise(read_run(folder)).notes if "missing" not in note]


def warmup(steady: bool | None, mode: str = "until_steady", limit_s: float = 60.0) -> dict[str, Any]:
    return {"steady": steady, "mode": mode, "limit_s": limit_s, "sentence": SENTENCE}


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (warmup(True), False),
        (warmup(False), True),
        (warmup(None), True),
        (warmup(False, "fixed"), True),
        (warmup(None, "fixed"), False),  # as long as asked for, and nothing known against it
        (warmup(None, "fixed", 0.0), False),
        (None, False),
        (7, False),
    ],
)
def test_a_warm_up_that_did_not_get_steady_is_told(tmp_path: Path, found: Any, told: bool) -> None:
    assert notes_of(tmp_path, warmup=found) == ([SENTENCE] if told else [])


@pytest.mark.parametrize(("wanted", "told"), [(True, True), (False, False)])
def test_a_cache_that_was_not_emptied_is_told_where_it_was_wanted_empty(
    tmp_path: Path, wanted: bool, told: bool
) -> None:
    notes = notes_of(
        tmp_path,
        cache_reset={"done": False, "detail": "it was busy."},
        scenario={"values": {"load": {"reset_cache": wanted}}},
    )
    assert notes == (["The prefix cache was not emptied before the run: it was busy."] if told else [])
    assert notes_of(tmp_path, cache_reset={"done": True, "detail": ""}) == []
