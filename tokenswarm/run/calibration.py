"""Measures and stores how many tokens/s one worker on this machine can time to within 2 ms."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import tokenswarm
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.files import read_note, replace_whole
from tokenswarm.generator.new_run import host_facts, utc_now
from tokenswarm.run.truth_run import KnownLoad, TruthRun, truth_run
from tokenswarm.scenario.load_settings import Load

ERROR_LIMIT_MS = 2.0
CPU_LIMIT = 0.9
STREAM_RATE = 100.0
"""Tokens/s per stream: about what an H100 with an 8B model gives one user."""
ANSWER_TOKENS = 128
REQUEST_TOKENS = 20
"""The overhead of a request, in tokens (bench/client_scale.py: short answers against long ones)."""
LADDER = (20, 40, 80, 160, 240, 320, 480)
"""Streams of each step."""
NOISY_BELOW = 0.6
"""Below this share of a core, the worker's own work does not explain a timing error: something else took the CPU."""
_SPEED_KEPT = 0.9
_SHARE_USED = 0.7
"""Workers are planned for this share of their limit."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The heaviest load at which one worker was within the limits."""

    tokens_s: float
    streams: int
    limited_by: str
    """Which limit the next step broke, as a sentence."""
    cpu: str | None
    version: str
    at: str

    def workers_for(self, streams: int) -> int:
        """Workers needed for so many concurrent streams at STREAM_RATE."""
        return max(1, math.ceil(streams / (self.streams * _SHARE_USED)))


def path() -> Path:
    """Where the calibration of this machine is stored."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "tokenswarm" / "calibration.json"


def what_breaks(streams: int, step: TruthRun) -> str | None:
    """Which limit a step broke, or None."""
    tokens_s_wanted = streams * STREAM_RATE * ANSWER_TOKENS / (ANSWER_TOKENS - 1 + STREAM_RATE * 0.1)
    if step.lost:
        return f"{step.lost} requests failed"
    if step.ttft_error_p99_ms > ERROR_LIMIT_MS:
        return f"TTFT error p99 {step.ttft_error_p99_ms:.2f} ms"
    if step.cpu_share > CPU_LIMIT:
        return f"{step.cpu_share:.0%} of a core"
    if step.tokens_s < _SPEED_KEPT * tokens_s_wanted:
        return f"only {step.tokens_s:,.0f} of {tokens_s_wanted:,.0f} tokens/s arrived"
    return None


def ladder_up_to(streams: int | None) -> tuple[int, ...]:
    """The steps of at most so many streams, all of them for None. Raises UserError (USAGE) where none is left."""
    steps = tuple(step for step in LADDER if streams is None or step <= streams)
    if not steps:
        raise UserError(Exit.USAGE, f"the first step has {LADDER[0]} streams; {streams} are fewer")
    return steps


def is_noise(step: TruthRun) -> bool:
    """Whether the machine, not the worker's own work, broke the limit."""
    return not step.lost and step.ttft_error_p99_ms > ERROR_LIMIT_MS and step.cpu_share < NOISY_BELOW


def calibrate(
    on_step: Callable[[int, TruthRun, str | None], None],
    seconds: float = 8.0,
    ladder: Iterable[int] = LADDER,
    run: Callable[[KnownLoad], TruthRun] = truth_run,
) -> Calibration:
    """Climb the ladder until a step breaks a limit twice; store and return what was held before.

    `on_step(streams, figures, what it broke)` is called after each step. Raises UserError
    (INVALID), and stores nothing, if not even the first step holds, or the machine is noisy.
    """
    best: tuple[int, TruthRun] | None = None
    limit = "the end of the ladder: the true limit is higher"
    for streams in ladder:
        broken = None
        for _ in range(2):  # a single disturbance from outside is not the machine's limit
            figures = run(KnownLoad(streams, STREAM_RATE, ANSWER_TOKENS, seconds))
            broken = what_breaks(streams, figures)
            on_step(streams, figures, broken)
            if broken is None:
                break
        if broken is not None:
            if is_noise(figures):
                raise UserError(
                    Exit.INVALID,
                    f"this machine is noisy: with {streams} streams the worker used only "
                    f"{figures.cpu_share:.0%} of a core, and still: {broken}. Something else takes its "
                    "CPU, so how much it can time was not found, and nothing was stored. Calibrate when "
                    "it is quiet",
                )
            limit = broken
            break
        best = (streams, figures)
    if best is None:
        raise UserError(
            Exit.INVALID,
            f"this machine cannot time even {min(ladder)} streams to within "
            f"{ERROR_LIMIT_MS:g} ms ({limit}): is something else running on it?",
        )
    result = Calibration(best[1].tokens_s, best[0], limit, host_facts().cpu, tokenswarm.__version__, utc_now())
    _store(result)
    return result


def _store(result: Calibration) -> None:
    try:
        path().parent.mkdir(parents=True, exist_ok=True)
        replace_whole(path(), json.dumps(asdict(result), indent=2) + "\n")
    except OSError as error:
        raise UserError(Exit.RESULTS, f"{path()} cannot be written: {error.strerror}") from None


def stored() -> Calibration | None:
    """The calibration of this machine; None if there is none, or if it was made with another version or processor."""
    result = read_note(path(), Calibration)
    if result is None or result.streams < 1 or result.tokens_s <= 0:
        return None
    same = result.version == tokenswarm.__version__ and result.cpu == host_facts().cpu
    return result if same else None


def advice(load: Load, answer_tokens: int, workers: int) -> str | None:
    """Advice about a load on `workers` workers with answers of at most so many tokens; None if all is well or this
    machine was never calibrated."""
    calibration = stored()
    if calibration is None:
        return None
    if load.rate is None:
        streams = max(load.users, load.users_end or 0, *(load.users_steps or ()))
        wanted, what = calibration.workers_for(streams), f"up to {streams} streams at {STREAM_RATE:g} tokens/s each"
    else:
        rate = max(load.rate, load.rate_end or 0.0, *(load.rate_steps or ()))
        # The streams of an open loop depend on the engine's speed; what has to be timed follows from the arrival
        # rate.
        wanted = max(1, math.ceil(rate * (answer_tokens + REQUEST_TOKENS) / (calibration.tokens_s * _SHARE_USED)))
        what = f"{rate:g} requests/s of up to {answer_tokens} tokens each"
    cores = host_facts().cores or wanted
    if workers >= wanted:
        return None
    advised = (
        f"WORKERS={wanted} is advised"
        if wanted <= cores
        else f"that takes {wanted} workers and this machine has {cores} cores: "
        "use more machines too (docs/distributed.md)"
    )
    return (
        f"{what} are more than {workers} worker(s) of this machine can time (calibrated: {calibration.streams} "
        f"streams, {calibration.tokens_s:,.0f} tokens/s each); {advised}"
    )
