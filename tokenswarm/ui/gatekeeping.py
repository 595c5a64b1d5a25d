"""Access rules of the web UI: host names, pages of other sites, fields of the start form."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from flask import Response, request

from tokenswarm.base.environment import UI_HOSTS_VARIABLE
from tokenswarm.base.foreign import printable

_LOCAL = "localhost"
_CHANGES = ("/stop", "/stats/reset")
"""Actions that Locust performs on GET too, so that an image on another site's page could trigger them."""
_EDITABLE = ("user_count", "spawn_rate")
"""The only fields that a form may change during a run."""
_MOST_USERS = 1_000_000


def known_hosts(web_host: str | None) -> frozenset[str]:
    """Host names of this UI: this machine's, the listen address, and those in UI_HOSTS (comma-separated)."""
    names = (os.environ.get(UI_HOSTS_VARIABLE) or "").split(",")
    return frozenset(
        name.strip().lower().strip("[]")
        for name in (*names, web_host or "", socket.gethostname(), _LOCAL)
        if name.strip()
    )


def is_known_host(header: str, known: Collection[str]) -> bool:
    """Whether a Host header names this UI. An IP address always does: it cannot lead to another site's page. The
    owner of any other name may point it here (DNS rebinding), so that the browser takes their page for one of ours."""
    try:
        name = urlsplit(f"//{header}").hostname or ""
        ipaddress.ip_address(name)
        return True
    except ValueError:
        pass
    try:
        name = (urlsplit(f"//{header}").hostname or "").rstrip(".")
    except ValueError:
        return False
    return name in known or name.endswith(f".{_LOCAL}")


def refuse_other_hosts(known: Collection[str]) -> Response | None:
    """403 for a request that names another host than this UI."""
    header = request.headers.get("Host", "")
    if is_known_host(header, known):
        return None
    return Response(
        f"This UI is not known as {printable(header, 100)!r}; if it should be, name it in "
        f"{UI_HOSTS_VARIABLE} where it is started.",
        403,
        mimetype="text/plain",
    )


def refuse_other_sites() -> Response | None:
    """A page of another site in the same browser must not start or stop runs: where the UI listens on 127.0.0.1 there
    is no login that would keep it out."""
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    changes = request.method not in ("GET", "HEAD", "OPTIONS") or request.path in _CHANGES
    if changes and ((origin and urlsplit(origin).netloc != request.host) or site in ("cross-site", "same-site")):
        return Response("This request came from another site.", 403, mimetype="text/plain")
    return None


def wrong_edit(form: Mapping[str, str]) -> str | None:
    """Why a form is rejected during a run; None if it changes only users and spawn rate."""
    others = sorted(name for name, value in form.items() if name not in _EDITABLE and value.strip())
    if others:
        return (
            f"a run is in progress: until it is stopped, only its users and spawn rate can be changed, not "
            f"{', '.join(printable(name, 30) for name in others[:5])}"
        )
    if "user_count" not in form:
        return "a run is in progress; to change its number of users, give user_count"
    return None


def wrong_numbers(form: Mapping[str, str]) -> str | None:
    """What is wrong with the numbers of a form, or None."""
    users, rate = form.get("user_count", "1"), form.get("spawn_rate", "1")
    try:
        if not 1 <= int(users) <= _MOST_USERS:
            return f"the number of users should be from 1 to {_MOST_USERS}"
        if not 0 < float(rate) < float("inf"):
            return "the spawn rate should be a number of users per second above 0"
    except ValueError:
        return f"users and spawn rate should be numbers, not {printable(users, 20)!r} and {printable(rate, 20)!r}"
    return None
