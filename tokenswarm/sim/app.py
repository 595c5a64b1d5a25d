"""The application: routes, and the clock that ties the engine model's time to the machine's."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from urllib.parse import parse_qs

import msgspec

from tokenswarm.sim import api, faults, prometheus_text
from tokenswarm.sim.adapter_loading import AdapterSlots
from tokenswarm.sim.answers import plan
from tokenswarm.sim.config import Config
from tokenswarm.sim.faulty import FaultyPlain, FaultyStream
from tokenswarm.sim.grammars import Compiler
from tokenswarm.sim.jobs import EngineModel, Job
from tokenswarm.sim.pacemaker import Pacemaker
from tokenswarm.sim.replies import JSON, PlainReply, Reply, StreamReply
from tokenswarm.sim.server import Incoming, ServerConnection
from tokenswarm.sim.styles import OPEN_PATHS
from tokenswarm.sim.text import Prose
from tokenswarm.sim.truth import Truth, TruthLog

_TOKENS_A_TURN = 256
"""Tokens written before the loop looks at its sockets again: a late simulator still reads requests."""

_TICK_NS = 200_000
"""Shortest time between two wake-ups. A wake-up for each token would cost more than the token; lateness grows by less
than this, and only where tokens follow one another so closely."""

_FLUSH_S = 1.0
_TEXT = b"text/plain; charset=utf-8"
_BUSY_POLL_S = 0.02


class App:
    """One simulated engine behind HTTP. `attach` must be called in a running loop before the first request."""

    def __init__(self, config: Config, engine: EngineModel, chaos: faults.Chaos, log: TruthLog | None) -> None:
        self.config = config
        self.style = config.style
        self.report_cached = config.report_cached
        self.role_at_once = config.role_at_once
        self.connections: set[ServerConnection] = set()
        self._engine = engine
        self._chaos = chaos
        self._log = log
        self._prose = Prose(config.seed)
        self._compiler = Compiler(config.compile_s_per_kb)
        self._adapters = AdapterSlots(config.adapters)
        self._latencies = prometheus_text.Latencies()
        self._live: set[Reply] = set()
        self._requests = 0
        self._epoch_ns = time.monotonic_ns()
        self._not_before_ns = 0
        self._ns_a_model_s = 1e9 / config.time_scale
        self._routes = self._make_routes()

    # --- time ---

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Starts the clock."""
        self._pacemaker = Pacemaker(loop, self._tick)
        self._flusher = loop.call_later(_FLUSH_S, self._flush_log)

    def close(self) -> None:
        """Stops the clock, writes the truth of what was in flight, and drops all connections."""
        self._pacemaker.close()
        self._flusher.cancel()
        for reply in list(self._live):
            self._record(reply, "interrupted")
        for connection in list(self.connections):
            connection.reply = None
            connection.close()
        if self._log is not None:
            self._log.close()

    def _to_model_s(self, at_ns: int) -> float:
        return (at_ns - self._epoch_ns) / self._ns_a_model_s

    def _to_ns(self, model_s: float) -> int:
        return self._epoch_ns + int(model_s * self._ns_a_model_s)

    def _tick(self) -> None:
        """Writes the tokens that are due. Late, it keeps the schedule: no drift."""
        latencies = self._latencies
        epoch_ns, ns_a_model_s = self._epoch_ns, self._ns_a_model_s
        now_ns = time.monotonic_ns()
        self._not_before_ns = now_ns + _TICK_NS
        for at_s, job, count in self._engine.advance(self._to_model_s(now_ns), _TOKENS_A_TURN):
            if job.cancelled:
                continue
            reply = job.reply
            if reply.first_model_s is None:
                reply.first_model_s = at_s
                latencies.ttft.observe(at_s - job.arrival_s)
                latencies.queue.observe((job.admitted_s or 0.0) - job.arrival_s)
            else:
                latencies.itl.observe(at_s - reply.last_model_s)
            reply.last_model_s = at_s
            if count == 1:
                reply.token(epoch_ns + int(at_s * ns_a_model_s))
            else:
                reply.tokens(epoch_ns + int(at_s * ns_a_model_s), count)
        self._rearm()

    def _rearm(self) -> None:
        due_s = self._engine.next_s()
        self._pacemaker.arm(None if due_s is None else max(self._to_ns(due_s), self._not_before_ns))

    def _flush_log(self) -> None:
        if self._log is not None:
            self._log.flush()
        self._flusher = asyncio.get_running_loop().call_later(_FLUSH_S, self._flush_log)

    # --- requests ---

    def _make_routes(self) -> dict[str, tuple[str, Callable[[ServerConnection, Incoming], None]]]:
        routes: dict[str, tuple[str, Callable[[ServerConnection, Incoming], None]]] = {
            "/v1/models": ("GET", self._models),
            "/v1/chat/completions": ("POST", self._generate),
            "/v1/completions": ("POST", self._generate),
            "/health": ("GET", self._healthy),
            "/health_generate": ("GET", self._healthy),
            "/ping": ("GET", self._healthy),
            "/metrics": ("GET", self._metrics),
            self.style.reset_path: ("POST", self._reset_cache),
        }
        return routes | dict.fromkeys(self.style.info_paths, ("GET", self._info))

    def handle(self, connection: ServerConnection, incoming: Incoming) -> None:
        """Answers one request, now or token by token."""
        try:
            fault = self._requested_fault(incoming)
            if fault is not None and fault.kind == "status":
                raise _injected(fault)
            self._authorize(incoming)
            method, handler = self._routes.get(incoming.path, ("", None))
            if handler is None:
                connection.respond(404, JSON, b'{"detail":"Not Found"}')
            elif incoming.method != method:
                connection.respond(405, JSON, b'{"detail":"Method Not Allowed"}', [b"Allow: " + method.encode()])
            else:
                handler(connection, incoming)
        except api.ApiError as error:
            extra = [b"X-Request-Id: " + _request_id(incoming, "none").encode()]
            if error.retry_after_s is not None:
                extra.append(b"Retry-After: %d" % error.retry_after_s)
            connection.respond(error.status, JSON, error.payload(), extra)

    def _requested_fault(self, incoming: Incoming) -> faults.Fault | None:
        text = incoming.headers.get("x-sim-fault")
        if text is None:
            return None
        try:
            return faults.parse(text)
        except ValueError as error:
            raise api.ApiError(400, f"X-Sim-Fault: {error}") from None

    def _authorize(self, incoming: Incoming) -> None:
        key = self.config.api_key
        if not key or incoming.path in OPEN_PATHS or not incoming.path.startswith(self.style.auth_prefix):
            return
        if incoming.headers.get("authorization") != f"Bearer {key}":
            raise api.ApiError(401, "Unauthorized: the API key is missing or wrong")

    def _generate(self, connection: ServerConnection, incoming: Incoming) -> None:
        config = self.config
        fault = self._requested_fault(incoming) or self._chaos.draw()
        if fault is not None and fault.kind == "status":
            raise _injected(fault)
        chat = incoming.path.endswith("/chat/completions")
        request = api.parse(
            b"".join(incoming.body), chat, config.model, config.context_length, config.seed, config.adapters.names
        )
        api.refuse_large(request, config.largest_constraint)
        answer = plan(request.ask, self._prose, config.answers)
        self._requests += 1
        request_id = _request_id(incoming, f"sim-{self._requests:08d}")
        truth = Truth(request_id, incoming.first_ns, incoming.last_ns, prompt_tokens=request.prompt_tokens)
        now_s = self._to_model_s(incoming.last_ns)
        job = Job(
            request_id,
            request.prompt + answer.data,
            request.prompt_tokens,
            len(answer.pieces),
            compile_s=max(
                self._compiler.wait_s(request.ask.constraint, now_s), self._adapters.wait_s(request.adapter, now_s)
            ),
        )
        parts = (self, connection, request, answer, job, truth)
        if fault is None:
            reply = StreamReply(*parts) if request.stream else PlainReply(*parts)
        else:
            reply = FaultyStream(*parts, fault=fault) if request.stream else FaultyPlain(*parts, fault=fault)
        job.reply = reply
        connection.reply = reply
        self._live.add(reply)
        self._engine.submit(job, now_s)
        reply.begin()
        self._rearm()

    def ended(self, reply: Reply, outcome: str) -> None:
        """See replies.Owner."""
        job = reply.job
        if outcome == "ok":
            self._latencies.e2e.observe(reply.last_model_s - job.arrival_s)
        self._leave(reply, outcome)
        reply.connection.answered()

    def dropped(self, reply: Reply) -> None:
        """The client went away in the middle of the answer: its place and memory are free."""
        self._leave(reply, "disconnected")

    def _leave(self, reply: Reply, outcome: str) -> None:
        if reply not in self._live:
            return
        self._engine.cancel(reply.job)
        self._record(reply, outcome)
        reply.job.reply = None  # no cycle is left for the garbage collector, which would stop the clock
        self._rearm()

    def _record(self, reply: Reply, outcome: str) -> None:
        self._live.discard(reply)
        truth = reply.truth
        truth.outcome = outcome
        truth.cached_tokens = reply.job.cached_tokens
        truth.completion_tokens = len(reply.answer.pieces) if outcome == "ok" else truth.tokens
        if self._log is not None:
            self._log.add(truth)

    # --- the rest of the API ---

    def _models(self, connection: ServerConnection, incoming: Incoming) -> None:
        model = {
            "id": self.config.model,
            "object": "model",
            "created": int(time.time()),
            "owned_by": "tokenswarm-simulator",
            "root": self.config.model,
            "parent": None,
            "max_model_len": self.config.context_length,
        }
        adapters = [model | {"id": name, "parent": self.config.model} for name in self.config.adapters.names]
        connection.respond(200, JSON, msgspec.json.encode({"object": "list", "data": [model, *adapters]}))

    def _healthy(self, connection: ServerConnection, incoming: Incoming) -> None:
        connection.respond(200, _TEXT, b"")

    def _info(self, connection: ServerConnection, incoming: Incoming) -> None:
        connection.respond(200, JSON, msgspec.json.encode(self.settings()))

    def settings(self) -> dict[str, object]:
        """The effective configuration, under the names of SGLang's /server_info where it has one."""
        config, limits = self.config, self.config.limits
        return {
            "version": self.style.version,
            "simulated": True,
            "simulator": "tokenswarm",
            "style": self.style.name,
            "profile": config.profile.name,
            "profile_title": config.profile.title,
            "model_path": config.model,
            "served_model_name": config.model,
            "context_length": config.context_length,
            "max_total_num_tokens": limits.kv_tokens,
            "page_size": limits.block_size,
            "disable_radix_cache": not limits.prefix_cache,
            "max_running_requests": limits.max_num_seqs,
            "chunked_prefill_size": limits.max_batched_tokens if limits.chunked_prefill else -1,
            "speculative_num_draft_tokens": limits.speculation.tokens if limits.speculation else None,
            "stream_interval": limits.stream_interval,
            "reasoning_parser": "none" if config.answers.think_tags else "simulated",
            "random_seed": config.seed,
            "time_scale": config.time_scale,
        }

    def _metrics(self, connection: ServerConnection, incoming: Incoming) -> None:
        engine, limits = self._engine, self.config.limits
        counters = engine.counters
        values = {
            "running": engine.running(),
            "waiting": engine.waiting(),
            "kv_usage": engine.kv_usage(),
            "prefix_query_tokens": counters.prefix_query_tokens,
            "prefix_hit_tokens": counters.prefix_hit_tokens,
            "preemptions": counters.preemptions,
            "prompt_tokens": counters.prompt_tokens,
            "generation_tokens": counters.generation_tokens,
            "kv_tokens": limits.kv_tokens,
            "block_size": limits.block_size,
            "context_length": self.config.context_length,
        }
        if limits.speculation is not None:
            values |= {
                "drafts": counters.drafts,
                "draft_tokens": counters.draft_tokens,
                "accepted_tokens": counters.accepted_tokens,
                "accept_length": 1 + counters.accepted_tokens / max(1, counters.drafts),
                "accept_rate": counters.accepted_tokens / max(1, counters.draft_tokens),
            }
        config = {
            "block_size": str(limits.block_size),
            "num_gpu_blocks": str(limits.kv_tokens // limits.block_size),
            "enable_prefix_caching": str(limits.prefix_cache),
            "cache_dtype": "auto",
        }
        page = prometheus_text.render(
            self.style, self.config.model, values, self._latencies, config, counters.accepted_at
        )
        connection.respond(200, b"text/plain; version=0.0.4; charset=utf-8", page.encode())

    def _reset_cache(self, connection: ServerConnection, incoming: Incoming, deadline_ns: int | None = None) -> None:
        """Empties the prefix cache; `?timeout=S` waits so long for the engine to be idle."""
        if connection.closed:
            return
        done = self._engine.flush()
        if deadline_ns is None:
            wait_s = _seconds(parse_qs(incoming.query).get("timeout", ["0"])[0])
            deadline_ns = time.monotonic_ns() + int(wait_s * 1e9)
        if not done and time.monotonic_ns() < deadline_ns:
            loop = asyncio.get_running_loop()
            loop.call_later(_BUSY_POLL_S, self._reset_cache, connection, incoming, deadline_ns)
            return
        status = 200 if done else self.style.reset_busy_status
        connection.respond(status, JSON, msgspec.json.encode({"success": done}))


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return min(max(value, 0.0), 3600.0) if value == value else 0.0


def _request_id(incoming: Incoming, default: str) -> str:
    """The client's own request id, reduced to characters that need no care in headers, JSON or CSV."""
    return re.sub(r"[^A-Za-z0-9._-]", "", incoming.headers.get("x-request-id", ""))[:128] or default


def _injected(fault: faults.Fault) -> api.ApiError:
    status = int(fault.value("code"))
    error = api.ApiError(status, f"injected fault: status {status}")
    if status in (429, 503):
        error.retry_after_s = int(fault.value("retry_after_s"))
    return error
