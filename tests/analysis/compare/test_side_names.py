"""The sides of a comparison are named after what differs."""

from __future__ import annotations

from typing import Any

import pytest
from tokenswarm.analysis.compare.side_names import side_names

from tokenswarm.contract.manifest import LoadRecord
from tokenswarm.contract.summary.summary_record import Summary


def side(engine: str = "vLLM", port: int = 1, **more: Any) -> Summary:
    summary = Summary()
    summary.run.engine.title, summary.run.engine.version = engine, "1"
    summary.run.engine.base_url = f"http://127.0.0.1:{port}"
    for name, value in more.items():
        setattr(summary.run, name, value)
    return summary


@pytest.mark.parametrize(
    ("a", "b", "names"),
    [
        (side(), side("SGLang"), ("vLLM", "SGLang")),
        (side(model="m"), side(model="n"), ("m", "n")),
        (side(label="before"), side(label="after"), ("before", "after")),
        (
            side(overrides={"engine.prefix_cache": "true", "prompts.seed": "1"}),
            side(overrides={"engine.prefix_cache": "false", "prompts.seed": "2"}),
            ("prefix_cache=true", "prefix_cache=false"),
        ),
        (side(overrides={"rag.documents": "3"}), side(), ("rag.documents=3", "rag.documents=unset")),
        (
            side(effective=dict.fromkeys("abcde", 1)),
            side(effective=dict.fromkeys("abcde", 2)),
            ("a=1 b=1 c=1 and 2 more", "a=2 b=2 c=2 and 2 more"),
        ),
        (side(load=LoadRecord(users=8)), side(load=LoadRecord(users=16)), ("users=8", "users=16")),
        (side(port=40001), side(port=40002), ("vLLM (1)", "vLLM (2)")),
    ],
)
def test_the_first_thing_that_differs_gives_the_names(a: Summary, b: Summary, names: tuple[str, str]) -> None:
    assert side_names(a, b) == names


def test_servers_of_two_machines_go_by_their_hosts() -> None:
    a, b = side(), side()
    a.run.engine.base_url, b.run.engine.base_url = "http://gpu-1:8000", "http://gpu-2:8000"
    assert side_names(a, b) == ("gpu-1", "gpu-2")
