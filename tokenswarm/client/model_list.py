"""Reads an endpoint's list of models, in whichever JSON shape it comes. Pure."""

from __future__ import annotations

_MOST = 1000
_NAME_CHARS = 200


def model_names(content: object) -> list[str] | None:
    """The names in decoded JSON: `{"data": [{"id": ...}]}` as OpenAI has it, a bare list, names without a table around
    them, or null for none. None where it is not a list of models; invalid names are dropped."""
    entries = content.get("data", content.get("models")) if isinstance(content, dict) else content
    if entries is None and isinstance(content, dict) and ("data" in content or "models" in content):
        return []
    if not isinstance(entries, list):
        return None
    names = [_name(entry) for entry in entries[:_MOST]]
    return [name for name in names if name]


def _name(entry: object) -> str | None:
    name = (
        next((entry[key] for key in ("id", "name", "model") if key in entry), None)
        if isinstance(entry, dict)
        else entry
    )
    if not isinstance(name, str) or not name.isprintable() or len(name) > _NAME_CHARS:
        return None
    return name.strip() or None


def is_pattern(name: str) -> bool:
    """Whether the name is a pattern for many models, such as a gateway's `openai/*`."""
    return "*" in name
