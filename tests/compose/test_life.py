"""The whole life of an engine in a container, and every way in which it can fail to begin."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.compose.conftest import PLANTED, ROOT
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.engines import EngineSpec, StartRequest, load_description
from tokenswarm.engines.docker import containers
from tokenswarm.engines.docker.compose import arguments, variable
from tokenswarm.engines.docker.containers import find_running
from tokenswarm.engines.docker.docker_engine import DockerEngine
from tokenswarm.engines.docker.launch import start_docker

pytestmark = pytest.mark.usefixtures("surroundings")
PATIENCE_S = 90.0


def load_line(engine: str, results: Path, model: str, *more: str) -> list[str]:
    """The command line of a short load."""
    return [
        sys.executable,
        "-m",
        "tokenswarm",
        "load",
        "--engine",
        engine,
        "--runtime",
        "docker",
        "--model",
        model,
        "--scenario",
        "rag",
        "--users",
        "2",
        "--duration",
        "5s",
        "--results",
        str(results),
        "--set",
        "load.warmup_s=1",
        *more,
    ]


def eventually(look: Callable[[], Any], what: str) -> Any:
    """What `look` gives, as soon as that is something."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(0.2)
    raise AssertionError(f"never seen: {what}")


@contextmanager
def running(line: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A command in the background, ended at the latest here."""
    process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def start(description: EngineSpec, tmp_path: Path, model: str, **options: Any) -> DockerEngine:
    """An engine that is ready."""
    if "cuda" in description.forms:
        options.setdefault("device", "cpu")
    return start_docker(StartRequest(description=description, log_path=tmp_path / "engine.log", model=model, **options))


def test_load_starts_waits_loads_and_leaves_nothing(description: EngineSpec, docker: Any, tmp_path: Path) -> None:
    results = tmp_path / "results"
    with running(load_line(description.name, results, "org/model", "--device", "cpu")) as process:
        found = eventually(find_running, "the engine's container")[0]
        inspected = docker.containers.get(found.id).attrs
        said = process.communicate(timeout=PATIENCE_S)[0]
    assert process.returncode in (Exit.PASSED, Exit.SLO_MISSED, Exit.INVALID), said
    assert find_running(all_states=True) == []
    assert docker.networks.list(filters={"label": f"com.docker.compose.project={containers.project()}"}) == []
    [folder] = results.iterdir()
    manifest = json.loads((folder / "run.json").read_text())
    engine = manifest["engine"]
    assert (engine["runtime"], engine["name"]) == ("docker", description.name)
    assert engine["image"] == os.environ[f"{variable(description.name)}_IMAGE"]
    assert engine["image_digest"] == docker.images.get(engine["image"]).id
    assert engine["cold_start_s"] > 0 and manifest["simulated"]
    assert "--served-model-name" in engine["command"] and "0.0.0.0" in engine["command"]
    assert "stand-in for" in (folder / "engine.log").read_text()
    assert PLANTED not in json.dumps(inspected["Config"]["Cmd"] + inspected["Args"] + [inspected["Path"]])
    assert f"HF_TOKEN={PLANTED}" in inspected["Config"]["Env"]
    assert PLANTED not in json.dumps(inspected["Config"]["Labels"])
    assert PLANTED not in said
    for path in folder.rglob("*"):
        assert path.is_dir() or PLANTED.encode() not in path.read_bytes(), path
    rows = (folder / "host_metrics.csv").read_text().splitlines()
    columns = rows[0].split(",")
    watched = [dict(zip(columns, row.split(","), strict=True)) for row in rows[1:]]
    own = [row for row in watched if row["source"] == "engine"]
    assert all(float(row["rss_mb"]) > 5 for row in own) and any(row["cpu_share"] for row in own)


def test_simulator_runs_in_the_projects_own_image(tmp_path: Path) -> None:
    engine = start(load_description("sim"), tmp_path, "sim-8b", settings={"max_num_seqs": 7})
    try:
        assert engine.effective["max_num_seqs"] == 7
        assert engine.is_alive() and engine.version
    finally:
        engine.stop()
    assert not engine.is_alive()


def test_gpus_reach_the_container(docker: Any, tmp_path: Path) -> None:
    description = load_description("vllm")
    try:
        engine = start(description, tmp_path, "org/model", device="cuda", gpus="0,1")
    except UserError as error:
        assert "hand out no such GPU" in str(error)  # what a machine without them must be told
        pytest.skip("this Docker engine hands out no GPUs")
    try:
        [asked] = docker.containers.get(engine.container.id).attrs["HostConfig"]["DeviceRequests"]
        assert (asked["DeviceIDs"], asked["Capabilities"]) == (["0", "1"], [["gpu"]])
    finally:
        engine.stop()


def test_model_folder_of_this_machine_is_mounted(docker: Any, tmp_path: Path) -> None:
    folder = tmp_path / "my model"
    folder.mkdir()
    engine = start(load_description("vllm"), tmp_path, str(folder))
    try:
        assert engine.model == "my model" and engine.command[0] == "/models/my model"
        attrs = docker.containers.get(engine.container.id).attrs
        [mount] = [each for each in attrs["Mounts"] if each["Destination"] == "/models/my model"]
        assert mount["Source"] == str(folder) and not mount["RW"]
        assert "HF_HUB_OFFLINE=1" in attrs["Config"]["Env"]
    finally:
        engine.stop()


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("no-such/model", "the model was not found"),
        ("gated/model", "the model is gated"),
        ("too-big/model", "too little free memory"),
        ("odd/model", "something nobody has ever seen"),
    ],
)
def test_engine_that_ends_at_start_says_why(description: EngineSpec, tmp_path: Path, model: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        start(description, tmp_path, model)
    assert caught.value.code is Exit.ENGINE
    first, *log = str(caught.value).splitlines()
    assert "ended with code 1 before it was ready" in first
    assert sentence in str(caught.value) and any("stand-in for" in line for line in log)
    assert find_running(all_states=True) == []


def test_secret_that_an_engine_prints_is_masked(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        start(load_description("vllm"), tmp_path, "leaky/model")
    assert "loading with token ***" in str(caught.value) and PLANTED not in str(caught.value)
    assert PLANTED not in (tmp_path / "engine.log").read_text()


def test_unhealthy_engine_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("START_PERIOD", "1s")
    monkeypatch.setenv("HEALTH_INTERVAL", "1s")
    with pytest.raises(UserError, match="failed its health check again and again before it was ready"):
        start(load_description("sglang"), tmp_path, "sick/model")


def test_engine_that_never_gets_ready_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"was not ready after 3 s and was stopped(.|\n)*checkpoint shards"):
        start(load_description("sglang"), tmp_path, "slow/model", ready_timeout_s=3.0)


def test_image_that_cannot_be_fetched(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        start(load_description("vllm"), tmp_path, "org/model", image="localhost:1/no/such:1")
    assert caught.value.code is Exit.ENGINE
    assert "localhost:1/no/such:1 is not on this machine and its registry cannot be reached" in str(caught.value)


def test_project_image_that_is_missing_is_to_be_built(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no-such:1 is not on this machine: build it with `make image`"):
        start(load_description("sim"), tmp_path, "sim-8b", image="no-such:1")


def test_published_elsewhere_only_when_asked_and_then_it_is_said(
    docker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bind, published in ((None, "127.0.0.1"), ("0.0.0.0", "0.0.0.0")):
        if bind is not None:
            monkeypatch.setenv("BIND", bind)
        engine = start(load_description("sim"), tmp_path, "sim-8b")
        try:
            [ports] = docker.containers.get(engine.container.id).attrs["HostConfig"]["PortBindings"].values()
            assert [each["HostIp"] for each in ports] == [published]
            assert any("can use it" in note for note in engine.notes) == (bind is not None)
        finally:
            engine.stop()


def test_a_port_that_is_taken_is_refused_before_the_container_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UserError) as caught:
        start(load_description("sim"), tmp_path, "sim-8b", port=taken.getsockname()[1])
    assert caught.value.code is Exit.PORT


def test_port_that_is_taken_while_the_container_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenswarm.base.ports.need_port", lambda *_: None)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UserError) as caught:
        start(load_description("sim"), tmp_path, "sim-8b", port=taken.getsockname()[1])
    assert caught.value.code is Exit.PORT and "port is taken" in str(caught.value)


def test_second_start_does_not_end_the_first(tmp_path: Path) -> None:
    first = start(load_description("sim"), tmp_path, "sim-8b")
    try:
        with pytest.raises(UserError, match=r"is already running in container .*make down ENGINE=sim"):
            start(load_description("sim"), tmp_path, "sim-8b")
        assert first.is_alive()
    finally:
        first.stop()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_while_the_engine_starts_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    with running(load_line("sglang", tmp_path / "results", "slow/model", "--device", "cpu")) as process:
        eventually(find_running, "the engine's container")
        process.send_signal(number)
        said = process.communicate(timeout=PATIENCE_S)[0]
    assert process.returncode == Exit.INTERRUPTED, said
    assert "Traceback" not in said
    assert find_running(all_states=True) == []


def test_second_interrupt_while_the_engine_starts_leaves_nothing(tmp_path: Path) -> None:
    with running(load_line("sglang", tmp_path / "results", "slow/model", "--device", "cpu")) as process:
        eventually(find_running, "the engine's container")
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)
    eventually(lambda: not find_running(all_states=True), "the end of the container")


def test_interrupt_while_the_image_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection and never answers
        monkeypatch.setenv("VLLM_IMAGE", f"localhost:{silent.getsockname()[1]}/some/image:1")
        with running(load_line("vllm", tmp_path / "results", "org/model", "--device", "cpu")) as process:
            silent.settimeout(PATIENCE_S)
            connection, _ = silent.accept()
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=PATIENCE_S)[0]
            connection.close()
    assert process.returncode == Exit.INTERRUPTED, said
    assert find_running(all_states=True) == []


def test_container_of_a_killed_command_is_removed(tmp_path: Path) -> None:
    with running(load_line("sim", tmp_path / "results", "sim-8b", "--duration", "60s")) as process:
        eventually(find_running, "the engine's container")
        process.kill()
        process.communicate()
    eventually(lambda: not find_running(all_states=True), "the end of the container")


def test_released_engine_outlives_its_starter_and_can_be_taken_over(docker: Any, tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\nfrom tokenswarm.engines import StartRequest, load_description\n"
        "from tokenswarm.engines.docker.launch import start_docker\n"
        f"log = Path({str(tmp_path / 'engine.log')!r})\n"
        "e = start_docker(StartRequest(description=load_description('sglang'), log_path=log, model='org/kept', "
        "device='cpu'))\ne.release()\ne.stop()\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=PATIENCE_S)
    assert "stand-in for" in (tmp_path / "engine.log").read_text()
    [found] = find_running("sglang")
    assert (found.model, found.state) == ("org/kept", "running")
    assert find_running("vllm") == []
    engine = DockerEngine.attach(found, load_description("sglang"), tmp_path / "engine.log")
    assert engine.version and engine.cold_start_s is None and engine.record().image_digest == found.image_digest
    engine.stop()
    assert engine.is_alive(), "what somebody else started is not ours to stop"
    assert any("stand-in for" in line for line in containers.logs(found.id))
    containers.stop(found.id)
    containers.stop(found.id)
    assert find_running(all_states=True) == []


def test_engine_that_dies_during_the_load(docker: Any, tmp_path: Path) -> None:
    results = tmp_path / "results"
    with running(load_line("sim", results, "sim-8b", "--duration", "60s")) as process:
        found = eventually(find_running, "the engine's container")[0]
        eventually(lambda: list(results.glob("*/requests.csv")), "the first requests")
        docker.containers.get(found.id).kill()
        said = process.communicate(timeout=PATIENCE_S)[0]
    assert process.returncode == Exit.ENGINE, said
    assert "Simulator ended during the run" in said


def test_plain_compose_brings_up_a_healthy_engine() -> None:
    line = arguments(containers.project(), "sim", True, ["up", "--detach", "--wait", "--no-build"], with_override=False)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    done = subprocess.run(line, env=os.environ | {"PORT": str(port)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [found] = find_running("sim")
    assert (found.health, found.base_url) == ("healthy", f"http://127.0.0.1:{port}")
    down = arguments(containers.project(), "sim", True, ["down"], with_override=False)
    assert subprocess.run(down, env=os.environ, capture_output=True).returncode == 0
