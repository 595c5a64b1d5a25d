"""A user's own workload: one Python file named by a scenario."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from tokenswarm import workloads
from tokenswarm.base import extensions
from tokenswarm.base.config_text import parse_set
from tokenswarm.base.errors import UserError
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.scenario.model import Scenario
from tokenswarm.workloads.base import Prompt
from tokenswarm.workloads.corpus import load_corpus

WORKLOAD = '''
from collections.abc import Iterator

from pydantic import Field

from tokenswarm.workloads import Prompt, Session, Workload, WorkloadSettings


class TicketSettings(WorkloadSettings):
    product: str = Field(default="printer", description="what does not work")
    tickets: int = Field(default=3, ge=1, description="questions of one customer")


class TicketSession(Session):
    def __init__(self, phase: str, number: int, settings: TicketSettings) -> None:
        super().__init__(phase, number)
        self._settings = settings

    def __iter__(self) -> Iterator[Prompt]:
        for turn in range(1, self._settings.tickets + 1):
            text = f"{self.conversation}: my {self._settings.product} is broken ({turn})"
            yield Prompt([{"role": "user", "content": text}], self.conversation, turn, 0, body={"top_k": turn})


class Tickets(Workload):
    """Customers with a broken thing."""

    name = "tickets"
    Settings = TicketSettings

    def session(self, phase: str, number: int) -> TicketSession:
        return TicketSession(phase, number, self.settings)
'''
SCENARIO = 'title = "Help desk"\nlocustfile = "chat.py"\nworkload = "./tickets.py"\n[load]\nusers = 2\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my").mkdir()
    (tmp_path / "my/tickets.py").write_text(WORKLOAD)
    (tmp_path / "my/desk.toml").write_text(SCENARIO)
    return tmp_path


def refused(overrides: str = "") -> str:
    with pytest.raises(UserError) as caught:
        load_scenario("my/desk.toml", parse_set(overrides))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_its_table_is_read_by_its_own_settings_and_survives_run_json(folder: Path) -> None:
    scenario = load_scenario("my/desk.toml", parse_set("tickets.product=radio"))
    assert (scenario.workload_settings.product, scenario.workload_settings.tickets) == ("radio", 3)
    assert scenario.workload == str(folder / "my/tickets.py")
    again = Scenario.from_values(json.loads(json.dumps(scenario.values())))
    assert again == scenario
    prompts = list(workloads.create(again, load_corpus(), 1, "").session("measure", 4))
    assert prompts[0].messages[0]["content"] == "measure-000004: my radio is broken (1)"


def test_what_is_wrong_in_its_table_is_refused_like_any_other(folder: Path) -> None:
    assert refused("tickets.tickets=0") == "SET: tickets.tickets is 0, but should be at least 1"
    assert refused("tickets.produkt=x").startswith("SET: [tickets]: unknown key 'produkt', did you mean 'product'?")
    assert "[chat] is a table of workload 'chat', but this scenario's workload is 'tickets'" in refused("chat.turns=3")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1", "has 0 of the kind workload"),
        ("import no_such_module", "cannot be loaded (ModuleNotFoundError: No module named 'no_such_module')"),
        (WORKLOAD.replace('"tickets"', '"load"'), "its name 'load' cannot be that of a table of its own"),
        (WORKLOAD + "\n\nclass Other(Tickets):\n    name = 'other'\n", "or name it: bad.py:tickets"),
    ],
)
def test_a_file_that_is_no_workload_is_refused_in_one_sentence(folder: Path, text: str, sentence: str) -> None:
    (folder / "my/bad.py").write_text(text)
    assert sentence in refused("workload=./my/bad.py")


def test_one_of_several_is_named_after_a_colon(folder: Path) -> None:
    (folder / "my/two.py").write_text(WORKLOAD + "\n\nclass Other(Tickets):\n    name = 'other'\n")
    assert load_scenario("my/desk.toml", parse_set("workload=two.py:Other")).workload_kind.name == "other"


def test_a_file_that_is_not_there_is_named(folder: Path) -> None:
    assert "workload is './none.py', but there is no such file" in refused("workload=./none.py")


def test_an_installed_package_brings_one_by_an_entry_point(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "packaged_tickets.py").write_text(WORKLOAD)
    monkeypatch.syspath_prepend(str(folder))
    point = EntryPoint("tickets", "packaged_tickets:Tickets", "tokenswarm.workloads")
    monkeypatch.setattr(extensions, "_entry_points", lambda group: {"tickets": point})
    scenario = load_scenario("my/desk.toml", parse_set("workload=tickets tickets.product=tap"))
    assert scenario.workload_settings.product == "tap"
    known = refused("workload=none_such")
    assert "'reasoning'" in known and " or 'tickets'" in known


def test_a_prompt_s_own_body_may_not_hold_what_tokenswarm_sets() -> None:
    assert Prompt([], "c", 1, 0, body={"top_k": 3}).body == {"top_k": 3}
    with pytest.raises(ValueError, match="the body of a prompt may not hold 'stream', which tokenswarm sets itself"):
        Prompt([], "c", 1, 0, body={"top_k": 3, "stream": False})


@pytest.mark.slow
def test_it_is_loaded_end_to_end(folder: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tokenswarm",
            "load",
            "--scenario",
            "my/desk.toml",
            "--duration",
            "3s",
            "--workers",
            "2",
            "--set",
            "load.warmup_s=1 output.max_tokens=8 tickets.tickets=2",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    (run,) = (folder / "results").iterdir()
    with (run / "requests.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows, done.stderr
    assert {row["status"] for row in rows} <= {"ok", "cancelled"} and {row["turn"] for row in rows} == {"1", "2"}
    assert json.loads((run / "run.json").read_text())["scenario"]["values"]["tickets"]["tickets"] == 2
