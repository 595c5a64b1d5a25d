"""A race of settings as files: what the record says, the page and the Markdown."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from tokenswarm.analysis.render.tune_page import render_tune, tune_markdown, tune_sentences
from tokenswarm.analysis.search.race import Race
from tokenswarm.analysis.tune_files import fill_in, fresh_ratio, write_tune_files

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.json_schemas import tune_schema
from tokenswarm.contract.tune_record import CandidateRecord, Ratio, Tune, read_tune

NAMES = ["default", "seqs=<4>", "seqs=8", "seqs=16"]


def raced() -> Tune:
    race = Race(NAMES)
    for round_ in range(8):
        if race.over is None:
            near = 1.0 + 0.1 * (-1) ** round_
            figures = {"default": 8.0 + 0.01 * round_, "seqs=<4>": 2.0, "seqs=8": 10.0, "seqs=16": 10.0 * near}
            race.record_round({name: None if name == "seqs=<4>" else figures[name] for name in race.survivors})
    tune = Tune(
        engine="sim",
        scenario="chat",
        objective="goodput",
        unit="requests/s",
        simulated=True,
        default="default",
        reason=race.over or "",
        candidates=[CandidateRecord(name, reason="out of memory" if name == "seqs=<4>" else None) for name in NAMES],
    )
    fill_in(tune, race, {name: {"seqs": name} for name in NAMES})
    tune.ratio = fresh_ratio([8.0, 8.2, 7.9], [10.0, 10.4, 9.8])
    return tune


def test_the_record_names_winner_equals_dropped_and_failed() -> None:
    tune = raced()
    states = {each.name: each.state for each in tune.candidates}
    assert states["seqs=<4>"] == "failed" and states[tune.winner] == "winner"
    assert tune.equal_to_winner and {states[name] for name in tune.equal_to_winner} == {"equal"}
    assert tune.ratio.value == pytest.approx(1.253, abs=0.01) and tune.ratio.ci95[0] > 1.0


def test_files_are_written_keep_to_the_schema_and_are_read_again(tmp_path: Path) -> None:
    tune = raced()
    write_tune_files(tune, tmp_path)
    jsonschema.validate(json.loads((tmp_path / "tune.json").read_text()), tune_schema())
    assert read_tune(tmp_path) == tune
    assert {each.name for each in tmp_path.iterdir()} == {"tune.json", "tune.md", "tune.html"}
    (tmp_path / "tune.json").write_text('{"format": 99}')
    with pytest.raises(UserError, match="format 99") as refused:
        read_tune(tmp_path)
    assert refused.value.code is Exit.RUN_FOLDER


def test_page_and_markdown_tell_all_and_escape_names() -> None:
    tune = raced()
    page, text = render_tune(tune), tune_markdown(tune)
    assert "seqs=&lt;4&gt;" in page and "seqs=<4>" not in page and "SIMULATED" in page and "SIMULATED" in text
    for sentence in ("out of memory", "not distinguishable from the winner", "On fresh seeds"):
        assert sentence in page and sentence in text
    assert "src=" not in page and "http" not in page.replace("http-equiv", "")


def test_without_fresh_pairs_there_is_no_ratio_but_a_reason() -> None:
    tune = raced()
    tune.ratio = fresh_ratio([1.0], [2.0])
    assert "fewer than two fresh pairs" in " ".join(tune_sentences(tune))
    assert tune_sentences(Tune()) == ["No candidate could be measured."]


def test_a_default_outside_of_the_space_does_not_hide_what_the_settings_did() -> None:
    settings = {"default": {"seqs": "256", "budget": "9"}} | {
        f"{seqs} {budget}": {"seqs": seqs, "budget": budget} for seqs in "14" for budget in "23"
    }
    race = Race(list(settings))
    race.record_round({name: {"1": 1.0, "4": 2.0}.get(mine["seqs"], 3.0) for name, mine in settings.items()})
    tune = Tune(candidates=[CandidateRecord(name) for name in settings])
    fill_in(tune, race, settings)
    effects = {(each.setting, each.value, each.against): each.ratio.value for each in tune.effects}
    assert effects == {("seqs", "4", "1"): pytest.approx(2.0), ("budget", "3", "2"): pytest.approx(1.0)}


def test_a_race_that_ended_in_its_first_round_blames_no_candidate() -> None:
    tune = Tune(engine="sim", reason="interrupted", candidates=[CandidateRecord(name) for name in NAMES[:2]])
    tune.candidates[1].reason = "out of memory"
    fill_in(tune, Race(NAMES[:2]), {name: {"seqs": name} for name in NAMES[:2]})
    assert [each.state for each in tune.candidates] == ["open", "failed"]
    assert "not compared: the race ended in its first round" in tune_markdown(tune)


def test_a_default_that_leads_is_not_held_against_itself() -> None:
    tune = Tune(
        winner="default", default="default", reason="within_margin", ratio=Ratio(why="the default itself leads")
    )
    words = tune_sentences(tune)
    assert words[0].startswith("The default (the scenario's own settings) leads.")
    assert not any("Against the default" in each for each in words)
