"""Serves live figures to Prometheus: /metrics, and /targets with the address of the engine's own /metrics.

`attach` adds both to Locust's web UI; `serve` opens a separate port for runs without one. A page is generated in
pieces, and other greenlets run in between, so a scrape delays a timestamp by one piece at most (docs/observe.md has the
figures).
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import gevent
from gevent.event import Event
from gevent.pywsgi import WSGIServer
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from tokenswarm.base.endpoint import Endpoint
from tokenswarm.base.environment import METRICS_VARIABLE
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.presence import present
from tokenswarm.contract.manifest import Manifest, read_manifest
from tokenswarm.contract.phases import Timeline
from tokenswarm.engines import known_engines, load_description
from tokenswarm.live.live_stats import LiveStats
from tokenswarm.live.prometheus import Moment, exported, families, run_labels

METRICS_PATH, TARGETS_PATH = "/metrics", "/targets"
_CONNECTIONS = 8
_BREATH_S = 0.001
"""Sleep between two pieces of a page. With 0, gevent would return here several times before it polls sockets."""
_LINGER_MOST_S = 15.0
_LINGER_INTERVALS = 2.0
_A_SCRAPER = 3
"""A client that came this often is a scraper; fewer visits may have been a person's."""


if TYPE_CHECKING:
    from flask import Flask
    from locust.env import Environment


class _PlanOfRun(Protocol):
    @property
    def folder(self) -> Path: ...

    @property
    def controlled(self) -> bool: ...


class _Loading(Protocol):
    @property
    def simulated_answers(self) -> int: ...


class _Directing(Protocol):
    @property
    def stopped(self) -> bool: ...


class Watched(Protocol):
    """The served part of a coordinator (`generator.roles.Coordinator`); attributes are None until they exist."""

    @property
    def environment(self) -> Environment: ...

    @property
    def plan(self) -> _PlanOfRun | None: ...

    @property
    def live(self) -> LiveStats | None: ...

    @property
    def timeline(self) -> Timeline: ...

    @property
    def process(self) -> _Loading | None: ...

    @property
    def director(self) -> _Directing | None: ...

    def in_flight(self) -> Counter[str]: ...


class Exporter:
    """Serves the figures of one coordinator, whichever run it is in."""

    def __init__(self, part: Watched) -> None:
        self._part = part
        self._manifest: tuple[Path, Manifest] | None = None
        self._targets: tuple[Path, bytes] | None = None
        self._scrapes: deque[float] = deque(maxlen=_A_SCRAPER + 1)
        """When the latest scrapes began, by the monotonic clock."""
        self._last_word: Event | None = None
        part.environment.events.quitting.add_listener(self._linger)

    def page(self) -> Iterator[bytes]:
        """/metrics in Prometheus' text format, in pieces; other greenlets may run between them."""
        self._scrapes.append(time.monotonic())
        last_word = self._last_word
        before = None
        for family in self._families():
            piece = generate_latest(_One(family))
            # A family in several pieces has its HELP and TYPE lines once.
            yield piece.split(b"\n", 2)[2] if family.name == before else piece
            before = family.name
            gevent.sleep(_BREATH_S)
        if last_word is not None:
            last_word.set()

    def targets(self) -> bytes:
        """The loaded engine, in the format of Prometheus' HTTP service discovery (a JSON list of target groups)."""
        engine = self._run().engine
        if self._targets is not None and self._targets[0] == present(self._part.plan).folder:
            return self._targets[1]
        path = load_description(engine.name).metrics_path if engine.name in known_engines() else None
        if path is None:
            return b"[]"
        endpoint = Endpoint(present(engine.base_url))
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        group = {
            "targets": [f"{host}:{endpoint.port}"],
            "labels": {
                "__scheme__": "https" if endpoint.tls else "http",
                "__metrics_path__": endpoint.root_path + path,
            },
        }
        self._targets = present(self._part.plan).folder, json.dumps([group]).encode()
        return self._targets[1]

    def wsgi(self, environ: Mapping[str, object], start_response: Callable[..., object]) -> Iterable[bytes]:
        """Both pages as a WSGI application."""
        path = environ.get("PATH_INFO")
        if path not in (METRICS_PATH, TARGETS_PATH) or environ.get("REQUEST_METHOD") != "GET":
            start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
            return [f"tokenswarm serves GET {METRICS_PATH} and GET {TARGETS_PATH}\n".encode()]
        if path == TARGETS_PATH:
            start_response("200 OK", [("Content-Type", "application/json")])
            return [self.targets()]
        start_response("200 OK", [("Content-Type", CONTENT_TYPE_PLAIN_0_0_4)])
        return self.page()

    def _run(self) -> Manifest:
        """run.json as of the start of the run; empty before the first run."""
        plan = self._part.plan
        if plan is None:
            return Manifest()
        if self._manifest is None or self._manifest[0] != plan.folder:
            try:
                read = read_manifest(plan.folder)
            except UserError:
                return Manifest()
            self._manifest = (plan.folder, read)
        return self._manifest[1]

    def _families(self) -> Iterable[Metric]:
        part, users = self._part, present(self._part.environment.runner).user_count
        if part.live is None:
            described = next(each for each in exported() if each.name == "tokenswarm_users")
            return [GaugeMetricFamily(described.name, described.meaning, value=users)]
        line, now, manifest = part.timeline, time.time(), self._run()
        return families(
            part.live,
            Moment(
                run=run_labels(manifest, self._simulated(manifest)),
                phase=line.phase_at(now),
                measured_s=max(0.0, min(now, line.measure_end) - line.measure_start),
                in_flight=part.in_flight(),
                users=users,
                user_classes=[each.__name__ for each in part.environment.user_classes],
            ),
        )

    def _simulated(self, manifest: Manifest) -> str:
        """`true`, `false`, or `unknown`: under plain Locust it is known only at the end, from the answers."""
        seen = self._part.process is not None and self._part.process.simulated_answers
        if manifest.simulated or seen:
            return "true"
        return "false" if present(self._part.plan).controlled else "unknown"

    def _linger(self, **_: object) -> None:
        """Before the process exits, wait for one more scrape, so that the scraper sees the final figures. Waits only
        for a client that came at least three times, and at most twice the time between its latest scrapes or 15 s. Does
        not wait if the run was ended by hand.
        """
        director, scrapes = self._part.director, list(self._scrapes)
        if len(scrapes) < _A_SCRAPER or director is None or director.stopped or not present(self._part.plan).controlled:
            return
        interval_s = max(after - before for before, after in pairwise(scrapes))
        patience_s = min(_LINGER_MOST_S, _LINGER_INTERVALS * interval_s - (time.monotonic() - scrapes[-1]))
        self._last_word = Event()
        if patience_s > 0:
            self._last_word.wait(patience_s)
            gevent.sleep(0.05)  # the last piece may not have been written to the socket yet


class _One:
    """A registry with one family, since the client library writes only whole registries."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return [self._family]


def attach(app: Flask, part: Watched) -> Exporter:
    """Serve /metrics and /targets in Locust's web UI (a Flask app), without a login, since Prometheus cannot log in."""
    from flask import Response

    exporter = Exporter(part)
    app.add_url_rule(
        METRICS_PATH, "tokenswarm_metrics", lambda: Response(exporter.page(), content_type=CONTENT_TYPE_PLAIN_0_0_4)
    )
    app.add_url_rule(
        TARGETS_PATH, "tokenswarm_targets", lambda: Response(exporter.targets(), content_type="application/json")
    )
    return exporter


def serve(part: Watched) -> WSGIServer | None:
    """Serve the metrics at the port in TOKENSWARM_METRICS; None if the variable is not set. Raises UserError: PORT if
    the port cannot be opened, USAGE if the variable is not HOST:PORT.
    """
    where = os.environ.get(METRICS_VARIABLE)
    if not where:
        return None
    host, _, port = where.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise UserError(Exit.USAGE, f"{METRICS_VARIABLE} is '{where}'; it should be HOST:PORT, such as 127.0.0.1:9646")
    server = WSGIServer((host.strip("[]"), int(port)), Exporter(part).wsgi, log=None, spawn=_CONNECTIONS)
    try:
        server.start()
    except OSError as error:
        raise UserError(
            Exit.PORT,
            f"metrics cannot be served at {where} ({os.strerror(error.errno or 0)}): choose "
            "another METRICS_PORT (--metrics-port), or stop what listens there",
        ) from None
    return server
