"""A decision as one page, as Markdown and as sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from tokenswarm.analysis import wording as text
from tokenswarm.analysis.render.assets import environment, text_page
from tokenswarm.analysis.render.markdown import escape
from tokenswarm.analysis.render.tune_page import ratio_words

from tokenswarm.base.numbers import significant
from tokenswarm.contract.capacity_record import ENDINGS, UNITS
from tokenswarm.contract.decision_record import PAIRS, RACE, SEARCH, Decision, SideRecord
from tokenswarm.contract.objectives import parse_objectives
from tokenswarm.contract.tune_record import Ratio

_KINDS = {RACE: "race over settings", SEARCH: "capacity", PAIRS: "interleaved pairs"}
_PAGES = {RACE: "tune.html", SEARCH: "capacity.html", PAIRS: "comparison.html"}
_STATES = {
    "decided": "decided",
    "equal": "equal",
    "undecided": "undecided",
    "one_engine": "one engine measured",
    "none": "nothing measured",
    "going": "not over",
}
_ENDINGS = ENDINGS | {
    "one_left": "one candidate left",
    "within_margin": "no candidate left can be better by more than 3%",
    "rounds": "rounds over, several left",
    "budget": "its share of the budget was spent",
    "no_race": "the budget holds none",
    "none": "nobody measurable",
    "nothing_reached": "nobody met the limits",
    "load_generator": ENDINGS["limited"],
    "interrupted": "interrupted",
    "settled": "settled",
    "pairs": "all pairs were made",
}


def figure_words(ratio: Ratio, unit: str = "", sign: str = "") -> str:
    """`58 users (55 to 61)`, or why there is no figure."""
    if ratio.value is None:
        return ratio.why or text.MISSING
    shown = text.number if sign else significant
    ends = (
        f" ({sign}{shown(ratio.ci95[0])} to {sign}{shown(ratio.ci95[1])})"
        if ratio.ci95
        else f" ({ratio.why})"
        if ratio.why
        else ""
    )
    return f"{sign}{shown(ratio.value)}{' ' + unit if unit else ''}{ends}"


def settings_words(side: SideRecord) -> str:
    """The chosen settings, beyond the scenario's own."""
    return side.candidate if side.settings else "the scenario's own settings"


def decision_sentences(decision: Decision) -> list[str]:
    """What a decision says, most important first."""
    sentences = [_head(decision)]
    chosen = next((side for side in decision.sides if side.engine == decision.engine), None)
    if chosen is not None:
        sentences.append(_price(chosen, decision.load_unit))
    sentences += _certainty(decision)
    sentences += [f"{side.title} was not measured: {side.failure}" for side in decision.sides if side.failure]
    if decision.rule_of_thumb:
        sentences.append(decision.rule_of_thumb)
    if chosen is not None and chosen.answers:
        sentences.append(chosen.answers)
    if decision.reason == "interrupted":
        sentences.append("It was interrupted; what was measured is kept, and RESUME continues.")
    return sentences


def _head(decision: Decision) -> str:
    names = [side.title for side in decision.sides]
    unit = UNITS[decision.load_unit]
    chosen = next((side for side in decision.sides if side.engine == decision.engine), None)
    if chosen is not None:
        known = chosen.per_gpu.value is not None
        carries = f"within the limits one GPU can serve {figure_words(chosen.per_gpu, unit)}"
        unknown = f" How much one GPU can serve is not known: {chosen.per_gpu.why}."
        if decision.state == "one_engine":
            alone = f"Only {chosen.title} was measured, with {settings_words(chosen)}"
            return f"{alone}: {carries}." if known else f"{alone}.{unknown}"
        more = _ratio_phrase(decision)
        taken = f"Take {chosen.title} with {settings_words(chosen)}"
        if known:
            return f"{taken}: {carries}{', ' + more if more else ''}."
        return f"{taken}{': ' + more if more else ''}.{unknown}"
    if decision.state == "equal":
        return (
            f"{' and '.join(names)} are equal within 5%: {_ratio_phrase(decision) or 'no ratio is known'}. "
            "Choose the one that you know better."
        )
    if decision.state == "undecided":
        return (
            f"Undecided between {' and '.join(names)}: {_ratio_phrase(decision) or 'no ratio is known'}. "
            "A longer BUDGET narrows the intervals."
        )
    return "No engine was measured to the end." if decision.state == "none" else "The decision is not over."


def _ratio_phrase(decision: Decision) -> str:
    ratio, first = decision.ratio, decision.sides[0].title
    if ratio.value is None:
        return ""
    if decision.engine is None:
        return f"{first}'s {_of(decision, ratio.of)} is {ratio_words(ratio)} {ratio.runner_up}'s"
    return f"{ratio_words(ratio)} the {_of(decision, ratio.of)} of {ratio.runner_up}"


def _of(decision: Decision, of: str) -> str:
    if of == "capacity":
        return "capacity per GPU"
    load = "" if decision.load is None else f" at {significant(decision.load)} {UNITS[decision.load_unit]}"
    return f"goodput per GPU{load}"


def _priced_load(side: SideRecord, unit: str) -> str:
    """`at 45 users`, and whether that load certainly passes."""
    if side.priced_load is None:
        return ""
    surely = "which surely passes" if side.priced_load == side.capacity.sure_pass else "next to the estimate"
    return f"at {significant(side.priced_load)} {UNITS[unit]}, {surely}"


def _price(side: SideRecord, unit: str) -> str:
    price = side.usd_per_million_output_tokens
    if price.value is None:
        return (
            "What a million output tokens cost is not known without a price: set GPU_HOURLY_COST."
            if price.why and "price" in price.why
            else f"The price of tokens is not known: {price.why}."
        )
    where = _priced_load(side, unit)
    return f"A million output tokens cost {figure_words(price, sign='$')}{' ' + where if where else ''}."


def _certainty(decision: Decision) -> Iterator[str]:
    shown = [ratio for ratio in decision.ratios if ratio != decision.ratio and ratio.value is not None]
    for ratio in shown:
        ahead = next((side.title for side in decision.sides if side.title != ratio.runner_up), "")
        yield f"{ahead}'s {_of(decision, ratio.of)} is {ratio_words(ratio)} {ratio.runner_up}'s."
    if decision.ratios:
        yield (
            "How sure: capacity and goodput are each tested at 2.5%, so that one of two equal engines is named in "
            "at most 5% of decisions; every interval is a 95% one."
        )


def _sides(decision: Decision) -> Iterator[dict[str, object]]:
    unit = UNITS[decision.load_unit]
    known = [side.per_gpu for side in decision.sides if side.per_gpu.value is not None]
    ends = [end for ratio in known for end in (ratio.ci95 or [ratio.value or 0.0]) if end]
    low, high = (min(ends) * 0.85, max(ends) * 1.15) if ends else (0.0, 1.0)
    for side in decision.sides:
        yield {
            "title": side.title,
            "engine": side.engine,
            "chosen": side.engine == decision.engine,
            "settings": settings_words(side),
            "because": side.because,
            "flags": "\n".join(
                [
                    f"[engine.{side.engine}]",
                    *(
                        f"{key} = {value!r}".replace("'", '"').replace("True", "true").replace("False", "false")
                        for key, value in side.flags.items()
                    ),
                ]
            )
            if side.flags
            else "",
            "tuned": ratio_words(side.tuned),
            "equal": ", ".join(side.equal_to_winner),
            "capacity": figure_words(side.per_gpu, unit),
            "gpus": side.gpus,
            "surely": f"{_level_words(side.capacity.sure_pass, unit, 'pass')}, "
            f"{_level_words(side.capacity.sure_fail, unit, 'fail')}",
            "tokens": figure_words(side.output_tok_s, "tok/s"),
            "priced": _priced_load(side, decision.load_unit),
            "price": figure_words(side.usd_per_million_output_tokens, sign="$"),
            "energy": figure_words(side.joules_per_output_token, "J"),
            "answers": side.answers,
            "failure": side.failure or "",
            "bar": _bar(side.per_gpu, low, high),
        }


def _level_words(load: float | None, unit: str, does: str) -> str:
    """`38 users surely pass`; `does`: pass or fail."""
    if load is None:
        return f"no load surely {does}{'es' if does == 'pass' else 's'}"
    return f"{significant(load)} {unit} surely {does}"


def _bar(ratio: Ratio, low: float, high: float) -> dict[str, str] | None:
    """Positions of value and interval on a logarithmic axis, in percent."""
    if ratio.value is None or not low < high or low <= 0.0:
        return None

    def place(value: float) -> float:
        return 100.0 * math.log(max(value, low) / low) / math.log(high / low)

    start, end = (place(ratio.ci95[0]), place(ratio.ci95[1])) if ratio.ci95 else (place(ratio.value),) * 2
    return {"left": f"{start:.1f}", "width": f"{max(end - start, 0.5):.1f}", "value": f"{place(ratio.value):.1f}"}


def _title_of(decision: Decision, engine: str) -> str:
    """The title of the engine of a stage; "" for the pairs, which are of both."""
    return next((side.title for side in decision.sides if side.engine == engine), engine)


def _stages(decision: Decision, folder: Path) -> Iterator[dict[str, str]]:
    for stage in decision.stages:
        page = f"{stage.folder}/{_PAGES[stage.kind]}"
        yield {
            "kind": _KINDS[stage.kind],
            "engine": _title_of(decision, stage.engine) or "both",
            "state": stage.state,
            "ended": _ENDINGS.get(stage.ended, stage.ended),
            "spent": text.duration(stage.spent_s),
            "allowed": text.MISSING if stage.allowed_s is None else text.duration(stage.allowed_s),
            "page": page if (folder / page).exists() else "",
        }


def _runs(decision: Decision, folder: Path) -> Iterator[dict[str, object]]:
    """Run folders by the stage in which they were made."""
    runs = [run for side in decision.sides for run in side.runs] + [*decision.pairs.a, *decision.pairs.b]
    for stage in decision.stages:
        listed = []
        for run in (run for run in runs if run.startswith(f"{stage.folder}/")):
            page = next((name for name in ("dashboard.html", "summary.md") if (folder / run / name).exists()), "")
            listed.append({"name": Path(run).name, "page": f"{run}/{page}" if page else ""})
        if listed:
            of = _title_of(decision, stage.engine)
            yield {"title": f"{_KINDS[stage.kind]}{', ' + of if of else ''}", "runs": listed}


def _limits(slo: Mapping[str, object]) -> list[str]:
    return [
        f"{each.parsed.title} {text.SIGNS[each.op]} {text.limit(each.limit, each.unit)}"
        for each in parse_objectives(slo)[0]
    ]


def render_decision(decision: Decision, folder: Path) -> str:
    """decision.html: one file, offline; its links point into the series' folder."""
    head, *others = decision_sentences(decision)
    return (
        environment()
        .get_template("decision.html.j2")
        .render(
            decision=decision,
            head=head,
            sentences=others,
            sides=list(_sides(decision)),
            state=_STATES[decision.state],
            stages=list(_stages(decision, folder)),
            runs=list(_runs(decision, folder)),
            slo=_limits(decision.slo),
            budget=None if decision.budget_s is None else text.duration(decision.budget_s),
            load=None if decision.load is None else f"{significant(decision.load)} {UNITS[decision.load_unit]}",
            **text_page(),
        )
    )


def decision_markdown(decision: Decision) -> str:
    """decision.md: for a pull request or a ticket."""
    out = [f"## Which engine for {escape(decision.scenario)}", ""]
    out += ["**SIMULATED**: no real engine was measured.", ""] if decision.simulated else []
    out += [f"{escape(sentence)}\n" for sentence in decision_sentences(decision)]
    out += [f"- Note: {escape(sentence)}" for sentence in decision.notes]
    rows = list(_sides(decision))
    out += ["", "| | " + " | ".join(escape(row["title"]) for row in rows) + " |", "|---|" + "---|" * len(rows)]
    for title, key in (
        ("settings", "settings"),
        ("because", "because"),
        ("winner over default", "tuned"),
        ("capacity per GPU", "capacity"),
        ("levels", "surely"),
        ("output tokens", "tokens"),
        ("at", "priced"),
        ("$ per million output tokens", "price"),
        ("energy of an output token", "energy"),
    ):
        out.append(f"| {title} | " + " | ".join(escape(str(row[key])) for row in rows) + " |")
    return "\n".join(out) + "\n"
