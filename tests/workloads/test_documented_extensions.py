"""The workload and the law of arrivals that docs/scenarios.md shows work as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tokenswarm import workloads
from tokenswarm.base.data_files import SCENARIOS_DIR
from tokenswarm.generator.arrivals import RateProfile, arrival_times
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.workloads.corpus import load_corpus


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    page = (SCENARIOS_DIR.parent / "docs/scenarios.md").read_text("utf-8")
    files = re.findall(r'^```python title="(.+?)"\n(.*?)^```$', page, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in files] == ["tickets.py", "pairs.py"]
    for name, text in files:
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_documented_workload_and_law_of_arrivals_work_as_written(folder: Path) -> None:
    (folder / "desk.toml").write_text(
        'locustfile = "chat.py"\nworkload = "./tickets.py:Tickets"\n[load]\nrate = 2.0\n'
        'arrivals = "./pairs.py"\n[tickets]\nquestions = 2\n'
    )
    scenario = load_scenario(str(folder / "desk.toml"))
    session = workloads.create(scenario, load_corpus(), 1, "").session("measure", 0)
    assert [prompt.turn for prompt in session] == [1, 2]
    times = arrival_times(scenario.load.arrivals, RateProfile.steady(scenario.load.rate), 1)
    assert [next(times) for _ in range(3)] == [0.0, 1.0, 1.0]
