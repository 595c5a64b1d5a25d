"""What a start in a container asks of Docker, and what it removes again; Docker itself is made up here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.engines import StartRequest, load_description
from tokenswarm.engines.docker import host, launch
from tokenswarm.engines.docker.compose import ENGINE_LABEL, START_LABEL


class Container:
    """A container that runs until it is removed."""

    def __init__(self, docker: Docker, state: str = "running") -> None:
        self.id, self.name, self.labels, self.client, self._docker = "c1", "tokenswarm-1", {}, docker, docker
        self.attrs = {
            "Config": {"Image": "i:1", "Labels": {ENGINE_LABEL: "vllm"}},
            "Image": "sha256:1",
            "State": {"Status": state, "StartedAt": "2026-01-01", "ExitCode": 0},
            "NetworkSettings": {"Ports": {}},
        }

    def remove(self, **_: object) -> None:
        self._docker.removed.append(self.name)

    def reload(self) -> None:
        pass

    def logs(self, **_: object) -> bytes:
        return b"loading\n"

    def stop(self, timeout: int) -> None:
        self.attrs["State"]["Status"] = "exited"


class Docker:
    """A Docker engine with these containers of the project; `compose` is what a Compose command comes to."""

    def __init__(self, there: list[Container] | None = None, compose: tuple[int, str] = (0, "")) -> None:
        self.there, self.compose = there or [], compose
        self.removed: list[str] = []
        self.lines: list[tuple[list[str], dict[str, str], str]] = []
        self.containers = SimpleNamespace(list=self._list)
        self.images = SimpleNamespace(get=lambda name: SimpleNamespace(attrs={}))
        self.networks = SimpleNamespace(list=lambda **_: [])

    def _list(self, filters: dict[str, Any], **_: object) -> list[Container]:
        if START_LABEL in str(filters["label"]):
            return [Container(self)] if self.lines else []
        return self.there

    def run(
        self, line: list[str], environ: dict[str, str], document: str = "", *_: object, **__: object
    ) -> tuple[int, str]:
        self.lines.append((list(line), dict(environ), document))
        return self.compose


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a Docker engine the one of this machine. The guard is a process that waits for its word."""

    def with_docker(docker: Docker) -> Docker:
        monkeypatch.setattr(host, "connect", lambda *_: docker)
        monkeypatch.setattr(host, "need_compose", lambda *_: None)
        monkeypatch.setattr(host, "run", docker.run)
        monkeypatch.setattr(
            launch,
            "_guard",
            lambda *_: subprocess.Popen(
                [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
            ),
        )
        for name in ("BIND", "GPUS", "VLLM_IMAGE", "VLLM_TAG"):
            monkeypatch.delenv(name, raising=False)
        return docker

    return with_docker


def request(tmp_path: Path, **further: Any) -> StartRequest:
    log_path = tmp_path / "engine.log"
    return StartRequest(description=load_description("vllm"), log_path=log_path, model="org/m", **further)


def test_everything_of_a_request_reaches_the_service(use: Any, tmp_path: Path) -> None:
    docker = use(Docker())
    engine = launch.launch(
        request(
            tmp_path,
            settings={"max_num_seqs": 7},
            explicit=("max_num_seqs",),
            served_name="mine",
            gpus="0,1",
            cpus={2, 3},
            env={"A": "1"},
            image="my/own:2",
            api_key="k",
            ready_timeout_s=9.0,
        )
    )
    [(line, environ, document)] = docker.lines
    assert line[-2:] == ["--no-deps", "vllm"] and "up" in line
    assert not any("no-gpu" in part for part in line)
    assert environ["VLLM_IMAGE"] == "my/own:2" and environ["BIND"] == "127.0.0.1"
    assert engine.base_url == f"http://127.0.0.1:{environ['PORT']}"
    assert '"--max-num-seqs", "7"' in document and '"--served-model-name", "mine"' in document
    assert '"device_ids": ["0", "1"]' in document and '"2,3"' in document and '"A": "1"' in document
    assert (engine.model, engine.api_key, engine.ready_timeout_s) == ("mine", "k", 9.0)
    assert engine.command[:2] and engine.is_alive()
    engine.stop()
    assert docker.removed == ["tokenswarm-1"] and not engine.is_alive()
    assert (tmp_path / "engine.log").read_text() == "loading\n"


def test_on_a_cpu_the_service_gets_no_gpu(use: Any, tmp_path: Path) -> None:
    docker = use(Docker())
    launch.launch(request(tmp_path, device="cpu", gpus="0")).kill()
    [(line, _, document)] = docker.lines
    assert any("no-gpu" in part for part in line) and "device_ids" not in document
    assert docker.removed == ["tokenswarm-1"]


def test_a_kept_container_is_nobodys_to_end(use: Any, tmp_path: Path) -> None:
    docker = use(Docker())
    engine = launch.launch(request(tmp_path))
    assert engine.keep() is True
    engine.stop()
    engine.kill()
    assert engine.is_alive() and docker.removed == []


def test_a_service_that_does_not_come_up_is_removed_and_its_cause_is_told(use: Any, tmp_path: Path) -> None:
    docker = use(Docker(compose=(1, "Bind for 127.0.0.1:8000 failed: port is already allocated")))
    with pytest.raises(UserError, match="could not be started in a container: the port is taken") as caught:
        launch.launch(request(tmp_path))
    assert caught.value.code is Exit.PORT
    assert docker.removed == ["tokenswarm-1"]


def test_a_service_that_runs_already_is_left_alone_and_a_stopped_one_makes_room(use: Any, tmp_path: Path) -> None:
    docker = use(Docker())
    docker.there = [Container(docker)]
    with pytest.raises(UserError, match=r"is already running in container tokenswarm-1 .*make down ENGINE=vllm"):
        launch.launch(request(tmp_path))
    assert docker.removed == [] and docker.lines == []
    docker.there = [Container(docker, "exited")]
    launch.launch(request(tmp_path)).release()
    assert docker.removed == ["tokenswarm-1"], "the stopped one"


def test_an_interrupt_while_it_gets_ready_leaves_nothing(use: Any, tmp_path: Path) -> None:
    docker = use(Docker())

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launch.start_docker(request(tmp_path), interrupt)
    assert docker.removed == ["tokenswarm-1"]
