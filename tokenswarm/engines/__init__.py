"""Inference engines: described by data, started, recognised, watched and stopped by the same code.

`load_description(name)` reads an engine's description; `start_engine(StartRequest(...), runtime)` starts it and waits
until it generates tokens; `adopt(base_url, api_key)` connects to a running one. Both return an `Engine`;
`Telemetry(engine, folder)` records its metrics.
"""

from __future__ import annotations

from tokenswarm.engines.adopt import adopt, is_told_apart, probe
from tokenswarm.engines.engine_protocol import Engine
from tokenswarm.engines.local.local_engine import LocalEngine, start_local
from tokenswarm.engines.spec.engine_spec import EngineSpec, known_engines, load_description
from tokenswarm.engines.spec.flags import Placement, command, diff, resolve
from tokenswarm.engines.start import default_runtime, start_engine
from tokenswarm.engines.start_request import StartRequest
from tokenswarm.engines.watch.gpu import GpuSampler
from tokenswarm.engines.watch.telemetry import Telemetry

__all__ = [
    "Engine",
    "EngineSpec",
    "GpuSampler",
    "LocalEngine",
    "Placement",
    "StartRequest",
    "Telemetry",
    "adopt",
    "command",
    "default_runtime",
    "diff",
    "is_told_apart",
    "known_engines",
    "load_description",
    "probe",
    "resolve",
    "start_engine",
    "start_local",
]
