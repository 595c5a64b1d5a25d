"""Stands in for an engine: `python engine.py STYLE ARGUMENTS-OF-THE-ENGINE`.

It takes port and name of the model from the engine's own command line, leaves the other flags alone, and serves with
the simulator in that dialect. The model's name decides what goes wrong, with the words of the real libraries.
"""

from __future__ import annotations

import http.server
import os
import sys
import time

FAILURES = {
    "no-such": "huggingface_hub.errors.RepositoryNotFoundError: 404 Client Error.",
    "gated": "huggingface_hub.errors.GatedRepoError: 401 Client Error. Cannot access gated repo",
    "too-big": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB.",
    "leaky": f"loading with token {os.environ.get('HF_TOKEN')}",
    "odd": "something nobody has ever seen",
}


def value_of(flag: str, arguments: list[str]) -> str:
    """What follows a flag."""
    return arguments[arguments.index(flag) + 1]


class Sick(http.server.BaseHTTPRequestHandler):
    """Listens, and is never healthy."""

    def do_GET(self) -> None:
        """Any path."""
        self.send_error(503)


def main() -> None:
    """Do what the model's name says."""
    style, *arguments = sys.argv[1:]
    port, name = int(value_of("--port", arguments)), value_of("--served-model-name", arguments)
    print(f"stand-in for {style}: model {name}", flush=True)
    kind = name.partition("/")[0]
    if kind in FAILURES:
        sys.exit(FAILURES[kind])
    if kind == "slow":
        print("Loading safetensors checkpoint shards: 25%", flush=True)
        time.sleep(600)
    if kind == "sick":
        http.server.ThreadingHTTPServer(("0.0.0.0", port), Sick).serve_forever()
    os.execvp(
        "python",
        ["python", "-m", "tokenswarm.sim", "--host", "0.0.0.0", "--port", str(port), "--model", name, "--style", style],
    )


if __name__ == "__main__":
    main()
