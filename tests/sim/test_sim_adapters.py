"""Adapters on the simulator: named in two forms, apart in the prefix cache, and loaded on their first use."""

from __future__ import annotations

import pytest

from tokenswarm.base.config_text import parse_set
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.sim.adapter_loading import AdapterSettings, AdapterSlots
from tokenswarm.sim.api import ApiError, understand
from tokenswarm.virtual.run import run
from tokenswarm.virtual.simulated_engine import simulated
from tokenswarm.workloads.corpus import load_corpus

BODY = {"messages": [{"role": "user", "content": "Good morning, and how do you do?"}]}


def asked(model: str):
    return understand({**BODY, "model": model}, True, "base", 4096, 0, ("one", "two"))


def test_an_adapter_is_named_alone_or_behind_the_model_and_others_are_refused() -> None:
    assert [asked(name).adapter for name in ("base", "one", "base:two")] == ["", "one", "two"]
    with pytest.raises(ApiError, match="does not exist"):
        asked("three")


def test_two_adapters_share_no_prefix_and_a_prompt_keeps_its_length() -> None:
    base, one, two = (asked(name) for name in ("base", "one", "two"))
    assert len({each.prompt[:4] for each in (base, one, two)}) == 3
    assert base.prompt_tokens == one.prompt_tokens == two.prompt_tokens


def test_the_first_use_is_from_disk_and_one_that_was_pushed_out_from_memory() -> None:
    adapters = AdapterSlots(AdapterSettings(("a", "b", "c"), slots=2, load_s=0.2, swap_s=0.01))
    waits = [
        adapters.wait_s(name, now)
        for name, now in (("a", 0), ("a", 0.1), ("a", 1), ("b", 1), ("c", 2), ("a", 3), ("", 4))
    ]
    assert waits == pytest.approx([0.2, 0.1, 0, 0.2, 0.2, 0.01, 0])


def test_a_run_in_virtual_time_names_adapters_and_waits_for_their_first_use() -> None:
    scenario = load_scenario("batch", parse_set("lora.adapters=6 load.users=4 load.duration_s=8 load.warmup_s=0"))
    names = scenario.lora.names()
    rows = run(scenario, simulated("--lora-modules", *names, "--lora-load-ms", "400"), load_corpus()).rows
    seen: set[object] = set()
    first, later = [], []
    for row in sorted(rows, key=lambda row: row["sent_at"]):
        (later if row["adapter"] in seen else first).append(row["ttft_ms"])
        seen.add(row["adapter"])
    assert seen == set(range(1, 7)) and {row["status"] for row in rows} == {"ok"}
    assert min(first) >= 400 > sorted(later)[len(later) // 2]
