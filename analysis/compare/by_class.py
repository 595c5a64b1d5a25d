"""Two groups of runs of a mix, by user class: which class became faster, and which slower."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tokenswarm.analysis.compare.ab_test import USUAL_RULES, Rules, holm
from tokenswarm.analysis.compare.comparison import BETTER, UNDECIDED, WORSE, Result, compare

from tokenswarm.contract.summary.summary_record import Summary


def compare_classes(a: Sequence[Summary], b: Sequence[Summary], rules: Rules = USUAL_RULES) -> dict[str, list[Result]]:
    """B against A in each figure, by user class that every run of both sides has. Empty if there is only one class.

    The verdict rests on the whole mix; these are many additional figures. Over all of them together, at most one in
    twenty comparisons of equal sides shows a difference (Holm).
    """
    names = [name for name in (*a, *b)[0].user_classes if all(name in each.user_classes for each in (*a, *b))]
    if len(names) < 2:
        return {}
    by_class = {
        name: compare([each.of_class(name) for each in a], [each.of_class(name) for each in b], rules) for name in names
    }
    known = [result for results in by_class.values() for result in results if result.difference is not None]
    rejected = holm([result.known.p for result in known])
    kept = {id(result) for result, keep in zip(known, rejected, strict=True) if keep}
    return {
        name: [
            replace(result, state=UNDECIDED) if result.state in (BETTER, WORSE) and id(result) not in kept else result
            for result in results
        ]
        for name, results in by_class.items()
    }
