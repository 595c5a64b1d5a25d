"""What people call an engine: by its title, else by its name. The one place for it."""

from __future__ import annotations

NOT_KNOWN = "engine not known"


def title_or_name(title: str | None, name: str | None) -> str | None:
    """The title, else the name; None where neither is known."""
    return title or name or None


def engine_title(title: str | None, name: str | None) -> str:
    """The same for a sentence or a heading, which says so where neither is known."""
    return title_or_name(title, name) or NOT_KNOWN
