"""An engine that runs already is taken by the name it tells, or by that of one described as like it."""

from __future__ import annotations

import pytest

from tokenswarm.run.engine_up import _is_like


@pytest.mark.parametrize(
    ("name", "tells", "is_it"),
    [("sim-vllm", "sim", True), ("sim-sglang", "sim", True), ("vllm", "sim", False), ("sim", "sglang", False)],
)
def test_a_profile_of_the_simulator_tells_itself_as_the_simulator(name: str, tells: str, is_it: bool) -> None:
    assert _is_like(name, tells) is is_it
