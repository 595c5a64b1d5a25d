"""The profile `observe` as Compose understands it: what it mounts, where it listens, whose password it takes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tokenswarm.engines.compose import COMPOSE_FILE

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
        shown = subprocess.run([*service["entrypoint"][:2], script], env={"PATH": os.environ["PATH"]} | variables,
                               capture_output=True, text=True, check=True).stdout
        assert "\nGRAFANA_PASSWORD=" not in f"\n{shown}"
        [value] = [line.partition("=")[2] for line in shown.splitlines()
                   if line.startswith("GF_SECURITY_ADMIN_PASSWORD=")]
        return value

    assert chosen(GRAFANA_PASSWORD=PASSWORD) == PASSWORD
    nobody_knows = {chosen(), chosen(), chosen(GRAFANA_PASSWORD="")}
    assert len(nobody_knows) == 3 and all(len(each) > 30 for each in nobody_knows)
    assert service["environment"]["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
