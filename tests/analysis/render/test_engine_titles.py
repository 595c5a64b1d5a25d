"""Every page uses the engine's title, else its name, and says so if neither is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tokenswarm.analysis.capacity_files import compare_capacities
from tokenswarm.analysis.compare.side_names import engine_name
from tokenswarm.analysis.library.entries import read_entry
from tokenswarm.analysis.render.capacity_page import capacity_markdown, render_capacity
from tokenswarm.analysis.render.page import head
from tokenswarm.analysis.render.tune_page import render_tune, tune_markdown

from tokenswarm.contract.capacity_record import Capacity, CapacityLevel, write_capacity
from tokenswarm.contract.manifest import EngineRecord
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.tune_record import Tune
from tokenswarm.generator.ui_session import UiSession
from tokenswarm.ui.series_form import offered


def _run(title: str | None, name: str | None) -> Summary:
    summary = Summary()
    summary.run.engine.title, summary.run.engine.name = title, name
    return summary


def _tab(title: str | None, name: str | None) -> str:
    session = UiSession(EngineRecord(name=name, title=title), "m", scenario="", scenarios=[], results="", corpus=None)
    return str(offered(session)["this"])


def _capacity(title: str | None, name: str | None) -> Capacity:
    return Capacity(engine=name or "", engine_title=title or "", scenario="s", levels=[CapacityLevel(load=1.0)])


def _tune(title: str | None, name: str | None) -> Tune:
    return Tune(engine=name or "", engine_title=title or "", scenario="s")


@pytest.mark.parametrize(
    ("title", "name", "called"),
    [("vLLM", "vllm", "vLLM"), (None, "vllm", "vllm"), ("", "vllm", "vllm"), (None, None, "engine not known")],
)
@pytest.mark.parametrize(
    "shown",
    [
        lambda title, name: engine_name(_run(title, name)),
        lambda title, name: str(head(_run(title, name))["engine"]),
        lambda title, name: _run(title, name).run.engine.with_version,
        lambda title, name: _tab(title, name) or "engine not known",
        lambda title, name: render_capacity(_capacity(title, name)),
        lambda title, name: capacity_markdown(_capacity(title, name)),
        lambda title, name: render_tune(_tune(title, name)),
        lambda title, name: tune_markdown(_tune(title, name)),
    ],
    ids=["comparison", "page", "with version", "tab", "capacity", "capacity.md", "tune", "tune.md"],
)
def test_an_engine_is_called_the_same_everywhere(
    title: str | None, name: str | None, called: str, shown: Callable[[str | None, str | None], str]
) -> None:
    text = shown(title, name)
    assert called in text
    if name and called != name:
        assert f"{name} · s" not in text and f"of {name} " not in text


def test_a_list_of_results_and_two_capacities_have_the_title_too(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("capacity-1", "capacity-2")]
    for folder, (title, name) in zip(folders, (("vLLM", "vllm"), ("SGLang", "sglang")), strict=True):
        folder.mkdir()
        write_capacity(folder, _capacity(title, name))
    entry = read_entry(folders[0], "capacity-1")
    assert entry is not None and (entry.engine, entry.engine_name) == ("vLLM", "vllm")
    document, _ = compare_capacities(folders, (None, None), tmp_path / "compared")
    assert [document[side]["name"] for side in ("a", "b")] == ["vLLM", "SGLang"]
