"""The profile `load`: Locust's web UI and workers in containers, from the project's image."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import socket
import subprocess
import tarfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy  # brings the C++ library into this process, where it is found
import pytest

from tests.compose.conftest import IMAGE, PLANTED
from tokenswarm.base.errors import Exit
from tokenswarm.cli import _parser
from tokenswarm.engines.docker.compose import COMPOSE_FILE

PATIENCE_S = 120.0
PROFILES = ["--profile", "sim", "--profile", "load"]


def compose(*arguments: str, environment: dict[str, str]) -> str:
    """What Compose prints for the two profiles."""
    done = subprocess.run(
        ["docker", "compose", "--file", str(COMPOSE_FILE), *PROFILES, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def config(**variables: str) -> dict[str, Any]:
    """Services by name, as Compose understands them."""
    clean = {key: os.environ[key] for key in ("PATH", "HOME", "DOCKER_CONFIG") if key in os.environ}
    return json.loads(compose("config", "--format", "json", environment=clean | variables))["services"]


def test_master_and_workers_come_from_one_image_and_may_do_nothing_more_than_they_need() -> None:
    services = config(API_KEY=PLANTED, UI_PASSWORD=PLANTED)
    assert services["master"]["image"] == services["worker"]["image"] == services["sim"]["image"]
    for name in ("master", "worker"):
        service = services[name]
        assert service["user"] == "10001:10001" and service["read_only"] is True and service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"] and service["tmpfs"] == ["/tmp"]
        environment = service.pop("environment")
        assert set(environment.values()) == {PLANTED} and PLANTED not in json.dumps(service)
        assert service["healthcheck"]["test"][0] == "CMD"
    assert set(config()["master"]["environment"].values()) == {None}
    assert "ports" not in services["worker"] and "volumes" not in services["worker"]


def test_the_ui_is_this_machine_s_alone_unless_asked_otherwise() -> None:
    for variables, address, port in (
        ({}, "127.0.0.1", "8089"),
        ({"WEB_BIND": "10.1.2.3", "WEB_PORT": "9000"}, "10.1.2.3", "9000"),
    ):
        service = config(**variables)["master"]
        [published] = service["ports"]
        assert (published["host_ip"], published["published"]) == (address, port)
        options = _parser().parse_args(service["command"])
        assert (options.web_host, options.published_on) == ("0.0.0.0", address)


def test_commands_are_what_the_command_line_takes_and_workers_find_the_master() -> None:
    services = config(SET="load.users=3 slo.ttft_p95_ms=400", SCENARIO="chat", HOST="http://vllm:8000")
    master = _parser().parse_args(services["master"]["command"])
    assert (master.scenario, master.settings, master.host) == (
        "chat",
        "load.users=3 slo.ttft_p95_ms=400",
        "http://vllm:8000",
    )
    assert _parser().parse_args(services["worker"]["command"]).master == ("master", master.master[1])
    assert services["worker"]["deploy"]["replicas"] == 2
    [volume] = services["master"]["volumes"]
    assert (volume["type"], volume["source"], volume["target"]) == ("volume", "results", str(master.results))
    changed = config(RESULTS="/data/runs", LOAD_USER="1000:1000", WORKERS="7")
    [volume] = changed["master"]["volumes"]
    assert (volume["type"], volume["source"]) == ("bind", "/data/runs")
    assert changed["master"]["user"] == "1000:1000" and changed["worker"]["deploy"]["replicas"] == 7


# ---- with containers


@pytest.fixture(scope="module")
def load_image(project_image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The project's image. Where its base is too bare to compute in, with this machine's C++ library."""

    def computes(image: str) -> bool:
        line = [
            "docker",
            "run",
            "--rm",
            "--network",
            "none",
            "--entrypoint",
            "python",
            image,
            "-c",
            "import scipy.stats",
        ]
        return subprocess.run(line, capture_output=True).returncode == 0

    if computes(project_image):
        return project_image
    assert numpy.__version__
    maps = Path("/proc/self/maps").read_text()
    folder = tmp_path_factory.mktemp("image")
    for library in re.findall(r"(/\S+/lib(?:stdc\+\+|gcc_s)\.so\S*)$", maps, re.MULTILINE):
        (folder / re.sub(r"(\.so\.\d+).*", r"\1", Path(library).name)).write_bytes(Path(library).read_bytes())
    (folder / "Dockerfile").write_text(f"FROM {project_image}\nCOPY lib* /usr/lib/x86_64-linux-gnu/\n")
    name = f"{IMAGE}-load"
    built = subprocess.run(["docker", "build", "-q", "--tag", name, str(folder)], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert computes(name)
    return name


@pytest.fixture
def stack(load_image: str) -> Iterator[Callable[..., str]]:
    """Compose with a project and ports of this test's own; `stack.web` is the UI's address."""
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            ports.append(str(probe.getsockname()[1]))
    steering = ("HOST", "SCENARIO", "SET", "RESULTS", "WORKERS", "WEB_BIND", "UI_PASSWORD", "API_KEY")
    environment = {key: value for key, value in os.environ.items() if key not in steering}
    environment |= {
        "COMPOSE_PROJECT_NAME": f"tokenswarm-load-{os.getpid()}",
        "SIM_IMAGE": load_image,
        "PORT": ports[0],
        "WEB_PORT": ports[1],
    }

    def call(*arguments: str, **more: str) -> str:
        return compose(*arguments, environment=environment | more)

    call.web = f"http://127.0.0.1:{ports[1]}"
    call.project = environment["COMPOSE_PROJECT_NAME"]
    try:
        yield call
    finally:
        call("down", "--volumes", "--timeout", "5")


def run_folders(docker: Any, project: str) -> dict[str, dict[str, bytes]]:
    """Run id -> files of the finished runs in the volume, without the sessions' own folders."""
    [master] = docker.containers.list(
        filters={"label": [f"com.docker.compose.project={project}", "com.docker.compose.service=master"]}
    )
    stream, _ = master.get_archive("/results")
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
        for member in archive:
            parts = Path(member.name).parts
            if member.isfile() and len(parts) == 3:
                found.setdefault(parts[1], {})[parts[2]] = archive.extractfile(member).read()
    return {name: files for name, files in found.items() if "dashboard.html" in files}


def press(web: str, button: str, **form: object) -> None:
    """A button of the UI, by its own interface."""
    with urllib.request.urlopen(f"{web}/{button}", urllib.parse.urlencode(form).encode(), timeout=30) as answer:
        assert json.load(answer)["success"] is True


def stats(web: str) -> dict[str, Any]:
    """What Locust's UI shows of requests and workers."""
    with urllib.request.urlopen(f"{web}/stats/requests", timeout=10) as answer:
        return json.load(answer)


def finished_run(docker: Any, stack: Any, users: int, workers: int) -> list[dict[str, str]]:
    """Rows of a run that was started, had some answers, and was stopped."""
    before = set(run_folders(docker, stack.project))
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and sum(each["state"] == "ready" for each in stats(stack.web)["workers"]) < workers:
        time.sleep(0.5)  # connected is not yet ready, and without a ready worker Locust begins nothing
    press(
        stack.web,
        "swarm",
        user_count=users,
        spawn_rate=users,
        host="http://sim:8088",
        scenario="rag",
        warmup="1",
        set="user.think_time_s=0.1 rag.documents=4",
    )
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        now = stats(stack.web)
        if now["state"] == "running" and now["stats"][-1]["num_requests"] > 5 * users:
            break
        time.sleep(0.5)
    press(stack.web, "stop")
    while time.monotonic() < until:
        if new := set(run_folders(docker, stack.project)) - before:
            [name] = new
            files = run_folders(docker, stack.project)[name]
            assert json.loads(files["run.json"])["status"] == "complete"
            return list(csv.DictReader(io.StringIO(files["requests.csv"].decode())))
        time.sleep(1)
    raise AssertionError(stack("logs", "master"))


def test_runs_are_started_in_the_ui_and_workers_of_any_number_load(docker: Any, stack: Any) -> None:
    stack("up", "--detach", "--wait", "--no-build")
    rows = finished_run(docker, stack, users=6, workers=2)
    assert {row["worker"] for row in rows} == {"0", "1"}
    assert {row["status"] for row in rows} <= {"ok", "cancelled"} and sum(row["status"] == "ok" for row in rows) > 20
    for container in docker.containers.list(filters={"label": f"com.docker.compose.project={stack.project}"}):
        uids = {row[0] for row in container.top(ps_args="-eo uid,pid,args")["Processes"]}
        assert uids == {"10001"}, container.name
    stack("up", "--detach", "--wait", "--no-build", "--scale", "worker=3")
    assert {row["worker"] for row in finished_run(docker, stack, users=6, workers=3)} == {"0", "1", "2"}
    stack("stop")
    ended = docker.containers.list(all=True, filters={"label": f"com.docker.compose.project={stack.project}"})
    assert {container.attrs["State"]["ExitCode"] for container in ended} == {0}, "on SIGTERM, in good order"


def test_a_ui_that_others_can_reach_does_not_start_without_a_password(load_image: str) -> None:
    command = config(WEB_BIND="0.0.0.0")["master"]["command"]
    line = ["docker", "run", "--rm", "--network", "none", "--env", "UI_PASSWORD"]
    clean = {key: value for key, value in os.environ.items() if key != "UI_PASSWORD"}
    done = subprocess.run([*line, load_image, *command], env=clean, capture_output=True, text=True)
    assert done.returncode == Exit.USAGE and "UI_PASSWORD" in done.stderr
