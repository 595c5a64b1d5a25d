"""Keeps API keys and passwords out of everything that is written or shown.

`hidden` is for text that leaves for a file or a terminal: whole secrets, however written. `masked` is for text that a
server supplied, which may hold a key cut or spoilt: every run of 8 of its characters goes. Pure but for `secrets`,
which reads the environment.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote

from tokenswarm.base.environment import KEY_VARIABLE, PASSWORD_VARIABLE, SECRETS_VARIABLE
from tokenswarm.base.errors import Exit, UserError

MASK = "***"
LEAST_KEY_CHARS = 8
"""Shorter keys cannot be distinguished from other text and would not be secret."""
_RUN = 8
"""This many consecutive characters of a key are part of it, not a coincidence."""
_LEAST_END = 4
"""A shorter piece of a key at the end of a cut text reveals nothing."""
_URL_PASSWORD = re.compile(r"(?<=://)[^\s/'\"<>@\\]*@")


def secrets() -> tuple[str, ...]:
    """What this process must not show: the values of API_KEY, UI_PASSWORD and of the variables that an endpoint's
    description names, where they are long enough to be secrets."""
    names = (KEY_VARIABLE, PASSWORD_VARIABLE, *os.environ.get(SECRETS_VARIABLE, "").split())
    values = (os.environ.get(name, "").strip() for name in names)
    return tuple(value for value in values if len(value) >= LEAST_KEY_CHARS)


def hold_secret(names: Iterable[str]) -> None:
    """Treat the values of these environment variables as secrets, in this process and its children."""
    known = os.environ.get(SECRETS_VARIABLE, "").split()
    if more := [name for name in names if name not in known]:
        os.environ[SECRETS_VARIABLE] = " ".join([*known, *more])


def hidden(text: str, keys: Iterable[str] | None = None) -> str:
    """`text` without whole secrets (`keys`; by default `secrets()`), in any case and usual encoding, and without the
    user names and passwords in URLs."""
    for key in secrets() if keys is None else keys:
        variants = _variants(key)
        small = text.lower()
        if any(variant in small for variant in variants):
            text = re.sub("|".join(map(re.escape, variants)), MASK, text, flags=re.IGNORECASE)
    return _URL_PASSWORD.sub(f"{MASK}@", text) if "@" in text else text


def masked(text: str, keys: str | Iterable[str] | None) -> str:
    """A server's `text` without the keys, nor any part of them of 8 characters or more, in any case and usual encoding;
    also where a cut left only a key's beginning at the end."""
    for key in (keys,) if isinstance(keys, str) else keys or ():
        text = _masked(text, key)
    return text


def _masked(text: str, key: str) -> str:
    if not key or not text:
        return text
    if len(key) < LEAST_KEY_CHARS:
        return text.replace(key, MASK)
    runs, small = _runs(key), text.lower()
    if len(small) != len(text):  # the case of a few letters changes their length
        small = text
    covered = bytearray(len(text))
    for at in range(len(text) - _RUN + 1):
        if small[at : at + _RUN] in runs:
            covered[at : at + _RUN] = b"\1" * _RUN
    for length in range(min(len(key) - 1, len(text)), _LEAST_END - 1, -1):
        if small.endswith(key[:length].lower()):
            covered[-length:] = b"\1" * length
            break
    if not any(covered):
        return text
    parts = re.finditer(rb"(\x01+)|\x00+", bytes(covered))
    return "".join(MASK if part[1] else text[part.start() : part.end()] for part in parts)


@lru_cache(maxsize=16)
def _variants(key: str) -> tuple[str, ...]:
    """The key in lower case as it may be written: plain, in JSON, in a URL, in hexadecimal digits, in Base64 at each of
    the three places where it may begin in what was encoded. The longest come first."""
    ways = {key, json.dumps(key)[1:-1], quote(key, safe=""), key.encode().hex()}
    for lead in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            whole = encode(b"\0" * lead + key.encode()).decode().rstrip("=")
            ways.add(whole[(0, 2, 3)[lead] : -1])  # the first and last digits depend on the bytes beside the key
    return tuple(sorted((way.lower() for way in ways if len(way) >= _RUN), key=len, reverse=True))


@lru_cache(maxsize=16)
def _runs(key: str) -> frozenset[str]:
    return frozenset(way[at : at + _RUN] for way in _variants(key) for at in range(len(way) - _RUN + 1))


def shown_url(url: str) -> str:
    """A URL, or what was given as one, for display: without anything before its last @."""
    before, at, rest = url.rpartition("@")
    scheme, slashes, _ = before.partition("://")
    return (f"{scheme}{slashes}{MASK}@{rest}" if slashes else f"{MASK}@{rest}") if at else url


def usable_key(raw: str | None) -> str | None:
    """The API key as it goes into a header; None for none. White space around it (a file's line end) is no part of it.

    Raises UserError (AUTH), without showing the key, for one that no header can hold or that is too short.
    """
    key = (raw or "").strip()
    if not all("!" <= character <= "~" for character in key):
        raise UserError(
            Exit.AUTH,
            "API_KEY holds a blank, a line break or a character that is not ASCII, which "
            "cannot be sent in an HTTP header; check what it was set to",
        )
    if 0 < len(key) < LEAST_KEY_CHARS:
        raise UserError(
            Exit.AUTH,
            f"API_KEY has fewer than {LEAST_KEY_CHARS} characters: it could not be kept out of "
            "what is written; give the endpoint a longer key, or unset API_KEY if it needs none",
        )
    return key or None
