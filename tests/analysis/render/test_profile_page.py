"""The page of a profile shows its figures side by side, and no name can inject anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.render.profile_page import render_profiles
from tokenswarm.analysis.render.profile_rows import profile_rows
from tokenswarm.analysis.traffic.of_run import profile_of_run

from tokenswarm.cli import main

from ..cache.test_yardstick import rag
from ..make_run import START, row, write_run


def test_workloads_stand_side_by_side_and_what_is_not_known_is_a_dash(tmp_path: Path) -> None:
    known = profile_of_run(read_run(rag(tmp_path / "a")))
    unknown = profile_of_run(read_run(write_run(tmp_path / "b", [row(request_id="r1", sent_at=START)])))
    rows = {each.title: each.cells for each in profile_rows([("a", known), ("b", unknown)])}
    hits = rows["hits in a cache without limits"]
    assert hits[0].endswith("in blocks of 16") and hits[1] == "–"
    assert rows["requests"][1] == "1"


def test_a_name_is_text_on_the_page(tmp_path: Path) -> None:
    page = render_profiles([("<script>alert(1)</script>", profile_of_run(read_run(rag(tmp_path))))])
    assert "<script>alert(1)" not in page and "&lt;script&gt;alert(1)" in page
    assert 'id="chart-hits"' in page and 'id="chart-blocks"' in page


def test_the_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "profile.html"
    assert main(["profile", str(rag(tmp_path / "run")), "--html", str(page)]) == 0
    assert page.read_text("utf-8").startswith("<!doctype html>")
