"""The tab "LLM" of Locust's web UI, through Locust's own extension points: tabs, routes, download links."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import gevent
from flask import Flask, Response, jsonify, request, send_file
from flask_login import current_user
from gevent import subprocess as gsubprocess
from locust.env import Environment
from locust.runners import STATE_RUNNING, STATE_SPAWNING
from werkzeug.datastructures import ImmutableMultiDict

from tokenswarm.base.data_files import PLOTLY_JS
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.foreign import printable
from tokenswarm.base.masking import hidden
from tokenswarm.base.presence import present
from tokenswarm.contract.manifest import Manifest
from tokenswarm.contract.summary.summary_file import read_summary
from tokenswarm.contract.tables import DASHBOARD_HTML, REQUESTS_CSV
from tokenswarm.generator.locust_seam import loaded_classes
from tokenswarm.generator.mixed_user import classes_of_mix
from tokenswarm.generator.plain_locust import chosen_scenario
from tokenswarm.generator.roles import Coordinator
from tokenswarm.generator.ui_session import session_from_environment
from tokenswarm.live.exporter import attach
from tokenswarm.live.history import History
from tokenswarm.live.ui_columns import layout
from tokenswarm.scenario.loading import scenario_names
from tokenswarm.ui.engine_view import engine_view
from tokenswarm.ui.gatekeeping import known_hosts, refuse_other_hosts, refuse_other_sites, wrong_edit, wrong_numbers
from tokenswarm.ui.login import add_login
from tokenswarm.ui.series_view import SeriesView

_STATIC = Path(__file__).parent / "static"
_TAB = "llm"
_SECOND_S = 1.0
_LOADING = (STATE_SPAWNING, STATE_RUNNING)
_REPORT_WAIT_S = 120.0
_LOG_BYTES = 16_384
_NOTHING = {"state": "ready", "run": None, "alert": None}
"""Shown before the first run and while one is being prepared."""


class LlmTab:
    """The tab's content, from the role that directs the runs. Routes are behind Locust's login if there is one."""

    def __init__(self, environment: Environment, coordinator: Coordinator) -> None:
        self._environment, self._coordinator = environment, coordinator
        self._web_ui = present(environment.web_ui)
        self._history = History(None)
        self._alert: str | None = None
        self._series = SeriesView(session_from_environment(), self._is_loading)
        if self._web_ui.web_login:
            add_login(self._web_ui)
        self._extend(present(self._web_ui.app))
        environment.events.test_start.add_listener(self._begun)

    def _extend(self, app: Flask) -> None:
        args = self._web_ui.template_args
        args["extendedTabs"] = [{"title": "LLM", "key": _TAB}]
        args["extendedCsvFiles"] = [
            {"href": "./llm/report", "title": "tokenswarm dashboard of this run"},
            {"href": "./llm/requests.csv", "title": "Download requests.csv: one row a request"},
        ]
        guarded = self._web_ui.auth_required_if_enabled
        for path, view in (
            ("/llm", self._page),
            ("/llm/live.json", self._live),
            ("/llm/history.json", self._past),
            ("/llm/report", self._report),
            ("/llm/requests.csv", self._rows),
            ("/llm/engine.log", self._log),
        ):
            app.add_url_rule(path, f"tokenswarm{path}", guarded(view))
        self._series.add_routes(app, guarded)
        self._environment.events.quitting.add_listener(self._series.child.end)
        app.add_url_rule("/llm/static/<name>", "tokenswarm-static", _static)
        attach(app, self._coordinator)
        options = getattr(self._environment, "parsed_options", None)
        known = known_hosts(getattr(options, "web_host", None))
        app.before_request(lambda: refuse_other_hosts(known))
        app.before_request(refuse_other_sites)
        app.before_request(self._check_start)
        # Flask calls these in reverse order: the first one runs after Locust's own, which allows every origin.
        app.after_request_funcs.setdefault(None, []).insert(0, _for_this_site_only)
        app.after_request(_with_tab_script)

    # ---- the start of a run

    def _check_start(self) -> Response | None:
        """Reject an invalid start form before Locust acts on it, and choose the user classes."""
        if request.path != "/swarm" or request.method != "POST":
            return None
        if self._web_ui.web_login and not current_user.is_authenticated:
            return None  # Locust redirects to the login; do nothing for an unknown user
        form = request.form.to_dict()
        if (wrong := wrong_numbers(form)) is not None:
            return _refused(wrong)
        if self._is_loading():
            if (wrong := wrong_edit(form)) is not None:
                return _refused(wrong)
            self._note_edit(form["user_count"])
            return None
        if (wrong := self._series.why_no_run()) is not None:
            return _refused(wrong)
        wanted = {**vars(self._environment.parsed_options), **form}
        try:
            _refuse_other_host(form.get("host"))
            _refuse_unlisted(form.get("scenario"), self._environment.user_classes)
            scenario, _ = chosen_scenario(_Options(wanted), self._environment.user_classes)
            loaded = loaded_classes(self._environment)
            classes = (
                classes_of_mix(scenario.mix, loaded)
                if scenario.mix is not None
                else [cls for cls in loaded if cls.__module__.rpartition(".")[2] == scenario.locustfile_path.stem]
            )
        except UserError as error:
            self._alert = str(error)
            return _refused(str(error))
        if classes:
            self._environment.user_classes = classes
        if scenario.open_loop:  # all users at once: they only carry requests, and the schedule decides the arrivals
            request.form = ImmutableMultiDict({**form, "spawn_rate": form.get("user_count", "1")})
        return None

    def _is_loading(self) -> bool:
        return self._coordinator.going_on or present(self._environment.runner).state in _LOADING

    def _note_edit(self, users: str) -> None:
        """Note a change of the number of users during a run: figures before and after belong to two loads."""
        coordinator = self._coordinator
        if coordinator.manifest is not None:
            seconds = time.time() - coordinator.timeline.start
            coordinator.manifest.notes.append(
                f"The number of users was set to {int(users)} by hand, {seconds:.0f} s after the run had begun: its "
                "figures are of several loads."
            )

    def _begun(self, **_: object) -> None:
        self._alert = None
        self._history = History(self._coordinator.plan.run_id if self._coordinator.plan is not None else None)
        gevent.spawn(self._remember)

    def _remember(self) -> None:
        """Fill the timeline during this run."""
        mine = self._history
        while self._history is mine:
            gevent.sleep(_SECOND_S)
            if self._coordinator.going_on:
                mine.add(self._snapshot())

    # ---- what is shown

    def _snapshot(self) -> dict[str, object]:
        coordinator = self._coordinator
        if coordinator.live is None or coordinator.plan is None:
            return {**_NOTHING, "alert": self._alert}
        manifest = coordinator.manifest or Manifest()
        in_flight = coordinator.in_flight() if coordinator.going_on else Counter()
        engine = manifest.engine
        return {
            **coordinator.live.snapshot(),
            "state": "running" if coordinator.going_on else "stopped",
            "outcome": None if coordinator.going_on else outcome_of(coordinator.plan.folder),
            "alert": self._alert,
            "run": {
                "id": coordinator.plan.run_id,
                "scenario": coordinator.plan.scenario.title or coordinator.plan.scenario.name,
                "engine": " ".join(filter(None, (engine.title, engine.version))),
                "model": coordinator.plan.model,
                "simulated": bool(manifest.simulated),
                "open_loop": coordinator.plan.scenario.open_loop,
                "slo": self._slos(),
                "began": coordinator.timeline.start,
                "notes": manifest.notes,
                "has_log": self._log_path() is not None,
            },
            "layout": layout(),
            "in_flight": in_flight.total(),
            "in_flight_by_class": dict(in_flight),
            "users": present(self._environment.runner).user_count,
            "engine": engine_view(list(coordinator.engine_samples), time.time()),
        }

    def _slos(self) -> dict[str, object]:
        """The SLOs of each user class of the run."""
        plan = present(self._coordinator.plan)
        mix = plan.scenario.mix
        names = [each.__name__ for each in self._environment.user_classes] if mix is None else mix.shares
        return {name: plan.of(name).slo for name in names}

    def _live(self) -> Response:
        return jsonify(self._snapshot())

    def _past(self) -> Response:
        plan = self._coordinator.plan
        current = plan is not None and plan.run_id == self._history.run_id
        return jsonify(self._history.points if current else [])

    def _page(self) -> Response:
        return send_file(_STATIC / "llm.html")

    def _log_path(self) -> Path | None:
        """The log of the engine started here, or None."""
        session = session_from_environment()
        path = Path(session.engine_log) if session is not None and session.engine_log else None
        return path if path is not None and path.is_file() else None

    def _log(self) -> Response:
        """Its last lines, with secrets masked like in all output."""
        path = self._log_path()
        if path is None:
            return Response("The engine has no log here.", 404, mimetype="text/plain")
        return Response(hidden(end_of(path)), mimetype="text/plain")

    # ---- what can be downloaded

    def _rows(self) -> Response:
        if self._coordinator.plan is None:
            return Response("No run has begun yet.", 404, mimetype="text/plain")
        return send_file(
            self._coordinator.plan.folder / REQUESTS_CSV,
            as_attachment=True,
            download_name=f"{self._coordinator.plan.run_id}-{REQUESTS_CSV}",
        )

    def _report(self) -> Response:
        """The dashboard of the latest run; made here if the command line does not make it."""
        coordinator = self._coordinator
        if coordinator.plan is None:
            return Response("No run has begun yet.", 404, mimetype="text/plain")
        if coordinator.going_on:
            return Response(
                "The run is still in progress; its dashboard is made when it ends.", 409, mimetype="text/plain"
            )
        page = coordinator.plan.folder / DASHBOARD_HTML
        deadline = time.monotonic() + _REPORT_WAIT_S
        while coordinator.reporter.connected and not page.exists() and time.monotonic() < deadline:
            gevent.sleep(0.2)
        if not page.exists():
            made = gsubprocess.run(
                [sys.executable, "-m", "tokenswarm", "report", str(coordinator.plan.folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            if not page.exists():
                words = made.stdout.decode("utf-8", "replace")
                return Response(f"The dashboard could not be made. {words}", 500, mimetype="text/plain")
        return send_file(
            page, as_attachment="download" in request.args, download_name=f"{coordinator.plan.run_id}-{DASHBOARD_HTML}"
        )


def end_of(path: Path) -> str:
    """The last complete lines of a log, at most _LOG_BYTES."""
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - _LOG_BYTES))
        text = file.read().decode("utf-8", "replace")
    return text if size <= _LOG_BYTES else text.partition("\n")[2]


def outcome_of(folder: Path) -> dict[str, object] | None:
    """The outcome of a finished run from its summary.json, or None if there is none yet."""
    try:
        outcome = read_summary(folder).outcome
    except (OSError, UserError):
        return None
    return {"headline": outcome.headline, "sentence": outcome.sentence, "code": outcome.code}


def _refuse_other_host(host: str | None) -> None:
    """Only the engine that the command line watches may be loaded. Raises UserError for another host."""
    session = session_from_environment()
    if session is not None and host and host.rstrip("/") != (session.engine.base_url or "").rstrip("/"):
        raise UserError(
            Exit.USAGE,
            f"this UI was started for the engine at {session.engine.base_url}; for another one start it with HOST=...",
        )


def _refuse_unlisted(name: str | None, user_classes: Iterable[object]) -> None:
    """A scenario from a form must be a name from the offered list, never a path. Raises UserError."""
    session = session_from_environment()
    offered = (
        session.scenarios
        if session is not None
        else [*scenario_names(), *(str(getattr(cls, "scenario", "")) for cls in user_classes)]
    )
    if name and name not in offered:
        raise UserError(Exit.USAGE, f"there is no scenario {printable(name, 60)!r} in the list: {', '.join(offered)}")


def _refused(sentence: str) -> Response:
    """The response that Locust's page shows as an error."""
    return jsonify({"success": False, "message": sentence})


class _Options:
    """The settings of a start form as attributes, like parsed options."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self.__dict__.update(values)


def _for_this_site_only(response: Response) -> Response:
    """Locust allows pages of any site to read its responses; these are private."""
    response.headers.pop("Access-Control-Allow-Origin", None)
    return response


def _static(name: str) -> Response:
    """Scripts and styles, which contain nothing about a run."""
    path = PLOTLY_JS if name == "plotly.min.js" else _STATIC / Path(name).name
    if not path.is_file():
        return Response("Not found.", 404, mimetype="text/plain")
    return send_file(path, max_age=3600 if name == "plotly.min.js" else 0)


def _with_tab_script(response: Response) -> Response:
    """Locust's page with the script that fills the tab."""
    if request.path == "/" and response.mimetype == "text/html" and response.status_code == 200:
        page = response.get_data(as_text=True)
        response.set_data(page.replace("</body>", '<script src="./llm/static/tab.js"></script></body>', 1))
    return response
