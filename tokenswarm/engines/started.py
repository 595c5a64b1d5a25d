"""An engine that this process started: waits until it is ready, and finds the cause in its log if it fails."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.engines import management_http as web
from tokenswarm.engines.engine_protocol import Engine
from tokenswarm.engines.spec.engine_spec import EngineSpec
from tokenswarm.engines.start_request import Progress

_TAIL_BYTES = 64 * 1024
_SHOWN_LINES = 12
_FIRST_TOKEN_TIMEOUT_S = 60.0


def lines_of(text: str) -> list[str]:
    """The non-empty lines of a log; a progress bar's returns end lines too."""
    return [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def tail(path: Path, lines: int) -> list[str]:
    """The last non-empty lines of a text file; empty when it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return lines_of(text)[-lines:]


def diagnose(description: EngineSpec, lines: Sequence[str]) -> str | None:
    """The sentence for the first known cause that the log's lines show; None for none."""
    text = "\n".join(lines)
    for failure in description.failures:
        if re.search(failure.pattern, text):
            return failure.sentence
    return None


class StartedEngine(Engine):
    """An engine that this process started and will stop; what keeps it alive is the subclass's business."""

    poll_s = 0.25
    """Seconds between two looks while waiting."""

    def __init__(
        self, description: EngineSpec, base_url: str, served_name: str, log_path: Path, api_key: str | None = None
    ) -> None:
        super().__init__(base_url, description, api_key)
        self.description: EngineSpec = description
        self.model: str = served_name
        self.log_path = log_path
        self.started = time.monotonic()
        self.ready_timeout_s = 300.0

    def trouble(self) -> str | None:
        """Why it can no longer become ready, as the rest of a sentence ("ended with code 1"); None while it can."""
        raise NotImplementedError

    def wait_ready(self, on_progress: Progress | None = None, timeout_s: float | None = None) -> None:
        """Wait until the model is listed and one real token came back, then note `cold_start_s` and read its
        configuration.

        Raises UserError(Exit.ENGINE) with the cause and the end of the log when it ends or the time is up;
        the engine is stopped then.
        """
        deadline = self.started + (self.ready_timeout_s if timeout_s is None else timeout_s)
        listed = False
        while True:
            if on_progress is not None:
                on_progress(time.monotonic() - self.started, (self.log_tail(1) or [""])[0])
            trouble = self.trouble()
            if trouble is not None:
                self.stop()
                raise self._failed(f"{self.title} {trouble} before it was ready")
            listed = listed or (self._is_healthy() and self._lists_model())
            if listed and self._gives_token():
                self.cold_start_s = round(time.monotonic() - self.started, 3)
                self.read_configuration()
                return
            time.sleep(self.poll_s)
            if time.monotonic() >= deadline:
                self.stop()
                raise self._failed(f"{self.title} was not ready after {deadline - self.started:.0f} s and was stopped")

    def _is_healthy(self) -> bool:
        """An engine may list its models while its own warm-up still runs, which would count as load."""
        try:
            return self.request(self.description.health_path, timeout_s=10.0).status == 200
        except web.Unreachable:
            return False

    def _lists_model(self) -> bool:
        try:
            document = self.request("/v1/models", timeout_s=2.0).json()
        except web.Unreachable:
            return False
        models = document.get("data") if isinstance(document, dict) else None
        return isinstance(models, list) and any(
            isinstance(model, dict) and model.get("id") == self.model for model in models
        )

    def _gives_token(self) -> bool:
        """Whether a completion of one token succeeds; a model without a chat template is asked without one."""
        chat = {"model": self.model, "max_tokens": 1, "messages": [{"role": "user", "content": "Hello"}]}
        plain = {"model": self.model, "max_tokens": 1, "prompt": "Hello"}
        for path, payload in (("/v1/chat/completions", chat), ("/v1/completions", plain)):
            try:
                reply = self.request(path, "POST", payload, timeout_s=_FIRST_TOKEN_TIMEOUT_S)
            except web.Unreachable:
                return False
            document = reply.json()
            usage = document.get("usage") if isinstance(document, dict) else None
            if reply.status == 200 and isinstance(usage, dict):
                return bool(usage.get("completion_tokens"))
            if reply.status >= 500:
                return False
        return False

    def _failed(self, what: str) -> UserError:
        cause = diagnose(self.description, self.log_tail(400))
        shown = "\n".join(f"  | {line}" for line in self.log_tail(_SHOWN_LINES))
        because = f": {cause}" if cause else ""
        return UserError(Exit.ENGINE, f"{what}{because}. The log ({self.log_path}) ends with:\n{shown}")
