"""The result of one request: times, tokens, text, and how it ended. Plain values, no behavior."""

from __future__ import annotations

from dataclasses import dataclass, field

from tokenswarm.base.tool_call import ToolCall


@dataclass(slots=True)
class Usage:
    """Token counts as the engine reports them; None where it does not."""

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(slots=True)
class Answer:
    """The outcome of one request. Durations are in ms from the moment of sending; None is *not measured*.

    `status` is one of `schema.STATUSES`, `error` one of `schema.ERROR_KINDS` (or None).
    """

    status: str = "ok"
    error: str | None = None
    error_detail: str = ""
    http_status: int | None = None
    finish_reason: str | None = None
    model: str = ""
    """The model that the answer names; empty where it names none."""
    text: str = ""
    """The answer without its reasoning. For tool calls: their names and arguments."""
    calls: tuple[ToolCall, ...] = ()
    """Tool calls, as far as they were received."""
    reasoning: str = ""
    sent_at: float = 0.0
    """Unix seconds."""
    connect_ms: float | None = None
    headers_ms: float | None = None
    ttft_ms: float | None = None
    ttft_uncertainty_ms: float | None = None
    ttfo_ms: float | None = None
    last_token_ms: float | None = None
    e2e_ms: float | None = None
    token_gaps_ms: list[float] = field(default_factory=list)
    """Gaps between successive events with text, in the order they came."""
    chunks: int | None = None
    """Events with text; None for an answer that was not streamed."""
    reasoning_chunks: int = 0
    """Events with reasoning text, by the engine's channel or the model's own tags."""
    usage: Usage = field(default_factory=Usage)
    response_bytes: int = 0
    read_lag_max_ms: float | None = None
    """Longest time that received bytes waited to be read; None if the kernel does not timestamp arrivals."""
    retry_after_s: float | None = None
    location: str | None = None
    """Target of a redirect. Redirects are not followed."""
    simulated: bool = False
    """The answer is marked as a simulator's."""
    oddities: tuple[str, ...] = ()
    """Harmless deviations from the API, such as `usage.prompt_tokens is a text`. Never contains text from the server.
    """

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def completion_tokens(self) -> int | None:
        """The engine's count. If it gave none (or zero for an answer with text): the number of events with text."""
        return self.usage.completion_tokens if self._counted() else self.chunks

    def _counted(self) -> bool:
        """Whether the engine counted the tokens. Zero for an answer with text does not count as a count."""
        return self.usage.completion_tokens is not None and (self.usage.completion_tokens > 0 or not self.chunks)

    @property
    def token_source(self) -> str | None:
        """`usage` or `chunks`: where completion_tokens comes from."""
        if self._counted():
            return "usage"
        return "chunks" if self.chunks is not None else None

    @property
    def reasoning_tokens(self) -> int | None:
        """The engine's count. If it gives none: completion_tokens times the share of events with reasoning."""
        if self.usage.reasoning_tokens is not None:
            return self.usage.reasoning_tokens
        if not self.reasoning_chunks or not self.chunks or self.completion_tokens is None:
            return None
        return round(self.completion_tokens * self.reasoning_chunks / self.chunks)

    @property
    def reasoning_source(self) -> str | None:
        """`usage` or `chunks`: where reasoning_tokens comes from."""
        if self.usage.reasoning_tokens is not None:
            return "usage"
        return "chunks" if self.reasoning_tokens is not None else None

    def fail(self, kind: str, detail: str = "") -> None:
        """Mark as failed; the first cause is kept."""
        if self.status != "failed":
            self.status, self.error, self.error_detail = "failed", kind, detail
