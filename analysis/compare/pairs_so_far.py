"""What a series of pairs says so far, after each pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenswarm.analysis.compare.ab_test import Rules
from tokenswarm.analysis.compare.comparison import compare, in_pairs, judge
from tokenswarm.analysis.compare.groups import named_groups, with_equal_clocks

from tokenswarm.base.errors import UserError
from tokenswarm.contract.summary.summary_record import Summary


@dataclass(frozen=True, slots=True)
class Progress:
    """`settled`: the series may end, because every headline figure is either different or equal within the margin.

    The error rate of 5% holds however often one looks (`analysis.compare.sequential`).
    """

    settled: bool
    sentence: str


def progress(a: Sequence[Summary], b: Sequence[Summary], labels: tuple[str, str], rules: Rules) -> Progress:
    """After some of `rules.planned_pairs` pairs; the runs are in the order in which they were made."""
    try:
        groups = named_groups(a, b, *labels)
        if not rules.any_clocks:
            groups = with_equal_clocks(groups)
        pairs = in_pairs(groups.a, groups.b)
    except UserError:  # a side has no usable run yet
        pairs = None
    if pairs is None:
        return Progress(False, "undecided: a single pair of valid runs, or none, says nothing of chance")
    done = len(pairs[0])
    open_loop = any(summary.run.load.mode == "open" for summary in pairs[0])
    verdict = judge(compare(*pairs, rules), *labels, open_loop=open_loop, rules=rules)
    settled = verdict.settled and rules.look(done).may_stop
    return Progress(settled, f"{'settled' if settled else 'not settled'}: {verdict.sentence}")
