"""Parts of sentences that several rooms use: lists of names, and did-you-mean suggestions."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def in_a_row(names: Sequence[str], last: str) -> str:
    """`a`, `a or b`, `a, b or c`; `last`: the word before the last name. Nothing of no names."""
    return "".join(names) if len(names) < 2 else f"{', '.join(names[:-1])} {last} {names[-1]}"


def probably_meant(typed: str, known: Iterable[str]) -> str | None:
    """The known name that is most similar to what was typed, ignoring case; None if none is."""
    by_lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(typed.lower(), by_lower, n=1, cutoff=0.55)
    return by_lower[close[0]] if close else None


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """`unknown key 'user', did you mean 'users'? (known: ...)`."""
    names = sorted(known)
    meant = probably_meant(name, names)
    hint = f", did you mean '{meant}'?" if meant else ""
    return f"unknown {what} '{name}'{hint} (known: {', '.join(names) or 'none'})"
