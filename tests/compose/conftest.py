"""Engines in containers: `make test-compose`. Needs a Docker engine; skipped with the reason where there is none.

The project's image is built (variables BASE and OFFLINE as for `make image`) and stands in for the engines, under the
names of their images. An image of that name that is here already, such as the real one, is not touched: the stand-in
then goes by a name of its own.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tokenswarm.base.errors import UserError
from tokenswarm.engines import EngineSpec, load_description
from tokenswarm.engines.docker import containers
from tokenswarm.engines.docker.compose import variable
from tokenswarm.engines.docker.host import connect, need_compose

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
IMAGE = "tokenswarm:compose-test"
ENTRIES = {"vllm": "vllm", "sglang": ""}
"""Engine -> dialect that its image serves by itself; empty where the image has no entry point of its own."""
PLANTED = "hf_plantedTokenThatNobodyMaySee"
_STAND_IN_LABEL = "io.tokenswarm.stand-in"


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark."""
    config.addinivalue_line("markers", "compose: needs a Docker engine (make test-compose)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark everything here; skip it in a run of all tests, and where there is no Docker."""
    mine = [item for item in items if HERE in item.path.parents]
    if not mine:
        return
    named = any("compose" in argument for argument in config.args)
    reason = _no_docker() if named else "engines in containers are tested by `make test-compose`"
    for item in mine:
        item.add_marker("compose")
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


def _no_docker() -> str | None:
    try:
        connect().close()
        need_compose(os.environ)
    except UserError as error:
        return str(error)
    return None


@pytest.fixture(scope="session")
def docker() -> Iterator[Any]:
    """The Docker engine."""
    client = connect()
    yield client
    client.close()


@pytest.fixture(scope="session")
def project_image() -> str:
    """The project's image, built from this checkout."""
    built = subprocess.run(["make", "-s", "image", f"IMAGE={IMAGE}"], cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return IMAGE


@pytest.fixture(scope="session")
def engine_images(docker: Any, project_image: str) -> Iterator[dict[str, str]]:
    """Engine -> the image that stands in for it."""
    names, tagged = {}, []
    for engine, entry in ENTRIES.items():
        image = load_description(engine).image
        assert image is not None
        name = f"{image.repository}:{image.tag}"
        if any(_STAND_IN_LABEL not in each.labels for each in docker.images.list(filters={"reference": name})):
            name = f"tokenswarm-stand-in:{engine}"
        built = subprocess.run(
            [
                "docker",
                "build",
                "-q",
                "--build-arg",
                f"IMAGE={project_image}",
                "--build-arg",
                f"ENTRY={entry}",
                "--label",
                f"{_STAND_IN_LABEL}={engine}",
                "--tag",
                name,
                str(HERE / "stand_in"),
            ],
            capture_output=True,
            text=True,
        )
        assert built.returncode == 0, built.stderr
        names[engine] = name
        tagged.append(name)
    yield names
    for name in tagged:
        docker.images.remove(name, force=True)


@pytest.fixture
def surroundings(
    engine_images: dict[str, str], project_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """A Compose project, a model cache and a token of this test's own; nothing of it is left afterwards."""
    project = f"tokenswarm-test-{os.getpid()}"
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", project)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_TOKEN", PLANTED)
    for name in ("BIND", "PORT", "GPUS", "MODEL", "SERVED_NAME"):
        monkeypatch.delenv(name, raising=False)
    for engine, image in engine_images.items():
        monkeypatch.setenv(f"{variable(engine)}_IMAGE", image)
    monkeypatch.setenv("SIM_IMAGE", project_image)
    yield
    left = containers.find_running(all_states=True)
    for found in left:
        containers.stop(found.id, 1.0)
    assert left == [], "a container was left behind"


@pytest.fixture(params=sorted(ENTRIES))
def description(request: pytest.FixtureRequest) -> EngineSpec:
    """The engines for which a stand-in is there."""
    return load_description(request.param)
