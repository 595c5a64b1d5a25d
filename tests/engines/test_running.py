"""Engines that outlive the command that started them: found again, checked, reused, stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tokenswarm.base.data_files import ENGINES_DIR
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.cli import main
from tokenswarm.engines import StartRequest, load_description, running, start_local
from tokenswarm.engines import kept as kept_engines
from tokenswarm.engines.install_paths import ROOT_VARIABLE


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """Where engines that run are written down, for this test only."""
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.fixture
def kept(root) -> Iterator[running.Running]:
    """A simulator that was left running."""
    engine = start_local(StartRequest(description=load_description("sim"), log_path=kept_engines.new_log("sim")))
    assert engine.keep()
    [found] = running.find("sim", in_containers=False)
    yield found
    running.stop(found)


def pids(found: running.Running) -> bool:
    return psutil.pid_exists(int(found.id)) and psutil.Process(int(found.id)).status() != psutil.STATUS_ZOMBIE


def test_an_engine_that_was_left_running_is_found_taken_over_and_stopped(kept, root, capsys) -> None:
    assert running.find("sim", in_containers=False) == [kept]
    assert running.find("vllm", in_containers=False) == []
    taken = running.take(kept)
    assert (taken.name, taken.model, taken.runtime, taken.is_alive()) == ("sim", "sim-8b", "local", True)
    taken.stop()  # somebody else's: it stays
    assert pids(kept)
    assert "listening on" in "\n".join(running.log_lines(kept, 5))

    fits = running.find_matching(load_description("sim"), "sim-8b", {"max_num_seqs": 256, "seed": 0}, None)
    assert fits.base_url == kept.base_url
    with pytest.raises(UserError, match="max_num_seqs is 256, wanted 7") as raised:
        running.find_matching(load_description("sim"), None, {"max_num_seqs": 7}, None)
    assert raised.value.code is Exit.ENGINE
    with pytest.raises(UserError, match="its model is sim-8b, wanted other"):
        running.find_matching(load_description("sim"), "other", {}, None)

    assert main(["engine", "status", "--engine", "sim", "--json"]) == 0
    [told] = json.loads(capsys.readouterr().out)
    assert (told["engine"], told["state"], told["url"]) == ("sim", "ready", kept.base_url)
    assert main(["engine", "up", "--engine", "sim"]) == Exit.ENGINE
    assert "already running" in capsys.readouterr().err
    assert main(["engine", "down", "--engine", "sim"]) == 0
    assert not pids(kept)
    assert running.find("sim", in_containers=False) == []


def test_a_process_that_got_the_same_id_later_is_not_taken_for_the_engine(kept, root) -> None:
    file = root / "running" / "sim.json"
    told = json.loads(file.read_text())
    file.write_text(json.dumps(told | {"started_at": told["started_at"] - 100}))
    assert running.find("sim", in_containers=False) == []
    running.stop(replace(kept, started_at=kept.started_at - 100))
    assert pids(kept)


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"engine": 3}', "\x00"])
def test_a_damaged_note_is_forgotten(root, content) -> None:
    file = root / "running" / "sim.json"
    file.parent.mkdir()
    file.write_text(content)
    assert running.find(in_containers=False) == []
    assert not file.exists()


@pytest.mark.parametrize(
    ("wanted", "effective", "found"),
    [
        ({"context_length": 8192}, {"context_length": 8192}, []),
        ({"context_length": 8192}, {"context_length": 4096}, ["context_length is 4096, wanted 8192"]),
        ({"prefix_cache": True}, {"prefix_cache": False}, ["prefix_cache is false, wanted true"]),
        ({"memory_fraction": 0.9}, {"memory_fraction": 0.90000001}, []),
        ({"dtype": "auto"}, {"dtype": "bfloat16"}, []),
        ({"kv_cache_dtype": "fp8"}, {"kv_cache_dtype": "auto"}, []),
        ({"seed": 1}, {}, []),
        ({"quantization": "fp8"}, {"quantization": "none"}, ["quantization is none, wanted fp8"]),
    ],
)
def test_misfits_name_what_the_engine_tells_otherwise(wanted, effective, found) -> None:
    assert running.mismatches(wanted, effective) == found


def test_flags_prints_the_command_that_would_be_run(capsys) -> None:
    assert main(["engine", "flags", "--engine", "sglang", "--scenario", "rag", "--model", "a b", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["command"][1:5] == ["-m", "sglang.launch_server", "--model-path", "a b"]
    assert main(["engine", "flags", "--engine", "sglang", "--scenario", "rag", "--model", "a b"]) == 0
    assert "--model-path 'a b' --served-model-name 'a b'" in capsys.readouterr().out
    assert main(["engine", "flags", "--engine", "nope"]) == Exit.USAGE
    assert main(["engine", "flags", "--engine", "trtllm", "--model", "m", "--set", "engine.seed=1"]) == Exit.USAGE
    assert "cannot honour engine.seed" in capsys.readouterr().err


def test_diff_says_where_a_setting_comes_from(capsys) -> None:
    assert main(["engine", "diff", "--scenario", "rag", "--set", "engine.prefill_budget=4096", "--json"]) == 0
    rows = {row["setting"]: row for row in json.loads(capsys.readouterr().out)["settings"]}
    assert rows["prefill_budget"]["from"] == "SET"
    assert rows["context_length"]["from"] == "scenario"
    assert rows["prefill_budget"]["vllm"]["args"] == ["--max-num-batched-tokens", "4096"]
    assert rows["prefill_budget"]["sglang"]["args"] == ["--max-prefill-tokens", "4096"]


@pytest.mark.parametrize("by_path", [True, False])
def test_an_engine_of_a_description_outside_the_looked_into_folders_is_stopped(
    by_path: bool, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "elsewhere" / "mine.toml"
    path.parent.mkdir()
    path.write_text((ENGINES_DIR / "sim.toml").read_text())
    engine = start_local(StartRequest(description=load_description(str(path)), log_path=kept_engines.new_log("mine")))
    assert engine.keep()
    [found] = running.find(str(path), in_containers=False)
    assert (found.engine, running.find("sim", in_containers=False)) == ("mine", [])
    assert main(["engine", "down", *(["--engine", str(path)] if by_path else [])]) == 0
    assert not pids(found) and "mine" in capsys.readouterr().out
    with pytest.raises(UserError, match="there is no engine file"):
        running.find("./no/such.toml", in_containers=False)
