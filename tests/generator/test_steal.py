"""Steal time, which the host gave to other machines, is separate from this machine's own use."""

from __future__ import annotations

from collections import namedtuple
from types import SimpleNamespace

import pytest

from tokenswarm.generator.host_sampler import Steal

Linux = namedtuple("Linux", "user nice system idle iowait irq softirq steal guest guest_nice")


def test_the_share_of_steal_time_is_that_since_the_last_look() -> None:
    looks = iter(
        [
            Linux(10, 0, 5, 80, 0, 0, 0, 5, 3, 0),
            Linux(12, 0, 6, 85, 0, 0, 0, 7, 4, 0),
            Linux(13, 0, 6, 94, 0, 0, 0, 7, 4, 0),
            Linux(13, 0, 6, 94, 0, 0, 0, 7, 4, 0),
        ]
    )
    steal = Steal(lambda: next(looks))
    assert steal.share() == pytest.approx(0.2)
    assert steal.share() == 0.0
    assert steal.share() is None, "no time has passed"


def test_a_system_that_does_not_count_it_gives_none() -> None:
    assert Steal(lambda: SimpleNamespace(user=1.0, idle=2.0)).share() is None
