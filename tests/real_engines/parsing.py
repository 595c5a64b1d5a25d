"""Command lines for a real engine, given to its own argument parser in its own Python."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.engines.test_flags import MAPPING
from tokenswarm.claim_checks.parser_flags import parser_command, parser_environment
from tokenswarm.engines.install_paths import EnginePaths
from tokenswarm.engines.spec.engine_spec import EngineSpec, load_description
from tokenswarm.engines.spec.flags import Placement, command
from tokenswarm.scenario.engine_settings import EngineSettings
from tokenswarm.scenario.loading import load_scenario

HERE = Path(__file__).parent
SCENARIOS = sorted(path.stem for path in (HERE.parents[1] / "scenarios").glob("*.toml"))
_ALONE = [{name: value} for name, value, *_ in MAPPING]
_TOGETHER = [
    {"tensor_parallel": 4, "data_parallel": 2, "expert_parallel": 8, "trust_remote_code": True},
    {"speculation": {"method": "eagle3", "tokens": 3, "draft_model": "some/draft"}},
    {"speculation": {"method": "mtp", "tokens": 1}, "reasoning_parser": "deepseek_v3"},
    {"chunked_prefill": True, "prefill_budget": 8192},
    {"lora": {"names": ["a", "b"], "paths": ["/a", "/b"], "max_loaded": 2, "max_rank": 16}},
]
BOGUS = "a flag that does not exist"


def _each_value(description: EngineSpec) -> list[dict[str, Any]]:
    """Every value of every setting that the description maps one by one."""
    table = []
    for name, setting in description.settings.items():
        for value in setting.choices or {}:
            if name == "speculation":
                table.append({name: {"method": value, "tokens": 2, "draft_model": "some/draft"}})
            else:
                table.append({name: value})
        table += [{name: value} for value in setting.values or {}]
    return table


def commands(engine: str) -> dict[str, list[str]]:
    """What is asked -> the command line for it: all scenarios on all devices, all settings, and a bogus flag."""
    description = load_description(engine)
    asked = {BOGUS: [*command(description, {}, Placement("m", 1)), "--there-is-no-such-flag", "1"]}
    for device in description.forms:
        for scenario in SCENARIOS:
            settings = load_scenario(scenario).engine
            asked[f"{scenario} {device}"] = command(description, settings, Placement("m", 1), device=device)
    for settings in [*_ALONE, *_TOGETHER, *_each_value(description)]:
        asked[json.dumps(settings)] = command(description, EngineSettings.model_validate(settings), Placement("m", 1))
    return asked


class ParserProcess:
    """The real parser at work in a process of its own: importing an engine takes long, so it begins early."""

    def __init__(self, engine: str, installed: EnginePaths, folder: Path) -> None:
        self._asked = commands(engine)
        self._errors = folder / "parser.err"
        lines = folder / "commands.json"
        lines.write_text(json.dumps(list(self._asked.values())), encoding="utf-8")
        with lines.open() as stdin, self._errors.open("w") as stderr:
            self._process = subprocess.Popen(
                parser_command(engine, installed),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=parser_environment(installed, folder),
            )

    def refusals(self) -> dict[str, str | None]:
        """What was asked -> what the parser said against it, None where it accepted."""
        output, _ = self._process.communicate(timeout=600)
        assert self._process.returncode == 0, self._errors.read_text(encoding="utf-8")[-3000:]
        return dict(zip(self._asked, json.loads(output.splitlines()[-1]), strict=True))

    def end(self) -> None:
        """Stop it if it still runs."""
        self._process.kill()
        self._process.wait()
