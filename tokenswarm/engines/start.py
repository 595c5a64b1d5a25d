"""Start an engine in one of the runtimes."""

from __future__ import annotations

from tokenswarm.base.errors import UserError
from tokenswarm.engines.docker.host import connect, has_gpu
from tokenswarm.engines.docker.launch import start_docker
from tokenswarm.engines.engine_protocol import Engine
from tokenswarm.engines.kept import DOCKER, LOCAL
from tokenswarm.engines.local.local_engine import start_local
from tokenswarm.engines.spec.engine_spec import EngineSpec
from tokenswarm.engines.start_request import Progress, StartRequest

_STARTERS = {LOCAL: start_local, DOCKER: start_docker}


def start_engine(request: StartRequest, runtime: str, on_progress: Progress | None = None) -> Engine:
    """Start an engine and wait until it is ready. `runtime`: local | docker.

    Cleans up after any failure. Raises UserError as the runtime's own start function does.
    """
    return _STARTERS[runtime](request, on_progress)


def default_runtime(description: EngineSpec, device: str | None = None) -> str:
    """`docker` if the engine needs a GPU and a reachable Docker daemon can provide one; else `local`."""
    if description.simulated or description.image is None or description.form(device)[0] == "cpu":
        return LOCAL
    try:
        return DOCKER if has_gpu(connect()) else LOCAL
    except UserError:
        return LOCAL
