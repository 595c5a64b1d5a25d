"""The profile `observe` as Compose understands it: what it mounts, where it listens, whose password it takes; and its
Prometheus in a container, with Debian's program in the place of the image's, which cannot be fetched here."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.compose.conftest import ROOT
from tests.observe.watched import program
from tokenswarm.engines.docker.compose import COMPOSE_FILE

PASSWORD = "pl4nted $HOME \"quoted\" 'pass'"


def services(**variables: str) -> dict[str, Any]:
    """The services of the profile."""
    clean = {key: os.environ[key] for key in ("PATH", "HOME", "DOCKER_CONFIG") if key in os.environ}
    line = ["docker", "compose", "--file", str(COMPOSE_FILE), "--profile", "observe", "config", "--format", "json"]
    done = subprocess.run(line, env=clean | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["services"]
    assert sorted(found) == ["grafana", "prometheus"]
    return found


def test_images_are_pinned_and_can_be_overridden() -> None:
    for name, service in services().items():
        assert service["image"].rpartition(":")[2].lstrip("v")[0].isdigit(), service["image"]
        other = services(**{f"{name.upper()}_IMAGE": "my/own:1"})[name]
        assert other["image"] == "my/own:1"
        assert service["restart"] == "no"


def test_both_reach_the_machines_loopback_and_listen_nowhere_else() -> None:
    found = services()
    assert {service["network_mode"] for service in found.values()} == {"host"}
    assert "--web.listen-address=127.0.0.1:9090" in found["prometheus"]["command"]
    assert found["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    other = services(PROMETHEUS_PORT="19090", GRAFANA_PORT="13000")
    assert "--web.listen-address=127.0.0.1:19090" in other["prometheus"]["command"]
    assert other["grafana"]["environment"]["PROMETHEUS_URL"] == "http://127.0.0.1:19090"
    assert other["grafana"]["environment"]["GF_SERVER_HTTP_PORT"] == "13000"


def test_what_is_mounted_is_there_and_cannot_be_written() -> None:
    for service in services().values():
        mounts = [each for each in service["volumes"] if each["type"] == "bind"]
        assert mounts
        for mount in mounts:
            assert Path(mount["source"]).exists() and mount["read_only"] is True


def test_grafanas_password_comes_from_the_environment_and_is_never_the_well_known_one() -> None:
    service = services(GRAFANA_PASSWORD=PASSWORD)["grafana"]
    assert service["environment"]["GRAFANA_PASSWORD"].replace("$$", "$") == PASSWORD
    assert "pl4nted" not in json.dumps(service["entrypoint"])
    script = service["entrypoint"][2].replace("$$", "$").replace("exec /run.sh", "env")

    def chosen(**variables: str) -> str:
        """What Grafana is told, by the very line that starts it."""
        shown = subprocess.run(
            [*service["entrypoint"][:2], script],
            env={"PATH": os.environ["PATH"]} | variables,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert "\nGRAFANA_PASSWORD=" not in f"\n{shown}"
        [value] = [
            line.partition("=")[2] for line in shown.splitlines() if line.startswith("GF_SECURITY_ADMIN_PASSWORD=")
        ]
        return value

    assert chosen(GRAFANA_PASSWORD=PASSWORD) == PASSWORD
    nobody_knows = {chosen(), chosen(), chosen(GRAFANA_PASSWORD="")}
    assert len(nobody_knows) == 3 and all(len(each) > 30 for each in nobody_knows)
    assert service["environment"]["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"


class _LoadGenerator(BaseHTTPRequestHandler):
    """As one that serves at METRICS_PORT=9646, and loads an engine that Compose knows nothing of."""

    engine = ""

    def do_GET(self) -> None:
        targets = [{"targets": [self.engine], "labels": {}}]
        body = json.dumps(targets).encode() if self.path == "/targets" else b"tokenswarm_users 7\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json" if self.path == "/targets" else "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def listening(port: int) -> Iterator[int]:
    """A load generator on this machine's loopback."""
    with ThreadingHTTPServer(("127.0.0.1", port), _LoadGenerator) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


@pytest.fixture
def prometheus_image(docker: Any, project_image: str, tmp_path: Path) -> Iterator[str]:
    """An image whose entry point is a Prometheus, run by the user that the real one runs as."""
    subprocess.run(["sh", str(ROOT / "tests" / "observe" / "need_prometheus.sh")], check=True)
    shutil.copy(str(program("prometheus")), tmp_path / "prometheus")
    (tmp_path / "Dockerfile").write_text(
        f"FROM {project_image}\nUSER 0\nCOPY prometheus /bin/prometheus\n"
        'RUN mkdir /prometheus && chown 65534 /prometheus\nUSER 65534\nENTRYPOINT ["/bin/prometheus"]\n'
    )
    name = f"tokenswarm-prometheus-test:{os.getpid()}"
    subprocess.run(["docker", "build", "-q", "-t", name, str(tmp_path)], check=True, capture_output=True)
    yield name
    docker.images.remove(name, force=True)


def test_prometheus_in_a_container_reaches_what_listens_at_this_machines_loopback(prometheus_image: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    project = f"tokenswarm-observe-{os.getpid()}"
    compose = ["docker", "compose", "--project-name", project, "--file", str(COMPOSE_FILE), "--profile", "observe"]
    surroundings = {**os.environ, "PROMETHEUS_IMAGE": prometheus_image, "PROMETHEUS_PORT": str(port)}
    with listening(9646), listening(0) as engine:
        _LoadGenerator.engine = f"127.0.0.1:{engine}"
        try:
            subprocess.run(
                [*compose, "up", "--detach", "prometheus"], env=surroundings, check=True, capture_output=True
            )
            wanted = {"127.0.0.1:9646", f"127.0.0.1:{engine}"}
            deadline = time.monotonic() + 90.0
            while not wanted <= (up := _up(port)):
                assert time.monotonic() < deadline, (
                    up,
                    subprocess.run([*compose, "logs"], env=surroundings, capture_output=True, text=True).stdout[-3000:],
                )
                time.sleep(0.5)
        finally:
            subprocess.run([*compose, "down", "--volumes"], env=surroundings, check=True, capture_output=True)


def _up(port: int) -> set[str]:
    """The instances that this Prometheus scrapes with success."""
    with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{port}/api/v1/query?query=up", timeout=5) as answer:
        return {
            each["metric"]["instance"]
            for each in json.loads(answer.read())["data"]["result"]
            if each["value"][1] == "1"
        }
    return set()
