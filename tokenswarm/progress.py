"""What a person sees while a run goes on: one live line in a terminal, one line every ten seconds elsewhere."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_PLAIN_INTERVAL_S = 10.0
_PHASE_NAMES = {"start": "starting", "warmup": "warming up", "measure": "measuring", "drain": "draining"}


class RunProgress:
    """Shows phase, elapsed time, requests, TTFT p95, output tokens/s and errors. Use as a context manager."""

    def __init__(self, console: Console, warmup_s: float, duration_s: float) -> None:
        self._console = console
        self._lengths = {"warmup": warmup_s, "measure": duration_s}
        self._phase, self._phase_began = "start", time.monotonic()
        self._figures: dict[str, Any] = {}
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._last_plain = 0.0

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
            self._console.print(f"{_PHASE_NAMES[name]} ...", highlight=False)
        self.tick()

    def figures(self, figures: dict[str, Any]) -> None:
        """New live figures."""
        self._figures = figures
        now = time.monotonic()
        if self._live is None and now - self._last_plain >= _PLAIN_INTERVAL_S:
            self._last_plain = now
            self._console.print(f"  {self._elapsed()}  {self._sentence()}", highlight=False)

    def tick(self) -> None:
        """Redraw."""
        if self._live is not None:
            self._live.update(self._picture(), refresh=True)

    def _elapsed(self) -> str:
        elapsed = time.monotonic() - self._phase_began
        length = self._lengths.get(self._phase)
        return f"{elapsed:.0f}/{length:g} s" if length else f"{elapsed:.0f} s"

    def _sentence(self) -> str:
        figures = self._figures
        if not figures:
            return "waiting for the first request"
        ttft = figures.get("ttft_p95_ms")
        shown = f"{ttft:,.0f} ms" if ttft is not None else "-"
        return (f"{figures['requests']:,} requests   TTFT p95 {shown}   {figures['output_tok_s']:,.0f} output tok/s   "
                f"{figures['in_flight']} in flight   {figures['errors']:,} errors")

    def _picture(self) -> Table:
        grid = Table.grid(padding=(0, 1))
        length = self._lengths.get(self._phase)
        elapsed = time.monotonic() - self._phase_began
        bar = ProgressBar(total=length or 1.0, completed=min(elapsed, length) if length else 0.0, width=20,
                          pulse=not length)
        name = Text(f"{_PHASE_NAMES[self._phase]:<10}", style="bold")
        grid.add_row(name, bar, f"{self._elapsed():>10}")
        errors = self._figures.get("errors", 0)
        outer = Table.grid()
        outer.add_row(grid)
        outer.add_row(Text("  " + self._sentence(), style="red" if errors else ""))
        return outer
