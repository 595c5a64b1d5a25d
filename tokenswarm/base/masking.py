"""Keeps the API key out of everything that is written or shown. Pure."""

from __future__ import annotations

from tokenswarm.base.errors import Exit, UserError

MASK = "***"
_LEAST_PART = 4
"""A shorter piece of a key at the end of a text that was cut tells nothing."""


def masked(text: str, key: str | None) -> str:
    """`text` without the key, also where a cut of the text left only the key's beginning at its end."""
    if not key or not text:
        return text
    text = text.replace(key, MASK)
    for length in range(min(len(key) - 1, len(text)), _LEAST_PART - 1, -1):
        if text.endswith(key[:length]):
            return text[:-length] + MASK
    return text


def usable_key(raw: str | None) -> str | None:
    """The API key as it goes into a header; None for none. White space around it (a file's line end) is no part of it.

    Raises UserError (AUTH), without showing the key, for one that no header can hold.
    """
    key = (raw or "").strip()
    if not all("!" <= character <= "~" for character in key):
        raise UserError(Exit.AUTH, "API_KEY holds a blank, a line break or a character that is not ASCII, which no "
                                   "HTTP header can carry; check what it was set to")
    return key or None
