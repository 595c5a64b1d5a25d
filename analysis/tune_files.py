"""Writes tune.json, tune.md and tune.html of a race."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tokenswarm.analysis.compare.ab_test import Reading, difference
from tokenswarm.analysis.render.tune_page import render_tune, tune_markdown, tune_sentences
from tokenswarm.analysis.search.effects import main_effects
from tokenswarm.analysis.search.race import Race, Standing

from tokenswarm.base.files import write_whole
from tokenswarm.contract.tune_record import CandidateRecord, EffectRecord, Ratio, Tune, write_tune

OPEN = "open"
"""State of a candidate in a race that ended before its first round was complete."""
TUNE_MD, TUNE_HTML = "tune.md", "tune.html"


def fill_in(tune: Tune, race: Race, settings: Mapping[str, Mapping[str, str]]) -> None:
    """Fill in the race's results in a record that has its candidates. `settings`: of each candidate, all with the same
    names, as text.
    """
    tune.rounds, tune.spread, tune.winner = race.rounds, race.last.spread, race.winner
    tune.equal_to_winner = race.undecided
    places = {place.candidate: place for place in race.last.survivors}
    for each in tune.candidates:
        each.figures = list(race.figures[each.name])
        _place(each, race, places)
    tune.effects = [
        EffectRecord(
            effect.setting,
            effect.value,
            effect.against,
            Ratio(
                effect.ratio,
                None if effect.low is None or effect.high is None else [effect.low, effect.high],
                effect.why,
            ),
        )
        for effect in main_effects(_comparable(settings), race.figures)
    ]


def _comparable(settings: Mapping[str, Mapping[str, str]]) -> dict[str, Mapping[str, str]]:
    """The candidates except those with a value that no other one has, such as a default outside the space.

    Several settings of such a candidate change together, so its effects cannot be separated.
    """
    return {
        name: mine
        for name, mine in settings.items()
        if all(
            any(other.get(key) == value for peer, other in settings.items() if peer != name)
            for key, value in mine.items()
        )
    } or dict(settings)


def _place(each: CandidateRecord, race: Race, places: Mapping[str, Standing]) -> None:
    if each.name in race.drops:
        drop = race.drops[each.name]
        each.state, each.dropped_after_round, each.ratio = "dropped", drop.after_round, _ratio(drop.place)
    elif each.name in places and race.rounds:
        each.state = "winner" if each.name == race.winner else "equal"
        each.ratio = _ratio(places[each.name])
    elif each.name in race.withdrawn or each.reason:
        each.state, each.ratio = "failed", Ratio(why="it was not measured")
    else:
        each.state, each.ratio = OPEN, Ratio(why="no round was over")


def _ratio(place: Standing) -> Ratio:
    if place.high == float("inf"):
        return Ratio(place.ratio, why="a single round has no interval")
    return Ratio(place.ratio, [place.low, place.high])


def fresh_ratio(default: Sequence[float], winner: Sequence[float]) -> Ratio:
    """The winner's objective over the default's, from paired runs that were not part of the race."""
    count = min(len(default), len(winner))
    if count < 2:
        return Ratio(why="fewer than two fresh pairs were measured")
    paired = difference(
        *([Reading(value) for value in side[:count]] for side in (default, winner)), ratio=True, paired=True
    )
    if paired is None:
        return Ratio(why="a fresh run reached nothing")
    return Ratio(paired.change, [paired.low, paired.high])


def write_tune_files(tune: Tune, folder: Path) -> None:
    """Write the three files. Raises UserError (RESULTS)."""
    tune.sentence = " ".join(tune_sentences(tune)[:2])
    write_tune(folder, tune)
    write_whole(folder / TUNE_MD, tune_markdown(tune))
    write_whole(folder / TUNE_HTML, render_tune(tune))
