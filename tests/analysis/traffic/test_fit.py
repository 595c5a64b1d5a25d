"""A synthetic workload's figures, fitted to recorded traffic."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from tokenswarm.analysis.traffic.columns import collect
from tokenswarm.analysis.traffic.fit import NEAR, fit, fit_law

from tokenswarm.scenario.distribution import Distribution
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.traces.request import TraceRequest
from tokenswarm.workloads.corpus import load_corpus
from tokenswarm.workloads.sample_requests import sample_requests


def _drawn(law: dict[str, object] | float, count: int = 4000) -> np.ndarray:
    rng, distribution = Random(1), Distribution.model_validate(law)
    return np.array([distribution.sample(rng) for _ in range(count)])


@pytest.mark.parametrize(
    "law",
    [
        {"kind": "lognormal", "mean": 300.0, "cv": 1.2},
        {"kind": "lognormal", "mean": 20.0, "cv": 0.1},
        {"kind": "exponential", "mean": 5.0},
    ],
)
def test_a_law_is_found_again(law: dict[str, object]) -> None:
    fitted = fit_law(_drawn(law))
    assert fitted is not None and isinstance(fitted.law, dict)
    assert fitted.law["kind"] == law["kind"] and fitted.distance <= NEAR
    assert fitted.law["mean"] == pytest.approx(law["mean"], rel=0.1)


def test_equal_values_are_a_constant() -> None:
    fitted = fit_law(np.array([7.0, 7.0, np.nan]))
    assert fitted is not None and fitted.law == 7.0 and fitted.of == 2


def test_what_follows_no_law_becomes_a_list_of_quantiles_that_is_near() -> None:
    two_kinds = np.concatenate(
        (
            _drawn({"kind": "lognormal", "mean": 20.0, "cv": 0.2}),
            _drawn({"kind": "lognormal", "mean": 4000.0, "cv": 0.3}),
        )
    )
    fitted = fit_law(two_kinds)
    assert fitted is not None and isinstance(fitted.law, dict) and fitted.law["kind"] == "choice"
    assert fitted.distance <= NEAR
    again = _drawn(fitted.law)
    assert np.median(again > 400) == np.median(two_kinds > 400) or abs((again > 400).mean() - 0.5) < 0.03


def test_nothing_known_is_nothing() -> None:
    assert fit_law(np.array([np.nan])) is None


def test_a_synthetic_workload_is_found_again_from_its_prompts_alone() -> None:
    scenario = load_scenario(
        "synthetic",
        {
            "prompts.chars_per_token": "4",
            "load.rate": "5",
            "synthetic.beginnings": "30",
            "synthetic.zipf_s": "1.2",
            "synthetic.beginning_tokens": "200",
            "synthetic.with_beginning": "0.7",
            "synthetic.turns": "3",
            "synthetic.first_tokens": "100",
            "synthetic.later_tokens": "40",
            "synthetic.answer_tokens": "50",
        },
    )
    fitted = fit(collect(sample_requests(scenario, load_corpus(), 1500)))
    assert fitted.arrivals is not None and fitted.arrivals.law == "poisson"
    assert fitted.arrivals.rate == pytest.approx(5, rel=0.1)
    assert fitted.beginnings is not None
    assert fitted.beginnings.share == pytest.approx(0.7, abs=0.06)
    assert fitted.later_tokens is not None
    assert np.median(_drawn(fitted.later_tokens.law)) == pytest.approx(40, abs=12)  # with the names of roles
    uses = sum(each.share for each in fitted.beginnings.popular)
    assert 0.5 < uses <= fitted.beginnings.share
    assert all(each.tokens == pytest.approx(200, rel=0.2) for each in fitted.beginnings.popular)
    assert not fitted.inferred


def _growing(sessions: int, named: bool) -> list[TraceRequest]:
    """Sessions of three requests, each with the blocks of the one before it and two more; all begin with block 0."""
    requests = []
    for turn in range(3):
        for session in range(sessions):
            ids = [0, *(1000 * (session + 1) + block for block in range(2 * turn + 2))]
            requests.append(
                TraceRequest(
                    time_s=10.0 * turn + 0.1 * session,
                    input_tokens=16 * len(ids) - 1,
                    output_tokens=10,
                    hash_ids=ids,
                    block_tokens=16,
                    session=str(session) if named else None,
                )
            )
            # The last block is not whole: the next request has another id in its place.
            ids[-1] = -ids[-1] if turn < 2 else ids[-1]
    return requests


@pytest.mark.parametrize("named", [True, False])
def test_sessions_are_as_recorded_or_found_by_what_prompts_begin_with(named: bool) -> None:
    fitted = fit(collect(_growing(20, named)))
    assert fitted.turns.law == 3.0
    assert fitted.inferred is not named
    assert fitted.beginnings is not None and fitted.beginnings.popular[0].share == 1.0
    assert fitted.beginnings.popular[0].tokens == 16
    assert fitted.pause_s is not None and fitted.pause_s.law == pytest.approx(9.8)


def test_requests_out_of_order_are_put_in_order() -> None:
    requests = _growing(20, True)
    assert fit(collect(requests[::-1])) == fit(collect(requests))


def test_without_any_length_there_is_nothing_to_fit() -> None:
    with pytest.raises(ValueError, match="nothing to fit"):
        fit(collect([TraceRequest(time_s=1.0)]))
