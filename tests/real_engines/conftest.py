"""Real engines on this machine's CPU: `make test-engines [ENGINE=vllm]`.

Installs what is missing (minutes, gigabytes), so it runs only when this folder or an engine is named.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real_engines.parsing import ParserProcess
from tests.real_engines.real import Server, start_server
from tokenswarm.engines.install_paths import EnginePaths
from tokenswarm.engines.local.install import install

HERE = Path(__file__).parent
ENGINES = ("vllm", "sglang")
"""Those that the contract is tested of."""
OWN_FILE = {"llamacpp": "test_llamacpp.py"}
"""Others, each with tests in a file of its own."""
BY_NAME_ALONE = "test_decision.py"
"""Takes half an hour: it is left out where it is not named (make test-decision)."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--engine vllm`; may be repeated."""
    parser.addoption(
        "--engine", action="append", choices=(*ENGINES, *OWN_FILE), default=None, help="real engines to test (all)"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark everything here, and skip it in a run of all tests."""
    named = config.getoption("--engine", default=None) or any("engines" in argument for argument in config.args)
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("engine")
            if not named:
                item.add_marker(pytest.mark.skip(reason="real engines are tested by `make test-engines`"))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the files of engines that are not asked for, and what runs by its name alone."""
    if collection_path == HERE / BY_NAME_ALONE and not any(BY_NAME_ALONE in argument for argument in config.args):
        return True
    chosen = config.getoption("--engine", default=None)
    if chosen is None or collection_path.parent != HERE or not collection_path.name.startswith("test_"):
        return None
    owners = [name for name, file in OWN_FILE.items() if file == collection_path.name] or ENGINES
    return None if set(chosen) & set(owners) else True


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark."""
    config.addinivalue_line("markers", "engine: needs a real inference engine (make test-engines)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test runs once per engine; all tests of one engine together."""
    if "engine_name" in metafunc.fixturenames:
        asked = metafunc.config.getoption("--engine", default=None) or ENGINES
        chosen = [name for name in asked if name in ENGINES]
        metafunc.parametrize("engine_name", chosen, scope="session")


@pytest.fixture(scope="session")
def installed(engine_name: str) -> EnginePaths:
    """The engine's own environment, made if it is missing."""
    return install(engine_name, "cpu")


@pytest.fixture(scope="session", autouse=True)
def _apart_from_the_engine() -> Iterator[None]:
    """Engines keep to the first CPU and everything else to the others: on a shared one, tokens arrive in bursts."""
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, before - {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture(scope="session")
def parser_process(
    engine_name: str, installed: EnginePaths, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ParserProcess]:
    """The engine's argument parser, at work while the server starts."""
    process = ParserProcess(engine_name, installed, tmp_path_factory.mktemp("parser"))
    yield process
    process.end()


@pytest.fixture(scope="session")
def server(
    parser_process: ParserProcess, engine_name: str, installed: EnginePaths, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The engine with a tiny model, behind an API key."""
    with start_server(engine_name, tmp_path_factory.mktemp(engine_name)) as running:
        yield running


@pytest.fixture(scope="session")
def reasoner(engine_name: str, installed: EnginePaths, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same with DeepSeek-R1's reasoning parser."""
    settings = {"reasoning_parser": "deepseek_r1"}
    with start_server(engine_name, tmp_path_factory.mktemp(f"{engine_name}-r1"), settings) as running:
        yield running
