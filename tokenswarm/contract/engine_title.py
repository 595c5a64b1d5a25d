"""The display name of an engine: its title, otherwise its name."""

from __future__ import annotations

NOT_KNOWN = "engine not known"


def title_or_name(title: str | None, name: str | None) -> str | None:
    """The title, else the name; None where neither is known."""
    return title or name or None


def engine_title(title: str | None, name: str | None) -> str:
    """The same for a sentence or a heading, with a fallback text if neither is known."""
    return title_or_name(title, name) or NOT_KNOWN
