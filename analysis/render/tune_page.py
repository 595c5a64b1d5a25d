"""A race of settings as a page, as Markdown and as sentences."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tokenswarm.analysis import wording as text
from tokenswarm.analysis.render.assets import environment, text_page
from tokenswarm.analysis.render.markdown import escape

from tokenswarm.contract.tune_record import Ratio, Tune

_ENDINGS = {
    "one_left": "Every other candidate was surely worse.",
    "within_margin": "Nobody left can be better than the winner by more than 3%.",
    "rounds": "The rounds are over with several left: undecided among these.",
    "budget": "The budget was spent before the race was decided.",
    "interrupted": "The race was interrupted; --resume continues it.",
    "nothing_reached": "No candidate met the limits in a single request, so none leads. Ask for less load, "
    "or set wider limits.",
    "load_generator": "The load generator was the limit three times in a row, so the race was stopped: use a quieter "
    "machine, then go on with --resume.",
    "none": "No candidate could be measured.",
}


def ratio_words(ratio: Ratio) -> str:
    """`1.12 times (1.08 to 1.16)`, or why there is no ratio."""
    if ratio.value is None:
        return ratio.why or text.MISSING
    if not ratio.ci95:
        return f"{text.number(ratio.value)} times" + (f" ({ratio.why})" if ratio.why else "")
    return f"{text.number(ratio.value)} times ({text.number(ratio.ci95[0])} to {text.number(ratio.ci95[1])})"


def tune_sentences(tune: Tune) -> list[str]:
    """What a race says, most important first."""
    if tune.winner is None:
        return [_ENDINGS.get(tune.reason, _ENDINGS["none"])]
    is_default = tune.winner == tune.default
    winner = "The default (the scenario's own settings)" if is_default else tune.winner
    sentences = [f"{winner} leads. {_ENDINGS.get(tune.reason, '')}".strip()]
    if tune.ratio.value is not None:
        sentences.append(f"On fresh seeds its {tune.objective} is {ratio_words(tune.ratio)} the default's.")
    elif not is_default:
        sentences.append(f"Against the default: {tune.ratio.why}.")
    if tune.equal_to_winner:
        sentences.append(f"Not distinguishable from the winner: {', '.join(tune.equal_to_winner)}.")
    spent = tune.time
    share = spent.starts_s / spent.total_s if spent.total_s else 0.0
    sentences.append(
        f"It took {text.duration(spent.total_s)}, {spent.race_runs} runs in the race and "
        f"{spent.fresh_runs} fresh ones; {share:.0%} of the time went into {spent.starts} starts."
    )
    return [*sentences, tune.quality] if tune.quality else sentences


def _candidates(tune: Tune) -> Iterator[dict[str, str]]:
    for each in tune.candidates:
        mean = sum(each.figures) / len(each.figures) if each.figures else None
        state = (
            f"dropped after round {each.dropped_after_round}"
            if each.dropped_after_round
            else "not distinguishable from the winner"
            if each.state == "equal"
            else "not compared: the race ended in its first round"
            if each.state == "open"
            else each.state
        )
        yield {
            "name": each.name,
            "state": state,
            "reason": each.reason or "",
            "runs": str(len(each.figures)),
            "mean": text.MISSING if mean is None else text.number(mean),
            # The race replaces 0 by a hundredth of the best, because 0 has no logarithm: not a ratio to show.
            "ratio": "" if each.state == "winner" else ratio_words(each.ratio) if mean else text.MISSING,
        }


def _effects(tune: Tune) -> Iterator[dict[str, str]]:
    for each in tune.effects:
        yield {"setting": each.setting, "value": each.value, "against": each.against, "ratio": ratio_words(each.ratio)}


def render_tune(tune: Tune) -> str:
    """tune.html: one file, offline."""
    runs = [
        *(run for each in tune.candidates for run in each.runs),
        *(run for side in tune.fresh_runs.values() for run in side),
    ]
    return (
        environment()
        .get_template("tune.html.j2")
        .render(
            tune=tune,
            sentences=tune_sentences(tune),
            candidates=list(_candidates(tune)),
            effects=list(_effects(tune)),
            runs=sorted(Path(run).name for run in runs),
            **text_page(),
        )
    )


def tune_markdown(tune: Tune) -> str:
    """tune.md: for a pull request or a ticket."""
    out = [f"## Settings of {escape(tune.engine_called)} for {escape(tune.scenario)}", ""]
    out += ["**SIMULATED**: no real engine was measured.", ""] if tune.simulated else []
    out += [f"{escape(sentence)}\n" for sentence in tune_sentences(tune)]
    out += [f"- Note: {escape(sentence)}" for sentence in tune.notes]
    out += ["", f"| candidate | state | runs | mean ({tune.unit}) | ratio to the leader |", "|---|---|---|---|---|"]
    for row in _candidates(tune):
        state = f"{row['state']}: {row['reason']}" if row["reason"] else row["state"]
        cells = (row["name"], state, row["runs"], row["mean"], row["ratio"])
        out.append("| " + " | ".join(map(escape, cells)) + " |")
    if tune.effects:
        out += ["", "| setting | value | against | ratio |", "|---|---|---|---|"]
        out += ["| " + " | ".join(map(escape, row.values())) + " |" for row in _effects(tune)]
    return "\n".join(out) + "\n"
