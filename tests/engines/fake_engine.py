"""A stand-in for an engine's server process in lifecycle tests: it behaves as its command line says."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

METRICS = 'fake:running{rank="0"} 2\nfake:running{rank="1"} 3\nfake:hits_total 7\n'


class Handler(BaseHTTPRequestHandler):
    """The few endpoints that the life of an engine needs."""

    resets_refused = 0
    resets_path_missing = False

    def _send(self, document: object, status: int = 200, text: str | None = None) -> None:
        body = (json.dumps(document) if text is None else text).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Fake", "yes")
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        """Models, version, metrics."""
        if self.path == "/v1/models":
            self._send({"object": "list", "data": [{"id": "tiny", "owned_by": "fake", "max_model_len": 512}]})
        elif self.path == "/health":
            self._send({})
        elif self.path == "/version":
            self._send({"version": "1.2.3"})
        elif self.path == "/metrics":
            self._send(None, text=METRICS)
        else:
            self._send({}, 404)

    def do_POST(self) -> None:
        """One token, or a cache reset that is refused a few times first."""
        if self.path == "/reset":
            if type(self).resets_path_missing:
                self._send({}, 404)
            elif type(self).resets_refused > 0:
                type(self).resets_refused -= 1
                self._send({"success": False})
            else:
                self._send({"success": True})
        else:
            self._send({"usage": {"completion_tokens": 1}})

    def log_message(self, *args: object) -> None:
        """Stay quiet."""


def main() -> None:
    """Behave as `--mode` says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--mode", default="ok")
    parser.add_argument(
        "--note", type=Path, default=None, help="file for the process ids of this process and its child"
    )
    parser.add_argument("--busy", type=int, default=0)
    options, _ = parser.parse_known_args()
    print("loading the weights", flush=True)
    if options.mode == "dies":
        sys.exit("RuntimeError: FAKE out of memory")
    if options.mode == "deaf":
        time.sleep(600)
    if options.mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.note is not None:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        options.note.write_text(str(child.pid))
    Handler.resets_refused = options.busy
    ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
