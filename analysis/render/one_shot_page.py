"""One prompt on each engine, as a terminal table, as Markdown to paste, and as a page."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.table import Table
from rich.text import Text
from tokenswarm.analysis import wording as text
from tokenswarm.analysis.compare.one_shot_figures import CASE_WORDS, state_words, subject
from tokenswarm.analysis.render.assets import environment, text_page
from tokenswarm.analysis.render.markdown import escape

from tokenswarm.contract.one_shot_record import OneShot, ShotEngine, ShotRow
from tokenswarm.contract.summary.figure import Figure

HEADINGS = ("Engine", "Prompt", "Duration", "Tokens", "Tokens/s", "TTFT", "Cached tokens")
_SIMULATED = "SIMULATED: no real engine was measured."
_PROMPT_CHARS = 300


def _tokens(figure: Figure) -> str:
    return text.MISSING if figure.value is None else f"{figure.value:,.0f}"


def _cached(row: ShotRow) -> str:
    if row.cached_tokens.value is None:
        return "not told"
    of = f" of {_tokens(row.prompt_tokens)}" if row.prompt_tokens.value is not None else ""
    return f"{_tokens(row.cached_tokens)}{of}"


def _case(row: ShotRow) -> str:
    failed = f", {row.failed} of {row.asked} failed" if row.failed else ""
    return f"{CASE_WORDS.get(row.case, row.case)}{failed}"


def cells_of(record: OneShot) -> Iterator[list[tuple[str, str]]]:
    """The table row by row, in the order of HEADINGS: (value, its 95% interval or "") in each cell."""
    for row in record.rows:
        yield [
            (row.engine, ""),
            (_case(row), ""),
            (text.quantity(row.duration_s), text.interval(row.duration_s)),
            (_tokens(row.tokens), ""),
            (text.number(row.tokens_s.value), text.interval(row.tokens_s)),
            (text.quantity(row.ttft_ms), text.interval(row.ttft_ms)),
            (_cached(row), ""),
        ]


def _in_one(value: str, between: str) -> str:
    return f"{value} ({between})" if between else value


def engine_words(engine: ShotEngine) -> str:
    """`vLLM 0.33.0 at http://gpu1:8000, model Qwen/Qwen3-8B`."""
    version = f" {engine.version}" if engine.version else ""
    start = f", started in {text.duration(engine.cold_start_s)}" if engine.cold_start_s is not None else ""
    label = "" if engine.label == engine.title else f"{engine.label}: "
    return f"{label}{engine.title}{version} at {engine.base_url}, model {engine.model}{start}"


def notes_of(record: OneShot) -> list[str]:
    """What a reader should know, each sentence once."""
    notes = [*record.notes, *(note for engine in record.engines for note in engine.notes)]
    if record.reason:
        notes.insert(0, f"It ended early: {record.reason}")
    if not record.interleaved:
        notes.append(
            "The engines were asked one after the other, each after a start of its own: what differs from "
            "start to start is not covered by the intervals."
        )
    return list(dict.fromkeys(notes))


def on_cpu(record: OneShot) -> str:
    """A sentence, before any figure, that speeds were measured on a CPU; "" if none were."""
    titles = [engine.title for engine in record.engines if engine.on_cpu and not engine.simulated]
    if not titles:
        return ""
    return f"{' and '.join(dict.fromkeys(titles))} ran on a CPU: these speeds say nothing about a GPU."


def how(record: OneShot) -> str:
    """What was done, in one sentence."""
    repeats = f"{text.times(record.repeats)}"
    before = f" after {record.context.name} ({record.context.chars:,} characters)" if record.context else ""
    turns = ", the engines in turn" if record.interleaved and len(record.engines) > 1 else ""
    return (
        f"One prompt{before}, asked {repeats} of each engine{turns}, answers of at most {record.max_tokens:,} "
        f"tokens, one request at a time; {record.warmups} unmeasured before. Means are geometric, with 95% "
        "intervals over the repeats."
    )


def one_shot_table(record: OneShot) -> Table:
    """The table for the terminal."""
    title = Text("One prompt, " + text.times(record.repeats))
    if record.simulated:
        title.append(f"   {_SIMULATED}", style="bold magenta")
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(HEADINGS):
        table.add_column(name, justify="left" if place < 2 else "right", overflow="fold")
    for cells in cells_of(record):
        table.add_row(*(Text(value).append(f"\n{between}" if between else "", style="dim") for value, between in cells))
    return table


CONTRAST_HEADINGS = ("B / A", "Ratio", "95% interval", "Verdict")


def contrasts_of(record: OneShot) -> Iterator[tuple[str, str, str, str]]:
    """The contrasts, in the order of CONTRAST_HEADINGS."""
    for each in record.contrasts:
        low, high = each.ci95 or (None, None)
        between = "" if low is None else f"{text.number(low)} – {text.number(high)}"
        yield subject(each), text.number(each.ratio), between, state_words(each, record.margin)


def contrast_table(record: OneShot) -> Table:
    """The table for the terminal."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(CONTRAST_HEADINGS):
        table.add_column(name, justify="right" if place in (1, 2) else "left", overflow="fold")
    for cells in contrasts_of(record):
        table.add_row(*map(Text, cells))
    return table


def _shown_prompt(record: OneShot) -> str:
    whole = " ".join(record.prompt.split())
    return whole if len(whole) <= _PROMPT_CHARS else f"{whole[:_PROMPT_CHARS]} …"


def one_shot_markdown(record: OneShot) -> str:
    """To paste into a ticket or a post."""
    out = [f"**{_SIMULATED}**", ""] if record.simulated else []
    out += [
        f"> {escape(_shown_prompt(record))}",
        "",
        "| " + " | ".join(HEADINGS) + " |",
        "|---|---" + "|---:" * (len(HEADINGS) - 2) + "|",
    ]
    out += ["| " + " | ".join(escape(_in_one(*cell)) for cell in cells) + " |" for cells in cells_of(record)]
    out += ["", escape(" ".join(filter(None, (how(record), on_cpu(record))))), "", f"**{escape(record.sentence)}**", ""]
    if record.contrasts:
        out += ["| " + " | ".join(CONTRAST_HEADINGS) + " |", "|---|---:|---:|---|"]
        out += ["| " + " | ".join(map(escape, cells)) + " |" for cells in contrasts_of(record)] + [""]
    out += [f"- {escape(engine_words(engine))}" for engine in record.engines]
    out += [f"- Note: {escape(note)}" for note in notes_of(record)]
    return "\n".join(out) + "\n"


def render_one_shot(record: OneShot) -> str:
    """oneshot.html: one file, offline."""
    return (
        environment()
        .get_template("oneshot.html.j2")
        .render(
            record=record,
            text=text,
            headings=HEADINGS,
            cells=list(cells_of(record)),
            how=how(record),
            contrast_headings=CONTRAST_HEADINGS,
            contrasts=list(contrasts_of(record)),
            paired=all(each.paired for each in record.contrasts),
            notes=notes_of(record),
            on_cpu=on_cpu(record),
            engines=[engine_words(engine) for engine in record.engines],
            prompt=_shown_prompt(record),
            **text_page(),
        )
    )
