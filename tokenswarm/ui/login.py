"""The login of Locust's web UI (--web-login): one user, one password, from the environment."""

from __future__ import annotations

import contextlib
import hmac
import logging
import os
import secrets
import time
from collections import Counter, deque
from collections.abc import Iterator

import gevent
from flask import redirect, request, session, url_for
from flask.sessions import SecureCookieSessionInterface
from flask.typing import ResponseReturnValue
from flask_login import UserMixin, login_user
from locust.web import WebUI

from tokenswarm.base.environment import PASSWORD_VARIABLE
from tokenswarm.base.presence import present

_USER = "tokenswarm"
_log = logging.getLogger(__name__)


class Attempts:
    """Recent failed logins from all addresses: the more there were, the longer the next answer takes. An address may
    have only a few attempts at a time; otherwise, of many parallel attempts, the right one would be recognized by its
    quick answer."""

    WINDOW_S = 300.0
    FREE = 2
    LONGEST_S = 8.0
    AT_ONCE = 2

    def __init__(self) -> None:
        self._at: deque[float] = deque(maxlen=1000)
        self._waiting: Counter[str] = Counter()

    @contextlib.contextmanager
    def of(self, address: str) -> Iterator[bool]:
        """While one from there is answered; whether it is taken at all."""
        taken = self._waiting[address] < self.AT_ONCE
        self._waiting[address] += taken
        try:
            yield taken
        finally:
            self._waiting[address] -= taken
            self._waiting += Counter()  # without those that have none

    def failed(self, now: float) -> float:
        """Count a failed login at this monotonic time; returns the seconds to wait before answering."""
        while self._at and now - self._at[0] > self.WINDOW_S:
            self._at.popleft()
        self._at.append(now)
        over = len(self._at) - self.FREE
        return 0.0 if over <= 0 else min(self.LONGEST_S, 0.5 * 2.0 ** min(10, over))


class _Someone(UserMixin):
    id = _USER


class _SecureUnderTls(SecureCookieSessionInterface):
    """The cookie is sent only over TLS if the login came over TLS, also through a proxy."""

    def get_cookie_secure(self, app: object) -> bool:
        return request.is_secure or request.headers.get("X-Forwarded-Proto", "").split(",")[0].strip() == "https"


def is_good(user: str, user_given: str, password: str) -> bool:
    """Whether user and password are right; an empty password never is. Takes the same time for every wrong one."""
    pairs = zip((user, user_given), (_USER, password), strict=True)
    same = [hmac.compare_digest(*(text.encode("utf-8", "surrogateescape") for text in pair)) for pair in pairs]
    return bool(password) and all(same)


def add_login(web_ui: WebUI) -> None:
    """Add the login to the UI. If no password is set, nobody can log in."""
    password = os.environ.get(PASSWORD_VARIABLE, "")
    app = present(web_ui.app)
    app.secret_key = secrets.token_bytes(32)  # a restart ends all sessions
    app.config.update(SESSION_COOKIE_HTTPONLY=True, SESSION_COOKIE_SAMESITE="Lax")
    app.session_interface = _SecureUnderTls()
    web_ui.login_manager.user_loader(lambda name: _Someone() if name == _USER else None)
    web_ui.auth_args = {  # type: ignore[typeddict-unknown-key]  # its page shows the title
        "username_password_callback": "./login_submit",
        "title": "tokenswarm",
        "info": f"User: {_USER}. The password is the one in {PASSWORD_VARIABLE} where it was started.",
    }
    attempts = Attempts()

    @app.route("/login_submit", methods=["POST"])
    def login_submit() -> ResponseReturnValue:
        with attempts.of(request.remote_addr or "") as taken:
            return answer() if taken else ("Another login from this address is being answered: wait for it.\n", 429)

    def answer() -> ResponseReturnValue:
        if is_good(request.form.get("username", ""), request.form.get("password", ""), password):
            session.pop("auth_error", None)
            login_user(_Someone())
            _log.info("login from %s", request.remote_addr)
            return redirect(url_for("locust.index"))
        pause_s = attempts.failed(time.monotonic())
        _log.warning("a login from %s failed; answered after %.1f s", request.remote_addr, pause_s)
        gevent.sleep(pause_s)
        session["auth_error"] = "This user or password is not known."
        return redirect(url_for("locust.login"))
