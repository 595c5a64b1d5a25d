"""Runs that several tests look at. Each is made once, whichever test process needs it first."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .support import Finished, Started, load, run_cli, shared, simulator, started

SECRET = "planted-secret-XYZ"
SCENARIOS = {
    # Users and settings that make much happen in two seconds and cost little: the simulator runs ten times faster.
    "rag": "user.think_time_s=0.05 rag.documents=6",
    "chat": "user.think_time_s=0.05 output.max_tokens=64",
    "batch": "user.think_time_s=0.05",
    "reasoning": "output.max_tokens=256",
}


WHOLE_RUNS = {"scenario_run", "open_run", "cold_run", "series", "long_run"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that looks at a whole run is slow, since whoever is first has to make it."""
    for item in items:
        if isinstance(item, pytest.Function) and WHOLE_RUNS.intersection(item.fixturenames):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all test processes of this session have in common."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder = base / "e2e"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session", params=SCENARIOS)
def scenario_run(request: pytest.FixtureRequest, common: Path) -> Finished:
    """A short run of one scenario against the embedded simulator. `manifest["scenario"]["name"]` says which."""
    name = request.param

    def make(folder: Path) -> dict[str, Finished]:
        command = load(
            folder / "results",
            "--scenario",
            name,
            "--users",
            "6",
            settings=f"engine.sim.time_scale=10 {SCENARIOS[name]}",
        )
        with started(command, folder / "results") as run:
            return {"run": run.finish()}

    return shared(common, name, make)["run"]


@pytest.fixture(scope="session")
def open_run(common: Path) -> Finished:
    """An open loop with two load-generating processes: 20 requests a second for 3 s, after 1 s of warm-up."""

    def make(folder: Path) -> dict[str, Finished]:
        command = load(
            folder / "results",
            "--rate",
            "20",
            "--workers",
            "2",
            duration="3s",
            settings="engine.sim.time_scale=20 rag.documents=4",
        )
        with started(command, folder / "results") as run:
            return {"run": run.finish()}

    return shared(common, "open", make)["run"]


@pytest.fixture(scope="session")
def cold_run(common: Path) -> Finished:
    """A closed loop with two load-generating processes, whose measured phase begins with prompts never seen before."""

    def make(folder: Path) -> dict[str, Finished]:
        command = load(
            folder / "results",
            "--users",
            "6",
            "--workers",
            "2",
            settings="engine.sim.time_scale=10 user.think_time_s=0.05 rag.documents=4 prompts.state=cold",
        )
        with started(command, folder / "results") as run:
            return {"run": run.finish()}

    return shared(common, "cold", make)["run"]


@pytest.fixture(scope="session")
def series(common: Path) -> dict[str, Finished]:
    """Runs in turn against one simulator that asks for SECRET as its key.

    `first` and `second`: same seed, same salt. `locust`: plain Locust, and a salt of its own; `report` its dashboard.
    `seen`: command lines that showed the key, in `left`.
    """
    return shared(common, "series", _series)


def _series(folder: Path) -> dict[str, Finished]:
    # Which document is on the shelf is a matter of the moment, too, where there are new ones.
    settings = "user.think_time_s=0.05 rag.documents=3 rag.new_documents_per_minute=0"
    fixed = f"{settings} prompts.salt=fixed load.reset_cache=false"  # the cache is to show what was sent before
    done: dict[str, Finished] = {}
    seen: list[str] = []
    with simulator(folder / "sim", "--api-key-env", "THE_KEY", "--time-scale", "10", THE_KEY=SECRET) as url:
        for name in ("first", "second"):
            results = folder / name
            command = load(
                results, "--engine", "external", "--host", url, "--users", "4", "--seed", "7", settings=fixed
            )
            with started(command, results, API_KEY=SECRET) as run:
                run.wait_until(lambda run=run: run.rows() > 5, "a few rows")
                seen += _showing(SECRET)
                done[name] = run.finish()
        done["locust"] = _plain_locust(folder / "locust", url, settings, seen)
    done["report"] = run_cli("report", done["locust"].folder, results=folder / "none")
    done["seen"] = Finished(0, "", "", seen)
    return done


def _plain_locust(results: Path, url: str, settings: str, seen: list[str]) -> Finished:
    import sys

    command = [
        sys.executable,
        "-m",
        "locust",
        "-f",
        "locustfiles/rag.py",
        "--host",
        url,
        "--headless",
        "-u",
        "4",
        "-r",
        "4",
        "-t",
        "4s",
    ]
    with started(command, results, API_KEY=SECRET, RESULTS=str(results), MODEL="sim-8b", SET=settings) as run:
        run.wait_until(lambda: run.rows() > 5, "a few rows")
        seen += _showing(SECRET)
        return run.finish()


def _showing(secret: str) -> list[str]:
    """Command lines on this machine that hold the secret."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if secret in line:
                found.append(line)
    return found


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder for the run folders of one test."""
    folder = tmp_path / "results"
    folder.mkdir()
    return folder


@pytest.fixture
def long_run(results: Path):
    """A run of minutes against the embedded simulator, in its measured phase, with rows written."""
    command = load(
        results,
        "--users",
        "4",
        duration="5m",
        settings="engine.sim.time_scale=10 user.think_time_s=0.05 rag.documents=3",
    )
    with started(command, results) as run:
        run.wait_until(lambda: measuring(run), "measured rows")
        yield run


def measuring(run: Started) -> bool:
    """Whether rows of the measured phase are on disk."""
    folder = run.folder()
    return run.rows() > 5 and ",measure," in (folder / "requests.csv").read_text()
