"""Claims with their verdicts as a terminal table, as Markdown and as a page, with our figure and theirs."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.table import Table
from rich.text import Text
from tokenswarm.analysis import wording as text
from tokenswarm.analysis.render.assets import environment, text_page
from tokenswarm.analysis.render.markdown import escape
from tokenswarm.analysis.verdict.claim_evidence import region_words

from tokenswarm.contract.claims_record import (
    CONTRADICTED,
    NOT_TESTABLE,
    STATES,
    SUPPORTED,
    UNDECIDED,
    ClaimEvidence,
    ClaimRecord,
    Claims,
)

_STYLES = {SUPPORTED: "green", CONTRADICTED: "bold red", UNDECIDED: "yellow", NOT_TESTABLE: "dim"}
_MARKS = {SUPPORTED: "✅", CONTRADICTED: "❌", UNDECIDED: "❔", NOT_TESTABLE: "–"}
_CLASSES = {SUPPORTED: "met", CONTRADICTED: "missed", UNDECIDED: "undetermined", NOT_TESTABLE: ""}
HEADINGS = ("Claim", "Theirs", "Ours", "Verdict")


def sentence(record: Claims) -> str:
    """`2 supported, 3 contradicted, 1 undecided, 30 not testable here.`"""
    counted = [(sum(claim.state == state for claim in record.claims), state) for state in STATES]
    return ", ".join(f"{number} {state}" for number, state in counted if number) + "." if record.claims else "No claim."


def theirs(claim: ClaimRecord) -> str:
    """The sources, with their figures."""
    return "; ".join(f"{source.title}: {source.figure}" if source.figure else source.title for source in claim.sources)


def expected(claim: ClaimRecord) -> str:
    """What our figure should be if the claim is right: `sglang / vllm, tokens/s: 1.16 to 1.42`."""
    region = region_words(claim.region)
    return f"{claim.of}: {region}" if region and claim.of else region or claim.of


def against(claim: ClaimRecord) -> str:
    """`contradicts runinfra-equal and spec-3x`; "" where it contradicts none."""
    return f"contradicts {' and '.join(claim.contradicts)}" if claim.contradicts else ""


def _value(evidence: ClaimEvidence) -> str:
    figure = evidence.figure
    if figure.value is None:
        return evidence.words or evidence.why or text.MISSING
    between = text.interval(figure)
    value = text.quantity(figure) + (f" ({between})" if between else "")
    return f"{value}; {evidence.words}" if evidence.words else value


def ours(claim: ClaimRecord) -> list[str]:
    """What we measured, engine by engine."""
    return [
        f"{each.engine}{f' {each.version}' if each.version else ''}"
        f"{' (SIMULATED)' if each.simulated else ' (CPU)' if each.on_cpu else ''}: {_value(each)}"
        for each in claim.evidence
    ]


def _reason(claim: ClaimRecord) -> str:
    """The reason for the verdict; "" if it only repeats the measurement next to it."""
    seen = (
        "; ".join(f"{each.engine}: {each.words}" for each in claim.evidence),
        *(each.words for each in claim.evidence),
    )
    return "" if claim.why in seen else claim.why


def _verdict(claim: ClaimRecord) -> str:
    return f"{claim.state}: {_reason(claim)}" if _reason(claim) else claim.state


def _sorted(record: Claims) -> list[ClaimRecord]:
    """Claims with a verdict first."""
    return sorted(record.claims, key=lambda claim: STATES.index(claim.state) if claim.state in STATES else len(STATES))


def claims_table(record: Claims) -> Table:
    """The table for the terminal."""
    table = Table(
        title=f"Claims, tested with {record.machine}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for name in ("Claim", "Verdict"):
        table.add_column(name, no_wrap=True)
    table.add_column("Theirs, and ours")
    for claim in _sorted(record):
        words = Text(claim.title)
        for title, lines in (
            ("theirs", [expected(claim) or theirs(claim)]),
            ("ours", ours(claim)),
            ("", [against(claim), _reason(claim)]),
        ):
            for line in filter(None, lines):
                words.append(f"\n{title}{': ' if title else ''}{line}", style="" if title else "dim")
        table.add_row(
            Text(claim.name, style="bold"),
            Text(claim.state, style=_STYLES.get(claim.state, "")),
            words,
            end_section=True,
        )
    return table


def list_table(record: Claims) -> Table:
    """What can be tested, and how long it takes."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Claim", no_wrap=True)
    table.add_column("What is run, and what is missing here")
    for claim in record.claims:
        words = Text(f"{claim.kind}, about {text.duration(claim.estimate_s)}: {claim.how}")
        words.append(f"\n{'missing: ' + '; '.join(claim.missing) if claim.missing else 'nothing is missing'}")
        words.stylize("dim" if claim.missing else "green", words.plain.rindex("\n"))
        table.add_row(Text(claim.name, style="bold"), words)
    return table


def _cells(record: Claims) -> Iterator[dict[str, object]]:
    names = {claim.name for claim in record.claims}
    for claim in _sorted(record):
        yield {
            "against": [(name, name in names) for name in claim.contradicts],
            "claim": claim,
            "expected": expected(claim),
            "ours": ours(claim),
            "style": _CLASSES.get(claim.state, ""),
            "why": _reason(claim),
            "about": text.duration(claim.estimate_s),
        }


def render_claims(record: Claims) -> str:
    """claims.html: one file, offline."""
    return (
        environment()
        .get_template("claims.html.j2")
        .render(
            record=record,
            text=text,
            rows=list(_cells(record)),
            **text_page(),
        )
    )


def claims_markdown(record: Claims) -> str:
    """claims.md: for a ticket or a post."""
    out = [
        "## What the field says, tested here",
        "",
        f"**{escape(sentence(record))}** Tested with {escape(record.machine)}.",
        "",
    ]
    out += ["**SIMULATED** figures are marked; they say nothing about an engine.", ""] if record.simulated else []
    out += ["| " + " | ".join(HEADINGS) + " |", "|---|---|---|---|"]
    for claim in _sorted(record):
        wanted = expected(claim)
        cells = (
            f"**{escape(claim.name)}**: {escape(claim.sentence)}",
            "<br>".join(escape(line) for line in (theirs(claim), wanted, against(claim)) if line),
            "<br>".join(map(escape, ours(claim))) or text.MISSING,
            f"{_MARKS.get(claim.state, '')} {escape(_verdict(claim))}",
        )
        out.append("| " + " | ".join(cells) + " |")
    return "\n".join(out) + "\n"
