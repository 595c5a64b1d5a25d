"""What must not grow with the length of a run: Locust's statistics, and the waiting arrivals."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from random import Random

import pytest
from locust.stats import RequestStats

from tokenswarm.generator.arrivals import Pacer, RateProfile, arrival_times, share_of
from tokenswarm.generator.locust_stats import Trimmer
from tokenswarm.generator.schedule import Queue


def played(seconds: int, trimmed: bool) -> RequestStats:
    """Statistics after so many seconds of five requests each, one of which failed; trimmed every 30 s, or never."""
    stats, trimmer = RequestStats(), Trimmer()
    stats.total.start_time = 0.0
    for second in range(seconds):
        stats.total.last_request_timestamp = second + 0.5
        for entry in (stats.total, stats.get("User", "chat")):
            entry.num_requests += 5
            entry.num_reqs_per_sec[second] += 5
            entry.num_fail_per_sec[second] += 1
        if second % 5 == 0:
            stats.history.append({"time": second})
        if trimmed and second % 30 == 0:
            trimmer.trim(stats)
    return stats


def test_locust_s_counts_by_second_stay_few_and_its_rates_the_same() -> None:
    kept, flat = played(7200, trimmed=False), played(7200, trimmed=True)
    assert max(len(entry.num_reqs_per_sec) for entry in (flat.total, *flat.entries.values())) <= 91
    assert len(flat.total.num_fail_per_sec) <= 91
    assert flat.total.current_rps == kept.total.current_rps == 5
    assert flat.total.current_fail_per_sec == kept.total.current_fail_per_sec == 1
    assert flat.total.total_rps == kept.total.total_rps


def test_locust_s_history_is_thinned_out_evenly_over_the_whole_run() -> None:
    times = [point["time"] for point in played(60_000, trimmed=True).history]
    assert len(times) <= 2006
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert times[0] == 0 and times[-1] > 59_900 and min(gaps) >= 5 and max(gaps) <= 40


@pytest.mark.parametrize("law", ["poisson", "constant"])
def test_arrivals_that_wait_come_out_as_they_were_due_without_being_kept(law: str) -> None:
    def pacer() -> Pacer:
        return Pacer(share_of(arrival_times(law, RateProfile.steady(50.0), 7), 1, 3))

    leader, queue, kept, rng = pacer(), Queue(pacer(), 1000.0), deque(), Random(1)
    for number in range(3000):
        due = 1000.0 + leader.due_s(number)
        if queue.length == 0 and rng.random() < 0.5:  # somebody waits
            queue.pass_by(number)
            continue
        queue.add()
        kept.append((due, number))
        for _ in range(rng.randrange(4) if rng.random() < 0.7 else 0):
            if queue.length:
                assert queue.pop() == kept.popleft()
    while queue.length:
        assert queue.pop() == kept.popleft()
    assert not kept
