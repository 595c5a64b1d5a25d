"""A real engine as the tests see it: plain HTTP to it, its counters, and `tokenswarm load` against it."""

from __future__ import annotations

import contextlib
import csv
import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenswarm.engines import StartRequest, load_description, start_local
from tokenswarm.engines.install_paths import tiny_model_folder
from tokenswarm.engines.local.local_engine import LocalEngine
from tokenswarm.engines.spec.metrics_text import canonical

API_KEY = "planted-key-of-the-engine-tests"
CONTEXT_LENGTH = 4096
SEED = 11
RUN_LIMIT_S = 900.0
"""What a run may take on a machine that others use too."""
ROOT = Path(__file__).resolve().parents[2]

# The key that each engine must ask for (only here: on a command line it can be read by others), and what lets random
# weights end what a schema asks for: no white space but what JSON needs, and a parser of calls that has no form of its
# own, so that calls follow their JSON schemas.
_OWN_SETTINGS = {
    "vllm": {
        "api-key": API_KEY,
        "enable-auto-tool-choice": True,
        "tool-call-parser": "pythonic",
        "structured-outputs-config": '{"backend": "xgrammar", "disable_any_whitespace": true}',
    },
    "sglang": {
        "api-key": API_KEY,
        "tool-call-parser": "pythonic",
        "constrained-json-disable-any-whitespace": True,
    },
    "llamacpp": {"api-key": API_KEY},
}


@dataclass(slots=True)
class Stream:
    """One streamed answer: its events as JSON, and whether [DONE] came."""

    status: int
    events: list[dict[str, Any]] = field(default_factory=list)
    done: bool = False
    ttft_s: float | None = None
    """First event with text, from the moment before the request was written."""

    @property
    def usage(self) -> dict[str, Any]:
        """Usage of the last event that has one."""
        return next((event["usage"] for event in reversed(self.events) if event.get("usage")), {})

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens that came from the prefix cache, as usage tells."""
        return (self.usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0

    def texts(self, channel: str) -> list[str]:
        """The non-empty texts of one channel of the deltas, in order."""
        deltas = [choice["delta"] for event in self.events for choice in event["choices"]]
        return [delta[channel] for delta in deltas if delta.get(channel)]

    def finish_reasons(self) -> list[str]:
        """All that are not null."""
        choices = [choice for event in self.events for choice in event["choices"]]
        return [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]


@dataclass(slots=True)
class Server:
    """A running real engine."""

    engine: LocalEngine
    folder: Path

    @property
    def name(self) -> str:
        """The description's name."""
        return self.engine.name

    def body(self, prompt: str, **more: Any) -> dict[str, Any]:
        """A streamed chat request of 8 tokens, changed by `more`."""
        return {
            "model": self.engine.model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": 8,
            "stream": True,
            "stream_options": {"include_usage": True},
            "ignore_eos": True,
            "temperature": 0,
        } | more

    def open(self, body: Any, key: str | None = API_KEY) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send a chat request and hand out the connection with its answer, unread."""
        connection = http.client.HTTPConnection(self.engine.base_url.removeprefix("http://"), timeout=120)
        headers = {"Content-Type": "application/json"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("POST", "/v1/chat/completions", data, headers)
        return connection, connection.getresponse()

    def ask(self, body: Any, key: str | None = API_KEY) -> tuple[int, dict[str, Any]]:
        """A request whose answer is read as one JSON document: (status, document)."""
        connection, answer = self.open(body, key)
        with contextlib.closing(connection):
            return answer.status, json.loads(answer.read())

    def stream(self, prompt: str, **more: Any) -> Stream:
        """A streamed answer, read to its end."""
        started = time.monotonic()
        connection, answer = self.open(self.body(prompt, **more))
        result = Stream(answer.status)
        channels = ("content", self.engine.description.reasoning_field)
        with contextlib.closing(connection):
            for line in answer:
                if not line.startswith(b"data: "):
                    continue
                data = line.removeprefix(b"data: ").strip()
                if data == b"[DONE]":
                    result.done = True
                    continue
                event = json.loads(data)
                result.events.append(event)
                if result.ttft_s is None and any(
                    choice["delta"].get(channel) for choice in event["choices"] for channel in channels
                ):
                    result.ttft_s = time.monotonic() - started
        return result

    def counters(self) -> dict[str, float]:
        """The engine's own metrics in canonical names, now."""
        text = self.engine.metrics_text(timeout_s=10)
        assert text is not None, "the engine's /metrics did not answer"
        values = canonical(text, self.engine.description.metrics)
        # Of speculation an engine tells only where it speculates.
        missing = [name for name, value in values.items() if value is None and not name.startswith("spec_")]
        assert not missing, f"metrics that the engine does not export: {missing}"
        return values  # type: ignore[return-value]

    def wait_for(self, condition: Callable[[dict[str, float]], bool], limit_s: float = 30) -> dict[str, float]:
        """The counters as soon as they meet a condition, else as they are: engines count a moment after they answer."""
        until = time.monotonic() + limit_s
        values = self.counters()
        while not condition(values) and time.monotonic() < until:
            time.sleep(0.1)
            values = self.counters()
        return values


@contextlib.contextmanager
def start_server(name: str, folder: Path, settings: Mapping[str, Any] | None = None) -> Iterator[Server]:
    """Start a real engine with the tiny model on the first CPU, and stop it at the end."""
    wanted = {"context_length": CONTEXT_LENGTH, "seed": SEED, name: _OWN_SETTINGS[name]} | dict(settings or {})
    engine = start_local(
        StartRequest(
            description=load_description(name),
            device="cpu",
            settings=wanted,
            log_path=folder / "engine.log",
            cpus={0},
            api_key=API_KEY,
        )
    )
    try:
        yield Server(engine, folder)
    finally:
        engine.stop()


def mended(text: str) -> str:
    """JSON without what xgrammar lets into a text that has a longest length: control characters, which JSON does not
    allow, and bytes that are no UTF-8 (docs/structured.md). Of these each is decoded as a character of its own, so that
    the text is longer than the grammar took it to be."""
    return re.sub("\N{REPLACEMENT CHARACTER}+", "?", "".join("." if sign < " " else sign for sign in text))


def token_id(token: str) -> int:
    """The id of one of the tiny model's added tokens."""
    tokenizer = json.loads((tiny_model_folder() / "tokenizer.json").read_text(encoding="utf-8"))
    return next(each["id"] for each in tokenizer["added_tokens"] if each["content"] == token)


@dataclass(slots=True)
class Run:
    """A finished `tokenswarm load`: exit code, output, and the tables of its folder."""

    code: int
    output: str
    folder: Path
    manifest: dict[str, Any]
    requests: list[dict[str, str]]
    engine_metrics: list[dict[str, str]]

    def total(self, column: str, phase: str | None = None) -> float:
        """Sum of a column over the requests; empty cells count nothing."""
        rows = [row for row in self.requests if phase is None or row["phase"] == phase]
        return sum(float(row[column]) for row in rows if row[column])

    def engine_total(self, column: str) -> float:
        """How much one of the engine's counters grew from the first to the last reading."""
        values = [float(row[column]) for row in self.engine_metrics if row[column]]
        return values[-1] - values[0]


def run_load(server: Server, scenario: str, values: Mapping[str, Any], duration: str, users: int) -> Run:
    """`python -m tokenswarm load` against a running engine, as a user types it."""
    return _run(
        server, values, "--scenario", scenario, "--users", str(users), "--spawn-rate", "20", "--duration", duration
    )


def run_open_loop(server: Server, scenario: str, values: Mapping[str, Any], duration: str, rate: float) -> Run:
    """The same by requests per second."""
    return _run(server, values, "--scenario", scenario, "--rate", str(rate), "--duration", duration)


def run_replay(server: Server, file: Path, values: Mapping[str, Any]) -> Run:
    """The same of a trace."""
    return _run(server, values, "--scenario", "replay", "--data", str(file))


def _run(server: Server, values: Mapping[str, Any], *arguments: str) -> Run:
    results = server.folder / "results"
    before = set(results.glob("*")) if results.is_dir() else set()
    finished = subprocess.run(
        [
            *(sys.executable, "-m", "tokenswarm", "load", "--engine", "external", "--host", server.engine.base_url),
            *arguments,
            *("--results", str(results), "--set", " ".join(f"{key}={value}" for key, value in values.items())),
        ],
        cwd=ROOT,
        env=os.environ | {"API_KEY": API_KEY},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=RUN_LIMIT_S,
    )
    made = [path for path in results.glob("*") if path not in before] if results.is_dir() else []
    whole = len(made) == 1 and (made[0] / "requests.csv").is_file()
    assert whole, f"no whole run folder (exit code {finished.returncode}):\n{finished.stdout}"
    return Run(
        finished.returncode,
        finished.stdout,
        made[0],
        json.loads((made[0] / "run.json").read_text(encoding="utf-8")),
        _table(made[0] / "requests.csv"),
        _table(made[0] / "engine_metrics.csv"),
    )


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
