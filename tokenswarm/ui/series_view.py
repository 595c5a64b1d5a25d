"""Routes of the tab to start, watch and stop a capacity search or a comparison."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flask import Flask, Response, jsonify, request, send_file
from flask.typing import ResponseReturnValue

from tokenswarm.base.errors import UserError
from tokenswarm.generator.ui_session import UiSession
from tokenswarm.ui.series_child import SeriesChild
from tokenswarm.ui.series_form import command_of, offered

_NOT_HERE = "Searches and comparisons are started where `tokenswarm ui` serves this page."


_View = Callable[..., ResponseReturnValue]


class SeriesView:
    """`is_loading`: whether a run is in progress. A run and a series exclude each other, since both load the engine."""

    def __init__(self, session: UiSession | None, is_loading: Callable[[], bool]) -> None:
        self._session = session
        self._is_loading = is_loading
        results = Path(session.results) if session is not None else Path()
        self.child = SeriesChild(results, self._why_not_now)

    def add_routes(self, app: Flask, guarded: Callable[[_View], _View]) -> None:
        for path, view, methods in (
            ("/llm/series.json", self._show, ["GET"]),
            ("/llm/series/start", self._start, ["POST"]),
            ("/llm/series/stop", self._stop, ["POST"]),
            ("/llm/series/page", self._page, ["GET"]),
        ):
            app.add_url_rule(path, f"tokenswarm{path}", guarded(view), methods=methods)

    def why_no_run(self) -> str | None:
        """A sentence on why no run can begin now, or None."""
        return "a search or comparison is in progress: stop it in the tab LLM first" if self.child.running else None

    def _why_not_now(self) -> str | None:
        return "a run is in progress: stop it first" if self._is_loading() else None

    def _show(self) -> Response:
        choices = None if self._session is None else offered(self._session)
        return jsonify({**self.child.snapshot(), "offered": choices, "why_not": self._why_not_now()})

    def _start(self) -> Response:
        if self._session is None:
            return _answer(_NOT_HERE)
        form = request.form.to_dict()
        try:
            self.child.start(command_of(form, self._session), form)
        except UserError as error:
            return _answer(str(error))
        except OSError as error:
            return _answer(f"it could not be started: {error.strerror or error}")
        return _answer(None)

    def _stop(self) -> Response:
        return _answer(None if self.child.stop() else "nothing goes on")

    def _page(self) -> Response:
        page = self.child.page
        if page is None:
            return Response("There is no page of a finished search or comparison.", 404, mimetype="text/plain")
        return send_file(page.absolute())


def _answer(wrong: str | None) -> Response:
    return jsonify({"success": wrong is None, "message": wrong or ""})
