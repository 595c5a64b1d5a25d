"""The login of Locust's web UI (--web-login): one user, one password, from the environment."""

from __future__ import annotations

import hmac
import os
import secrets
from typing import Any

from flask import redirect, request, session, url_for
from flask_login import UserMixin, login_user

from tokenswarm.base.environment import PASSWORD_VARIABLE

_USER = "tokenswarm"


class _Someone(UserMixin):
    id = _USER


def add_login(web_ui: Any) -> None:
    """Let people in who know the password; nobody where none is set."""
    password = os.environ.get(PASSWORD_VARIABLE, "")
    app = web_ui.app
    app.secret_key = secrets.token_bytes(32)  # who was logged in before a restart logs in again
    app.config.update(SESSION_COOKIE_HTTPONLY=True, SESSION_COOKIE_SAMESITE="Lax")
    web_ui.login_manager.user_loader(lambda name: _Someone() if name == _USER else None)
    web_ui.auth_args = {"username_password_callback": "./login_submit", "title": "tokenswarm",
                        "info": f"User: {_USER}. The password is the one in {PASSWORD_VARIABLE} where it was started."}

    @app.route("/login_submit", methods=["POST"])
    def login_submit() -> Any:
        credentials = (request.form.get("username", ""), request.form.get("password", ""))
        good = bool(password) and all(hmac.compare_digest(a.encode(), b.encode())
                                      for a, b in zip(credentials, (_USER, password), strict=True))
        if good:
            session.pop("auth_error", None)
            login_user(_Someone())
            return redirect(url_for("locust.index"))
        session["auth_error"] = "This user or password is not known."
        return redirect(url_for("locust.login"))
