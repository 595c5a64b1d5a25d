"""What the progress display shows, in a terminal and without one."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from tokenswarm.run.progress import RunProgress, working

FIGURES = {
    "requests": 1_234_600,
    "errors": 1_234,
    "measured_requests": 1_234_567,
    "measured_errors": 1_234,
    "ttft_p95_ms": 12_345.6,
    "output_tok_s": 16_200.4,
    "last_s": 10.0,
    "in_flight": 512,
}
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def _shown(width: int, figures: dict[str, object] | None) -> list[str]:
    """The lines of one picture, as a terminal of that width would show them."""
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None, height=25)
    with RunProgress(console, 5.0, 30.0) as progress:
        progress.phase("measure")
        if figures is not None:
            progress.figures(figures)
        console.file.truncate(console.file.seek(0))
        progress.tick()
        text = console.file.getvalue()
    return [line.rstrip() for line in re.split(r"[\r\n]+", _CONTROL.sub("", text)) if line.strip()]


@pytest.mark.parametrize("width", [80, 200])
def test_large_figures_fit_on_two_lines(width: int) -> None:
    lines = _shown(width, FIGURES)
    assert len(lines) == 2
    assert max(map(len, lines)) <= width
    assert "measuring" in lines[0] and "/30 s" in lines[0]
    for part in ("1,234,567", "measured", "TTFT p95 12,346 ms", "last 10 s 16,200 tok/s", "1,234 errors"):
        assert part in lines[1]


def test_wide_terminal_also_shows_what_is_in_flight() -> None:
    assert "512 in flight" in _shown(200, FIGURES)[1]
    assert "in flight" not in _shown(80, FIGURES)[1]


def test_each_figure_says_which_time_it_is_about() -> None:
    assert _shown(200, FIGURES)[1] == (
        "1,234,567 requests measured, TTFT p95 12,346 ms, 1,234 errors; last 10 s 16,200 tok/s; now 512 in flight"
    )
    earlier = _shown(200, {**FIGURES, "measured_requests": 1, "measured_errors": 0, "errors": 3})[1]
    assert earlier.startswith("1 request measured, TTFT p95 12,346 ms, 0 errors (and 3 unmeasured); ")


def test_a_warm_up_is_told_of_since_the_start_and_without_a_percentile() -> None:
    console = Console(file=io.StringIO(), width=200)
    with RunProgress(console, 5.0, 30.0, plain_interval_s=1e-9) as progress:
        progress.phase("warmup")
        progress.figures({**FIGURES, "measured_requests": 0, "measured_errors": 0})
    assert "1,234,600 requests since start, 1,234 errors; last 10 s 16,200 tok/s; now 512" in console.file.getvalue()


def test_figure_that_is_not_there_yet_is_a_dash_and_no_zero() -> None:
    assert "TTFT p95 -" in _shown(80, {**FIGURES, "ttft_p95_ms": None})[1]


def test_before_any_figures_it_says_what_it_waits_for() -> None:
    assert _shown(80, None)[1] == "waiting for the load generator"


def test_without_a_terminal_phases_are_plain_lines() -> None:
    console = Console(file=io.StringIO(), width=80)
    with RunProgress(console, 5.0, 30.0) as progress:
        for name in ("warmup", "measure"):
            progress.phase(name)
            progress.figures(FIGURES)
        progress.stopping()
        progress.tick()
        progress.tick()
    with working(console, "making the dashboard") as say:
        say("another text")
    assert console.file.getvalue() == "warming up ...\nmeasuring ...\nstopping ...\nmaking the dashboard ...\n"


def test_spinner_never_needs_a_second_line() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=60, color_system=None)
    with working(console, "starting vLLM") as say:
        say("starting vLLM ... 12 s", "(EngineCore) [loading] " + "x" * 300)
    lines = re.split(r"[\r\n]+", _CONTROL.sub("", console.file.getvalue()))
    assert any("(EngineCore) [loading] xxx" in line for line in lines), "a log line is text, not markup"
    assert max(map(len, lines)) <= 60


def test_without_a_terminal_a_long_start_says_now_and_then_what_the_engine_does() -> None:
    console, now = Console(file=io.StringIO(), width=80), [0.0]
    with working(console, "starting vLLM", clock=lambda: now[0]) as say:
        for second in range(65):
            now[0] = float(second)
            say(f"starting vLLM ... {second} s", "[bold]loading weights[/bold] " + "x" * 200)
    lines = console.file.getvalue().splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "starting vLLM ...",
        "starting vLLM ... 30 s",
        "starting vLLM ... 60 s",
    ]
    assert "[bold]loading weights" in lines[1] and max(map(len, lines)) <= 80
