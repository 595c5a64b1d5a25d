"""Two groups of runs of a mix, user class by user class: which class it is that became faster, and which slower."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tokenswarm.analysis.compare.ab_test import USUAL_RULES, Rules, holm
from tokenswarm.analysis.compare.comparison import BETTER, UNDECIDED, WORSE, Result, compare

from tokenswarm.contract.summary.summary_record import Summary


def compare_classes(a: Sequence[Summary], b: Sequence[Summary], rules: Rules = USUAL_RULES) -> dict[str, list[Result]]:
    """By user class that every run of both sides has, each of its figures: B against A. Empty where there are not
    several.

    The verdict rests on the whole; these are many figures more. Of all of them together at most one in twenty
    comparisons of equal sides shows a difference (Holm).
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
