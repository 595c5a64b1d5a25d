"""The progress display of a run: two live lines in a terminal, or occasional lines without one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_PLAIN_INTERVAL_S = 10.0
_WORKING_INTERVAL_S = 30.0
"""Seconds between lines while waiting: loading a large model takes minutes, and a CI job's log must not stall."""
_HOURS_FROM_S = 3600.0
_BAR_COLUMNS = 20
_PHASE_NAMES = {"start": "starting", "warmup": "warming up", "measure": "measuring", "drain": "draining"}


class RunProgress:
    """Shows phase, elapsed time, requests, TTFT p95, output tokens/s and errors. Use as a context manager."""

    def __init__(
        self,
        console: Console,
        warmup_s: float | None,
        duration_s: float,
        warmup_max_s: float | None = None,
        plain_interval_s: float | None = None,
    ) -> None:
        """`warmup_s` None: the warm-up lasts until the load is steady, at most `warmup_max_s`. `plain_interval_s`:
        seconds between lines without a terminal (default 10); for long runs each line begins with the time."""
        self._plain_interval_s = plain_interval_s or _PLAIN_INTERVAL_S
        self._stamped = plain_interval_s is not None
        self._until_steady = f"until the load is steady, at most {warmup_max_s:g} s" if warmup_max_s is not None else ""
        self._console = console
        self._lengths = {"warmup": warmup_s, "measure": duration_s}
        self._phase, self._phase_began = "start", time.monotonic()
        self._figures: Mapping[str, Any] = {}
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._last_plain = time.monotonic()
        self._said = False
        """Whether a line of figures was printed; the first comes early, whatever the interval."""
        self._stopping = self._told = False

    def __enter__(self) -> RunProgress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def phase(self, name: str) -> None:
        """The run has entered a phase."""
        self._phase, self._phase_began = name, time.monotonic()
        if self._live is None:
            until = f" {self._until_steady}" if name == "warmup" and self._until_steady else ""
            self._print(f"{_PHASE_NAMES[name]}{until} ...")
        self.tick()

    def figures(self, figures: Mapping[str, object]) -> None:
        """New live figures: those of `LiveStats.figures`, and `in_flight`."""
        self._figures = figures
        now = time.monotonic()
        pause_s = self._plain_interval_s if self._said else min(self._plain_interval_s, _PLAIN_INTERVAL_S)
        if self._live is None and now - self._last_plain >= pause_s:
            self._last_plain, self._said = now, True
            line = f"{_PHASE_NAMES[self._phase]} {self._elapsed()}" if self._stamped else f"  {self._elapsed()}"
            self._print(f"{line}  {self._sentence()}")

    def stopping(self) -> None:
        """A stop was requested; shown at the next tick. Safe in a signal handler."""
        self._stopping = True

    def tick(self) -> None:
        """Redraw."""
        if self._live is not None:
            self._live.update(self._picture(), refresh=True)
        elif self._stopping and not self._told:
            self._told = True
            self._print("stopping ...")

    def say(self, sentence: str) -> None:
        """Print an event once, above the live lines."""
        self._print(sentence)

    def _print(self, line: str) -> None:
        stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}  " if self._stamped else ""
        self._console.print(f"{stamp}{line}", highlight=False, soft_wrap=True)

    def _elapsed(self) -> str:
        elapsed = time.monotonic() - self._phase_began
        length = self._lengths.get(self._phase)
        # A phase may exceed its plan: the warm-up lasts until all users have started.
        planned = length if length and elapsed <= length else None
        if max(elapsed, planned or 0.0) >= _HOURS_FROM_S:
            return f"{_clock(elapsed)}/{_clock(planned)}" if planned else _clock(elapsed)
        return f"{elapsed:.0f}/{planned:g} s" if planned else f"{elapsed:.0f} s"

    def _sentence(self, columns: int | None = None) -> str:
        """The figures, each with its period. If they do not fit into the columns, the least important are left out."""
        figures = self._figures
        if not figures:
            return "waiting for the load generator"
        ttft = figures.get("ttft_p95_ms")
        before = self._phase in ("start", "warmup")
        requests, failed = ("requests", "errors") if before else ("measured_requests", "measured_errors")
        earlier = 0 if before else figures["errors"] - figures[failed]
        errors = _plural(figures[failed], "error") + (f" (and {earlier:,} unmeasured)" if earlier > 0 else "")
        unknown = "TTFT p95 withheld (timing)" if figures.get("ttft_why") else "TTFT p95 -"
        latency = [] if before else [f"TTFT p95 {ttft:,.0f} ms" if ttft is not None else unknown]
        lately = f"; last {figures['last_s']:g} s {figures['output_tok_s']:,.0f} tok/s"
        scope = "since start" if before else "measured"
        long, short = (
            ", ".join([f"{count} {scope}", *latency, errors]) + lately
            for count in (_plural(figures[requests], "request"), f"{figures[requests]:,}")
        )
        lines = (f"{long}; now {figures['in_flight']:,} in flight", long, short)
        return next((line for line in lines if columns is None or len(line) <= columns), short)

    def _picture(self) -> Table:
        grid = Table.grid(padding=(0, 1))
        length = self._lengths.get(self._phase)
        elapsed = time.monotonic() - self._phase_began
        bar = ProgressBar(
            total=length or 1.0, completed=min(elapsed, length) if length else 0.0, width=_BAR_COLUMNS, pulse=not length
        )
        name = "stopping" if self._stopping else _PHASE_NAMES[self._phase]
        hint = "Ctrl-C again quits at once" if self._stopping else f"{self._elapsed():>10}"
        if self._phase == "warmup" and not self._stopping:
            hint = f"{hint.rstrip()}  {self._until_steady}".rstrip()
        grid.add_row(Text(f"{name:<10}", style="bold"), bar, hint)
        errors = self._figures.get("errors", 0)
        outer = Table.grid()
        outer.add_row(grid)
        figures = self._sentence(self._console.width)
        outer.add_row(Text(figures, style="red" if errors else "", no_wrap=True, overflow="ellipsis"))
        return outer


@contextlib.contextmanager
def working(console: Console, what: str, clock: Callable[[], float] = time.monotonic) -> Iterator[Callable[..., None]]:
    """A spinner during a step; without a terminal, a line now and every half minute. Yields `say(text, detail="")`,
    which changes the text; a detail too long for the line is cut.
    """
    if not console.is_terminal:
        console.print(f"{what} ...", highlight=False)
        last_line_at = clock()

        def tell(text: str, detail: str = "") -> None:
            nonlocal last_line_at
            if clock() - last_line_at >= _WORKING_INTERVAL_S:
                last_line_at = clock()
                line = Text(f"{text}  {detail}" if detail else text)
                console.print(line, no_wrap=True, overflow="ellipsis", highlight=False)

        yield tell
        return
    with console.status(Text(what)) as status:

        def say(text: str, detail: str = "") -> None:
            line = Text(f"{text}  {detail}" if detail else text, no_wrap=True)
            line.truncate(max(20, console.width - 3), overflow="ellipsis")
            status.update(line)

        yield say


def _clock(seconds: float) -> str:
    """7384 as 2:03:04."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
