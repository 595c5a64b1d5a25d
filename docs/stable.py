"""The names that others may rely on (CONTRIBUTING, "What is stable"), as the code has them, in docs/stable-names.txt.

    python -m docs.stable    write them down

A test fails when a name of that file is gone from the code: see CONTRIBUTING before you take one out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from docs.generate import scenario_tables
from tokenswarm.base.errors import Exit
from tokenswarm.cli import _parser
from tokenswarm.client.answer import Answer
from tokenswarm.contract import tables
from tokenswarm.contract.manifest import Manifest
from tokenswarm.contract.metrics import METRICS
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.engines.spec.engine_spec import EngineSpec
from tokenswarm.scenario.model import Scenario
from tokenswarm.users import LLMUser
from tokenswarm.workloads.base import Prompt, Session

FILE = Path(__file__).with_name("stable-names.txt")
_NOT_FOR_LOCUSTFILES = {"take_arrival", "leave_off", "tasks", "abstract", "wait_time"}
"""Public names of a user by which tokenswarm itself and Locust talk to it."""
_TABLES = {
    tables.REQUESTS_CSV: tables.REQUEST_COLUMNS,
    tables.PROMPTS_CSV: tables.PROMPT_COLUMNS,
    tables.ENGINE_METRICS_CSV: tables.ENGINE_METRIC_COLUMNS,
    tables.HOST_METRICS_CSV: tables.HOST_METRIC_COLUMNS,
}


def names() -> list[str]:
    """All of them, one kind and name per line."""
    return sorted({*_commands(), *_run_folder(), *_locustfile(), *_scenario()})


def _commands() -> Iterator[str]:
    for command, parser in _leaves(_parser(), ()):
        yield f"command {' '.join(command)}"
        for action in parser._actions:
            for option in action.option_strings:
                if option.startswith("--"):
                    yield f"command {' '.join(command)} {option}"
    for code in Exit:
        yield f"exit code {code.value} {code.name}"


def _leaves(
    parser: argparse.ArgumentParser, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield path, parser
    for group in groups:
        for name, each in group.choices.items():
            yield from _leaves(each, (*path, name))


def _run_folder() -> Iterator[str]:
    for table, columns in _TABLES.items():
        for column in columns:
            yield f"run folder {table} {column.name}"
    for file, record in ((tables.MANIFEST_JSON, Manifest), (tables.SUMMARY_JSON, Summary)):
        for field in record.__struct_fields__:
            yield f"run folder {file} {field}"
    for metric in METRICS:
        yield f"metric {metric.name}"


def _locustfile() -> Iterator[str]:
    for owner in (LLMUser, Session):
        for name in vars(owner):
            if not name.startswith("_") and name not in _NOT_FOR_LOCUSTFILES:
                yield f"locustfile {owner.__name__}.{name}"
    for record in (Answer, Prompt):
        for name in record.__dataclass_fields__:
            yield f"locustfile {record.__name__}.{name}"


def _scenario() -> Iterator[str]:
    inner = scenario_tables()
    for key in Scenario.model_fields:
        yield f"scenario {key}"
    for table, model in inner.items():
        for key in model.model_fields:
            yield f"scenario {table}.{key}"
    for key in EngineSpec.model_fields:
        yield f"engine description {key}"


if __name__ == "__main__":
    FILE.write_text("\n".join(names()) + "\n", "utf-8")
