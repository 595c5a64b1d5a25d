"""Who may request what from the web UI."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from flask import Blueprint, Flask, Response
from flask.testing import FlaskClient
from flask_login import LoginManager, login_required
from hypothesis import given
from hypothesis import strategies as st

from tokenswarm.base.environment import PASSWORD_VARIABLE, UI_HOSTS_VARIABLE
from tokenswarm.ui import gatekeeping
from tokenswarm.ui.gatekeeping import is_known_host, known_hosts, wrong_edit, wrong_numbers
from tokenswarm.ui.login import Attempts, add_login, is_good

KNOWN = frozenset({"localhost", "gpu-box"})


@pytest.mark.parametrize(
    "header",
    [
        "localhost",
        "localhost:8089",
        "LOCALHOST:1",
        "a.localhost:1",
        "127.0.0.1:8089",
        "[::1]:8089",
        "[::1]",
        "10.1.2.3",
        "gpu-box:80",
        "gpu-box.",
    ],
)
def test_addresses_and_known_names_are_this_ui(header: str) -> None:
    assert is_known_host(header, KNOWN)


@pytest.mark.parametrize(
    "header",
    [
        "evil.example:8089",
        "evil",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
        ":8089",
        "[::1",
        "[evil]",
        "notlocalhost",
        "evil.example@127.0.0.1x",
        "gpu-box.evil",
    ],
)
def test_any_other_name_may_have_been_made_to_point_here(header: str) -> None:
    assert not is_known_host(header, KNOWN)


@given(st.text())
def test_no_header_makes_it_fail(header: str) -> None:
    is_known_host(header, KNOWN)


def test_names_can_be_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(UI_HOSTS_VARIABLE, "load.example.org, other ,,")
    assert {"load.example.org", "other", "localhost", "loader1"} <= known_hosts("loader1")


@pytest.fixture
def page() -> FlaskClient:
    app = Flask(__name__)
    app.before_request(lambda: gatekeeping.refuse_other_hosts(KNOWN))
    app.before_request(gatekeeping.refuse_other_sites)
    app.add_url_rule("/swarm", "swarm", lambda: Response("started"), methods=["GET", "POST"])
    return app.test_client()


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", {}, 200),
        ("POST", {"Origin": "http://localhost"}, 200),
        ("POST", {"Origin": "http://evil.example"}, 403),
        ("POST", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("POST", {"Sec-Fetch-Site": "same-origin"}, 200),
        ("GET", {"Sec-Fetch-Site": "cross-site"}, 200),
        ("POST", {"Origin": "null"}, 403),
        ("GET", {"Host": "evil.example"}, 403),
        (
            "POST",
            {"Host": "evil.example", "Origin": "http://evil.example"},
            403,
        ),  # whose name was rebound to this machine
    ],
)
def test_other_sites_and_other_names_get_nothing(page: FlaskClient, method: str, headers: dict, status: int) -> None:
    assert page.open("/swarm", method=method, headers=headers).status_code == status


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"user_count": "5", "spawn_rate": "2"}, None),
        ({"user_count": "5"}, None),
        ({"user_count": "5", "spawn_rate": "2", "set": " ", "host": ""}, None),
        ({"user_count": "5", "scenario": "chat"}, "not scenario"),
        ({"user_count": "5", "set": "a=1", "host": "h"}, "host, set"),
        ({"user_count": "5", "run_time": "8s"}, "run_time"),
        ({"spawn_rate": "2"}, "give user_count"),
        ({}, "give user_count"),
    ],
)
def test_a_form_during_a_run_changes_users_and_spawn_rate_alone(form: dict, says: str | None) -> None:
    wrong = wrong_edit(form)
    assert wrong is None if says is None else says in wrong


@pytest.mark.parametrize(
    ("form", "good"),
    [
        ({"user_count": "5", "spawn_rate": "0.5"}, True),
        ({}, True),
        ({"user_count": "-1"}, False),
        ({"user_count": "0"}, False),
        ({"user_count": "x"}, False),
        ({"user_count": "99999999999"}, False),
        ({"spawn_rate": "0"}, False),
        ({"spawn_rate": "nan"}, False),
        ({"spawn_rate": "inf"}, False),
        ({"user_count": "1" * 6000}, False),
    ],
)
def test_numbers_of_a_form_are_numbers_within_reason(form: dict, good: bool) -> None:
    assert (wrong_numbers(form) is None) is good


def test_the_more_logins_fail_the_longer_the_answer_takes_and_time_forgets() -> None:
    attempts = Attempts()
    waits = [attempts.failed(float(second)) for second in range(10)]
    assert waits[:3] == [0.0, 0.0, 1.0] and waits == sorted(waits) and waits[-1] == Attempts.LONGEST_S
    assert attempts.failed(10_000.0) == 0.0


PASSWORD = "PLANTED-password"
GOOD_LOGIN, WRONG = ({"username": "tokenswarm", "password": word} for word in (PASSWORD, "guessed"))


@pytest.fixture
def login(monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """The login of a UI, and a page behind it."""
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    app = Flask(__name__)
    pages = Blueprint("locust", __name__)
    pages.add_url_rule("/", "index", login_required(lambda: "inside"))
    pages.add_url_rule("/login", "login", lambda: "the form")
    app.register_blueprint(pages)
    add_login(SimpleNamespace(app=app, login_manager=LoginManager(app), auth_args={}))
    return app.test_client()


@pytest.mark.parametrize(
    ("headers", "scheme", "secure"),
    [({}, "http", False), ({"X-Forwarded-Proto": "https, http"}, "http", True), ({}, "https", True)],
)
def test_the_cookie_is_for_http_alone_and_under_tls_for_tls_alone(
    login: FlaskClient, headers: dict[str, str], scheme: str, secure: bool
) -> None:
    answer = login.post("/login_submit", data=GOOD_LOGIN, headers=headers, base_url=f"{scheme}://localhost")
    cookie = answer.headers["Set-Cookie"]
    assert answer.headers["Location"] == "/" and ("Secure" in cookie) is secure
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie


def test_wrong_logins_are_answered_late_and_logged(
    login: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("tokenswarm.ui.login.gevent.sleep", pauses.append)
    for _ in range(4):
        assert login.post("/login_submit", data=WRONG).headers["Location"] == "/login"
    assert pauses == [0.0, 0.0, 1.0, 2.0]
    assert caplog.text.count("a login from 127.0.0.1 failed") == 4 and "guessed" not in caplog.text
    assert login.get("/").status_code == 401


def test_while_two_of_an_address_are_answered_further_ones_are_turned_away(
    login: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the one that is right of a thousand guesses at once would be told by its quick answer."""
    seen: list[int] = []

    def others_meanwhile(_: float) -> None:
        if len(seen) < 3:
            seen.append(0)
            data = WRONG if len(seen) == 1 else GOOD_LOGIN
            seen.append(login.application.test_client().post("/login_submit", data=data).status_code)

    monkeypatch.setattr("tokenswarm.ui.login.gevent.sleep", others_meanwhile)
    login.post("/login_submit", data=WRONG)
    assert 429 in seen
    assert login.post("/login_submit", data=GOOD_LOGIN).status_code == 302, "later they are let in again"


@pytest.mark.parametrize(
    ("user", "given", "password", "good"),
    [
        ("tokenswarm", "secret", "secret", True),
        ("tokenswarm", "wrong", "secret", False),
        ("x", "secret", "secret", False),
        ("tokenswarm", "", "", False),
        ("tokenswarm", "é\udcff", "é\udcff", True),
    ],
)
def test_only_user_and_password_together_are_good(user: str, given: str, password: str, good: bool) -> None:
    assert is_good(user, given, password) is good
