"""A running engine as the rest of tokenswarm sees it, whoever started it.

`Engine` is the whole protocol; the base class represents an endpoint that someone else runs. The runtimes (`local`,
`docker`) override what they know better; no caller checks the class of an engine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib import metadata

import tokenswarm
from tokenswarm.base.endpoint import USUAL_FORM, Endpoint, EndpointForm
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.manifest import EngineRecord
from tokenswarm.engines import management_http as web
from tokenswarm.engines.spec import effective as effective_values
from tokenswarm.engines.spec.engine_spec import CacheReset, EngineSpec, Scalar
from tokenswarm.engines.spec.metrics_text import samples

_BUSY_RETRY_S = 0.5
_CONFIGURATION_TIMEOUT_S = 30.0
"""Generous, because an engine may inspect its whole system the first time its configuration is requested."""
_NO_SUCH_ENDPOINT = (401, 403, 404, 405, 501)


class Engine:
    """An engine that answers at `base_url`; `runtime` says who keeps it alive.

    `description` is None for an endpoint that no description recognises: it can be loaded, but its metrics,
    configuration and cache are out of reach.
    """

    runtime = "external"

    def __init__(
        self, base_url: str, description: EngineSpec | None, api_key: str | None = None, form: EndpointForm = USUAL_FORM
    ) -> None:
        self.base_url = base_url
        self._form = form
        self.description = description
        self.command: list[str] = []
        self.notes: list[str] = []
        """Sentences for the user about settings that were left out or reduced."""
        self.cold_start_s: float | None = None
        """Seconds from the start of the process to the first token; None where someone else started it."""
        self.model: str | None = None
        """The model name that clients use; None if it has to come from the endpoint's list of models."""
        self.version: str | None = None
        """The version that the engine reports; None where it does not, and until `read_configuration`."""
        self.effective: dict[str, Scalar] = {}
        """The configuration that the engine reports, in canonical names; empty until `read_configuration`."""
        self.api_key = api_key

    @property
    def name(self) -> str:
        """The description's name, or `unknown`."""
        return self.description.name if self.description else "unknown"

    @property
    def title(self) -> str:
        """The engine's name for people."""
        return self.description.title if self.description else "Unknown engine"

    @property
    def simulated(self) -> bool:
        """True for the simulator: its figures were not measured on a real engine."""
        return bool(self.description and self.description.simulated)

    def request(self, path: str, method: str = "GET", payload: object = None, timeout_s: float = 5.0) -> web.HttpReply:
        """One request to the engine's root. Raises web.Unreachable."""
        url = Endpoint(self.base_url, self._form).page(path)
        return web.request(url, method, api_key=self.api_key, form=self._form, payload=payload, timeout_s=timeout_s)

    def read_configuration(self) -> None:
        """Ask the engine for its version and effective configuration: once, when it is ready or was taken over.
        Endpoints that do not answer are skipped."""
        self.version, self.effective = None, {}
        if self.description is None:
            return
        documents = {path: self._json(path) for path in effective_values.endpoints_needed(self.description)}
        wanted = effective_values.metrics_needed(self.description)
        metrics = samples(self.metrics_text() or "", wanted) if wanted else {}
        self.effective = effective_values.configuration(self.description, documents, metrics)
        version = effective_values.read(self.description.version, documents, metrics, {})
        if version is None and self.description.version_package is not None:
            version = _package_version(self.description.version_package)
        self.version = None if version is None else str(version)

    def _json(self, path: str) -> object:
        try:
            reply = self.request(path, timeout_s=_CONFIGURATION_TIMEOUT_S)
        except web.Unreachable:
            return None
        return reply.json() if reply.status == 200 else None

    def metrics_text(self, timeout_s: float = 2.0) -> str | None:
        """The engine's /metrics, or None when it cannot be read now."""
        if self.description is None:
            return None
        try:
            reply = self.request(self.description.metrics_path, timeout_s=timeout_s)
        except web.Unreachable:
            return None
        return reply.text if reply.status == 200 else None

    def reset_prefix_cache(self, wait_s: float = 30.0, sleep: Callable[[float], None] = time.sleep) -> bool:
        """Empty the prefix cache, waiting up to `wait_s` while requests are running.

        Returns False if this engine cannot do it. Raises UserError(Exit.ENGINE) if it still refuses after `wait_s`.
        """
        missing = None
        for reset in self.description.cache_reset if self.description else []:
            status = self._reset(reset, wait_s, sleep)
            if status == 200:
                return True
            missing = missing or _no_reset(self.title, reset.path, status, reset.missing_hint)
        if missing:
            self.notes.append(missing)
        return False

    def _reset(self, reset: CacheReset, wait_s: float, sleep: Callable[[float], None]) -> int:
        """200 on success, or the status that shows that the endpoint is missing or forbidden."""
        waited = 0.0
        while True:
            began = time.monotonic()
            try:
                reply = self.request(reset.path, reset.method, timeout_s=15.0)
            except web.Unreachable as error:
                raise UserError(
                    Exit.ENGINE, f"{self.title} did not answer {reset.method} {reset.path}: {error}."
                ) from error
            if reply.status in _NO_SUCH_ENDPOINT or (reply.status == 200 and _said_yes(reply, reset.success_field)):
                return reply.status
            if reply.status != 200 and reply.status not in reset.busy_statuses:
                raise UserError(Exit.ENGINE, f"{self.title} answered {reply.status} to {reset.method} {reset.path}.")
            if waited >= wait_s:
                raise UserError(
                    Exit.ENGINE,
                    f"{self.title} was still busy {wait_s:.0f} s after it was asked to empty its prefix cache; "
                    "is someone else using it?",
                )
            sleep(_BUSY_RETRY_S)
            waited += _BUSY_RETRY_S + time.monotonic() - began  # an engine can wait for an idle moment by itself

    # ---- its life: of an engine that somebody else runs there is none to be had here

    def is_alive(self) -> bool:
        """Whether it still runs, as far as that can be seen from here."""
        return True

    def log_tail(self, lines: int = 20) -> list[str]:
        """The last lines of the engine's log; empty where the log is out of reach."""
        return []

    def samplers(self) -> list[Callable[[float], list[dict[str, object]]]]:
        """What else telemetry can watch of this engine, such as the memory of its processes (see telemetry.Sampler)."""
        return []

    def process_ids(self) -> frozenset[int] | None:
        """Ids of its processes on this machine; None where they are not known."""
        return None

    def stop(self) -> None:
        """Stop an engine that this process started; leave any other running."""

    def kill(self) -> None:
        """The same at once, without waiting for an orderly end: for a second Ctrl-C."""

    def release(self) -> None:
        """Leave it running when this process ends; `stop` and `kill` do nothing afterwards."""

    def keep(self) -> bool:
        """Release it so that the next command finds it. False if this process does not own it. Raises
        UserError(RESULTS) if the record that makes it findable cannot be written."""
        return False

    def record(self) -> EngineRecord:
        """What run.json tells of it."""
        return EngineRecord(
            name=self.name,
            title=self.title,
            version=self.version,
            base_url=self.base_url,
            runtime=self.runtime,
            cold_start_s=self.cold_start_s,
            command=self.command,
            effective=dict(self.effective),
        )


def _package_version(name: str) -> str | None:
    """Version of an installed package; in the project's image its own code lies there without being installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return tokenswarm.__version__ if name == tokenswarm.__name__ else None


def _said_yes(reply: web.HttpReply, field: str | None) -> bool:
    if field is None:
        return True
    document = reply.json()
    return isinstance(document, Mapping) and document.get(field) is True


def _no_reset(title: str, path: str, status: int, hint: str) -> str:
    return f"The prefix cache of {title} cannot be emptied ({path} answered {status}){': ' + hint if hint else ''}."
