"""Inference engines: described by data, started, recognised, watched and stopped by the same code.

`load_description(name)` reads what is known about an engine; `start_local(description, ...)` starts it and waits until
it gives tokens; `adopt(base_url, api_key)` takes one that runs already; both give an `Engine`, and
`Telemetry(engine, folder)` writes down what it says about itself.
"""

from __future__ import annotations

from tokenswarm.engines.adopt import adopt, probe
from tokenswarm.engines.description import Description, known_engines, load_description
from tokenswarm.engines.engine import Engine
from tokenswarm.engines.flags import command, diff, resolve
from tokenswarm.engines.gpu import GpuSampler
from tokenswarm.engines.local import LocalEngine, start_local
from tokenswarm.engines.telemetry import Telemetry

__all__ = [
    "Description",
    "Engine",
    "GpuSampler",
    "LocalEngine",
    "Telemetry",
    "adopt",
    "command",
    "diff",
    "known_engines",
    "load_description",
    "probe",
    "resolve",
    "start_local",
]
