"""A machine on which nothing has to be looked up, and an engine of somebody else."""

from __future__ import annotations

from tokenswarm.engines import Engine
from tokenswarm.run.run_plan import Machine

QUIET_MACHINE = Machine(runtime_for=lambda *_: "local")


def external_engine() -> Engine:
    """An endpoint of an unknown engine, which nobody asks anything."""
    return Engine("http://127.0.0.1:1", None)
