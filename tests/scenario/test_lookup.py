"""Where the user's scenarios, engines and locustfiles are looked up, and which one is used."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tokenswarm import cli
from tokenswarm.base.data_files import ENGINES_DIR, LOCUSTFILES_DIR, SCENARIOS_DIR
from tokenswarm.base.errors import UserError
from tokenswarm.base.lookup import ENDPOINTS, ENGINES, LOCUSTFILES, SCENARIOS, FileKind
from tokenswarm.engines import known_engines, load_description
from tokenswarm.scenario.loading import load_scenario, scenario_names
from tokenswarm.scenario.slo_tiers import FILES as TIERS
from tokenswarm.series.space import SPACES

SCENARIO = 'title = "{title}"\nlocustfile = "rag.py"\nworkload = "rag"\n'


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A working folder and a configuration folder, both empty."""
    working, configuration = tmp_path / "work", tmp_path / "config" / "tokenswarm"
    working.mkdir()
    configuration.mkdir(parents=True)
    monkeypatch.chdir(working)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(configuration.parent))
    return working, configuration


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_from_an_empty_folder_everything_that_comes_with_tokenswarm_is_there(places: tuple[Path, Path]) -> None:
    assert {"rag", "chat", "batch", "reasoning"} <= set(scenario_names())
    assert SCENARIOS.find("rag") == SCENARIOS_DIR / "rag.toml"
    assert ENGINES.find("vllm") == ENGINES_DIR / "vllm.toml"
    assert LOCUSTFILES.find("rag.py") == LOCUSTFILES_DIR / "rag.py"


def test_the_working_folder_goes_first_then_the_configuration_folder_then_the_package(
    places: tuple[Path, Path],
) -> None:
    working, configuration = places
    assert load_scenario("rag").title != "mine"
    put(configuration / "scenarios/rag.toml", SCENARIO.format(title="configured"))
    assert load_scenario("rag").title == "configured"
    put(working / "scenarios/rag.toml", SCENARIO.format(title="mine"))
    assert load_scenario("rag").title == "mine"
    assert scenario_names().count("rag") == 1


def test_a_path_means_that_file_whatever_the_names(places: tuple[Path, Path]) -> None:
    working, _ = places
    put(working / "scenarios/rag.toml", SCENARIO.format(title="by name"))
    put(working / "elsewhere/rag.toml", SCENARIO.format(title="by path"))
    put(working / "here.toml", SCENARIO.format(title="here"))
    assert load_scenario("elsewhere/rag.toml").title == "by path"
    assert load_scenario("here.toml").title == "here"
    assert load_scenario("rag.toml").title == "by name"
    with pytest.raises(UserError, match=r"there is no scenario file elsewhere/none\.toml"):
        load_scenario("elsewhere/none.toml")


def test_an_error_says_which_file_of_that_name_is_meant(places: tuple[Path, Path]) -> None:
    path = put(places[0] / "scenarios/rag.toml", SCENARIO.format(title="mine") + "[load]\nusers = 0\n")
    with pytest.raises(UserError) as caught:
        load_scenario("rag")
    assert str(caught.value).startswith(f"{path}: load.users is 0")


def test_the_list_of_scenarios_shows_the_user_s_with_their_file_and_survives_a_broken_one(
    places: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")  # of the shell; what is not a terminal gets whole lines
    path = put(places[0] / "scenarios/legal.toml", SCENARIO.format(title="Legal questions"))
    put(places[1] / "scenarios/broken.toml", "load = [\n")
    assert cli.main(["scenarios"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "Legal questions" in lines["legal"] and str(path) in lines["legal"]
    assert "cannot be used" in lines["broken"] and "is not valid TOML" in lines["broken"]
    assert "scenarios" not in lines["chat"]


@pytest.mark.parametrize("columns", [80, 100])
def test_a_terminal_shows_users_duration_and_objectives_of_each_scenario_within_its_width(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert cli.main(["scenarios"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= columns
    assert "32 users, 30 s" in out and "ttft_p95_ms 500, tpot_p95_ms 50, error_rate 0.01" in out
    assert "20 req/s, 90 s" in out


def test_a_locustfile_is_found_beside_the_scenario_then_in_the_places(places: tuple[Path, Path]) -> None:
    working, configuration = places
    scenario = put(working / "my/support.toml", SCENARIO.format(title="").replace("rag.py", "support.py"))
    with pytest.raises(UserError, match=r"unknown locustfile 'support' \(known: agent, .*; looked in .*/my, "):
        load_scenario(str(scenario))
    for path in (
        configuration / "locustfiles/support.py",
        working / "locustfiles/support.py",
        working / "my/support.py",
    ):
        put(path, "")
        assert load_scenario(str(scenario)).locustfile_path == path


def test_an_engine_of_the_user_s_is_known_listed_and_started_by_its_name(
    places: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ENGINES_DIR / "vllm.toml").read_text("utf-8").replace('title = "vLLM"', 'title = "Our vLLM"', 1)
    path = put(places[0] / "engines/ours.toml", text)
    assert "ours" in known_engines() and load_description("ours").title == "Our vLLM"
    assert load_description("engines/ours.toml").name == "ours"
    assert load_scenario("rag", {"engine.ours.block-size": "32"}).engine.own("ours") == {"block-size": 32}
    assert cli.main(["engine", "list"]) == 0
    assert f"({path})" in next(line for line in capsys.readouterr().out.splitlines() if line.startswith("ours"))
    assert cli.main(["engine", "flags", "--engine", "./engines/ours.toml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_engines_are_listed_whatever_broken_ones_lie_beside_them(
    places: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    put(places[0] / "engines/broken.toml", "x = [\n")
    assert cli.main(["engine", "list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert {"vllm", "sglang", "sim"} <= lines.keys() and "cannot be used" in lines["broken"]


def test_an_engine_s_file_name_must_be_a_name(places: tuple[Path, Path]) -> None:
    put(places[0] / "engines/My Engine.toml", "")
    with pytest.raises(UserError, match="named after its file"):
        load_description("engines/My Engine.toml")


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        (SCENARIOS, "rga", "unknown scenario 'rga', did you mean 'rag'?"),
        (ENGINES, "vlm", "unknown engine 'vlm', did you mean 'vllm'?"),
        (ENGINES, "VLLM", "unknown engine 'VLLM', did you mean 'vllm'?"),
        (LOCUSTFILES, "chta.py", "unknown locustfile 'chta', did you mean 'chat'?"),
        (ENDPOINTS, "openia", "unknown endpoint 'openia', did you mean 'openai'?"),
        (SPACES, "vlm", "unknown space of settings 'vlm', did you mean 'vllm'?"),
        (TIERS, "mlpref", "unknown file of tiers 'mlpref', did you mean 'mlperf'?"),
    ],
)
def test_a_name_that_is_not_there_is_answered_with_a_near_one_and_where_it_was_looked_for(
    places: tuple[Path, Path], kind: FileKind, name: str, hint: str
) -> None:
    sentence = kind.missing(name)
    assert sentence.startswith(hint)
    assert f"looked in ./{kind.folder}, {places[1] / kind.folder} and what comes with tokenswarm" in sentence


def test_a_path_that_is_not_there_is_answered_with_the_folders_that_it_counts_from(places: tuple[Path, Path]) -> None:
    working, _ = places
    assert ENGINES.missing("mine/e.toml") == f"there is no engine file mine/e.toml in {working}"
    assert TIERS.missing("mine/t.toml") == f"there is no file of tiers mine/t.toml in {working}"
    assert LOCUSTFILES.missing("sub/u.py", beside=[Path("/x")]) == f"there is no locustfile sub/u.py in /x or {working}"
    assert SCENARIOS.missing("/abs/s.toml") == "there is no scenario file /abs/s.toml"
