"""Tiers of limits: of a scenario, and of the files that come with tokenswarm."""

from __future__ import annotations

import pytest

from tokenswarm.base.config_text import parse_set
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.scenario.model import Scenario
from tokenswarm.scenario.slo_tiers import FILES, tiers_of


def test_a_scenarios_tiers_are_no_gates_and_no_user_class() -> None:
    scenario = load_scenario("chat", parse_set("slo.tiers.fast.ttft_p99_ms=200 slo.tiers.fast.target=0.99"))
    assert scenario.tiers == {"fast": {"ttft_p99_ms": 200.0, "target": 0.99}} and "tiers" not in scenario.slo
    assert Scenario.from_values(scenario.values()).tiers == scenario.tiers
    assert tiers_of(scenario.tiers, 0.95) == {"fast": ({"ttft_ms": 200.0}, 0.99)}


def test_mlperfs_limits_come_as_data() -> None:
    tiers = tiers_of("mlperf:llama2-70b", 0.95)
    assert tiers == {
        "llama2-70b": ({"ttft_ms": 2000.0, "tpot_ms": 200.0}, 0.99),
        "llama2-70b-interactive": ({"ttft_ms": 450.0, "tpot_ms": 40.0}, 0.99),
    }


@pytest.mark.parametrize("name", FILES.files())
def test_every_file_of_tiers_can_be_read(name: str) -> None:
    assert all(limits and 0 < target < 1 for limits, target in tiers_of(name, 0.95).values())


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("slo.tiers.fast.tftt_p99_ms=200", "bounds no latency"),
        ("slo.tiers.fast.error_rate=0.01", "bounds no latency"),
        ("slo.tiers.fast.target=0.9", "no limit on a latency"),
        ("slo.tiers=3", "name of a file"),
        ("slo.tiers.fast.ttft_p99_ms=-1", "at least 0"),
        ("slo.tiers.fast.ttft_p99_ms=1 slo.tiers.fast.target=1.5", "share above 0"),
    ],
)
def test_what_is_no_tier_is_refused_in_a_sentence(setting: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as refused:
        load_scenario("chat", parse_set(setting))
    assert refused.value.code is Exit.USAGE


def test_an_unknown_file_or_tier_is_named() -> None:
    for name in ("mlpref", "mlperf:lama"):
        with pytest.raises(UserError, match=r"mlp|lama"):
            tiers_of(name, 0.95)
