"""Empties the prefix cache before a load and reports whether that worked."""

from __future__ import annotations

import time

from tokenswarm.base.errors import UserError
from tokenswarm.contract.manifest import CacheResetRecord
from tokenswarm.engines.engine_protocol import Engine

WAIT_S = 30.0
"""How long to wait for an engine that is busy with other requests before starting the load without a reset."""


def reset_cache(engine: Engine, wanted: bool, wait_s: float = WAIT_S) -> CacheResetRecord:
    """Empty the engine's prefix cache.

    `detail` says why it was not emptied; empty on success. Never raises: prompts carry a salt, so a run without a reset
    is still valid.
    """
    if not wanted:
        return CacheResetRecord(False, "it was not asked for (load.reset_cache = false).", 0.0)
    if engine.description is None:
        return CacheResetRecord(False, "the engine is not one that tokenswarm knows.", 0.0)
    began, notes = time.monotonic(), len(engine.notes)
    detail = f"{engine.title} has no way to do it that tokenswarm knows."
    try:
        done = engine.reset_prefix_cache(wait_s)
    except UserError as error:
        done, detail = False, str(error)
    reasons = engine.notes[notes:]
    del engine.notes[notes:]  # it is said once, by whoever asked
    return CacheResetRecord(done, "" if done else " ".join(reasons) or detail, round(time.monotonic() - began, 3))


def reset_note(outcome: CacheResetRecord, wanted: bool, salt: str, fresh: bool) -> str | None:
    """A sentence for the user if the cache should have been emptied and was not; `fresh`: this run has a new salt."""
    if outcome.done or not wanted:
        return None
    note = f"The prefix cache was not emptied: {outcome.detail}"
    if fresh:
        return f"{note} Prompts are new in this run, so that they find nothing of an earlier one there."
    kind = "empty" if not salt else "fixed"
    return f"{note} With the {kind} prompts.salt of this run, prompts may find there what an earlier run left."
