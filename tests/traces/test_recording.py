"""Which part of a trace is replayed, and when."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator
from random import Random

import pytest

from tokenswarm.traces.recording import (
    Recording,
    Selection,
    StartedLater,
    ranks_among_siblings,
    recorded,
    recorded_while_read,
)
from tokenswarm.traces.request import TraceRequest


def request(at_s: float | None, session: str | None = None, **more: object) -> TraceRequest:
    return TraceRequest(time_s=at_s, session=session, **{"input_tokens": 100, "output_tokens": 10} | more)


def times(recording: Recording) -> list[list[float | None]]:
    return [[each.at_s for each in session] for session in recording.sessions]


def of(requests: Iterable[TraceRequest], **selection: object) -> Recording:
    return recorded(requests, Selection(**selection))  # type: ignore[arg-type]


def test_times_count_from_the_first_request_and_sessions_keep_together() -> None:
    recording = of([request(100.0, "a"), request(101.0), request(103.0, "a")])
    assert times(recording) == [[0.0, 3.0], [1.0]]
    assert recording.span_s == 3.0 and recording.starts() == (0.0, 1.0)


def test_a_trace_out_of_order_is_put_in_order_and_counted() -> None:
    recording = of([request(5.0), request(1.0), request(3.0)])
    assert times(recording) == [[0.0], [2.0], [4.0]]
    assert recording.leftovers.out_of_order == 1
    with pytest.raises(ValueError, match="begin without a time"):
        of([request(5.0), request(1.0), request(None)])


def test_sessions_out_of_order_keep_their_turns_that_have_a_pause_and_no_time() -> None:
    recording = of([request(5.0, "a"), request(None, "a", delay_s=1.0), request(1.0, "b"), request(None, "b")])
    assert times(recording) == [[0.0, None], [4.0, None]]
    assert [session[0].request.session for session in recording.sessions] == ["b", "a"]
    assert recording.leftovers.out_of_order == 1


def test_speed_divides_times_and_pauses_and_a_rate_stretches_them() -> None:
    requests = [request(0.0, "a"), request(10.0, "a", delay_s=4.0), request(20.0)]
    fast = of(requests, speed=2.0)
    assert times(fast) == [[0.0, 5.0], [10.0]] and fast.sessions[0][1].delay_s == 2.0
    assert times(of(requests, rate=0.3)) == [[0.0, 5.0], [10.0]]  # 3 requests in 10 s


def test_long_silences_are_cut_and_all_else_stays_as_far_apart() -> None:
    recording = of([request(0.0), request(2.0), request(502.0), request(503.0)], idle_gap_max_s=10.0)
    assert times(recording) == [[0.0], [2.0], [12.0], [13.0]]


def test_a_window_takes_what_lies_in_it_and_counts_the_rest() -> None:
    recording = of([request(float(n)) for n in range(10)], window_start_s=3.0, window_end_s=6.0)
    assert times(recording) == [[0.0], [1.0], [2.0]]
    assert recording.leftovers.outside_window == 7


def test_a_sample_takes_whole_sessions_and_the_same_ones_each_time() -> None:
    requests = [request(float(n), f"s{n % 100}") for n in range(400)]
    recording = of(requests, sample=0.3, seed=4)
    assert all(len(session) == 4 for session in recording.sessions)
    assert 15 <= len(recording.sessions) <= 45
    assert times(recording) == times(of(requests, sample=0.3, seed=4)) != times(of(requests, sample=0.3, seed=5))


def test_lengths_are_scaled_by_blocks_so_that_equal_ids_stay_equal_text() -> None:
    requests = [
        request(0.0, input_tokens=40, hash_ids=[1, 2, 3], block_tokens=16),
        request(1.0, input_tokens=32, hash_ids=[1, 2], block_tokens=16),
    ]
    one, two = (session[0].request for session in of(requests, input_scale=0.5, output_scale=3.0).sessions)
    assert (one.input_tokens, one.block_tokens, one.output_tokens) == (20, 8, 30)
    assert (two.input_tokens, two.block_tokens) == (16, 8)
    with pytest.raises(ValueError, match="has their text"):
        of([request(0.0, messages=[{"role": "user", "content": "x"}])], input_scale=2.0)


@pytest.mark.parametrize(
    ("too_long", "lengths"), [("leave_out", [(40, 5)]), ("send", [(40, 5), (90, 30)]), ("cut", [(40, 5), (70, 30)])]
)
def test_what_does_not_fit_into_the_context_is_counted_and_dealt_with_as_asked(
    too_long: str, lengths: list[tuple[int, int]]
) -> None:
    recording = of(
        [
            request(0.0, input_tokens=40, output_tokens=5),
            request(1.0, input_tokens=90, output_tokens=30, hash_ids=[1, 2], block_tokens=64),
        ],
        context_tokens=100,
        too_long=too_long,
    )
    found = [session[0].request for session in recording.sessions]
    assert [(each.input_tokens, each.output_tokens) for each in found] == lengths
    assert recording.leftovers.too_long == 1
    assert [each.request.input_tokens for each in recording.left_out] == ([90] if too_long == "leave_out" else [])
    uncut = [session[0].uncut for session in recording.sessions]
    assert [each.input_tokens for each in uncut if each is not None] == ([90] if too_long == "cut" else [])


def test_text_whose_length_is_not_on_record_is_held_against_the_context_by_an_estimate() -> None:
    texts = ["word " * 100, "word " * 10]
    requests = [
        request(float(n), input_tokens=None, messages=[{"role": "user", "content": text}])
        for n, text in enumerate(texts)
    ]
    recording = of(requests, context_tokens=100)
    assert recording.requests == 1 and (recording.leftovers.too_long, recording.leftovers.estimated) == (1, 1)
    with pytest.raises(ValueError, match='use "leave_out" or "send"'):
        of(requests, context_tokens=100, too_long="cut")


def test_what_was_left_out_keeps_its_time_among_the_others() -> None:
    requests = [request(0.0), request(300.0, input_tokens=900), request(400.0), request(401.0)]
    recording = of(requests, context_tokens=500, idle_gap_max_s=10.0, speed=2.0)
    assert times(recording) == [[0.0], [5.0], [5.5]]
    assert recording.left_out[0].at_s == 150.0


@pytest.mark.parametrize(
    ("requests", "said"),
    [
        ([request(0.0, hash_ids=[1], block_tokens=512), request(1.0, hash_ids=[2], block_tokens=64)], "two sizes"),
        (
            [
                request(0.0, input_tokens=20, hash_ids=[1, 2], block_tokens=16),
                request(1.0, input_tokens=40, hash_ids=[1, 2, 3], block_tokens=16),
            ],
            "stands for 4 and for 16 tokens",
        ),
    ],
)
def test_a_trace_whose_blocks_contradict_themselves_is_refused(requests: list[TraceRequest], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        of(requests)


def test_sessions_of_their_own_ids_may_have_blocks_of_their_own() -> None:
    assert (
        of(
            [
                request(0.0, scope="a", hash_ids=[1], block_tokens=512),
                request(1.0, scope="b", hash_ids=[1], block_tokens=128),
            ]
        ).requests
        == 2
    )


def test_a_request_without_text_and_length_is_counted_and_left_out() -> None:
    recording = of([request(0.0, input_tokens=None), request(1.0)])
    assert recording.requests == 1 and recording.leftovers.without_lengths == len(recording.left_out) == 1


def test_what_begins_at_the_same_place_has_different_ranks() -> None:
    recording = of(
        [
            request(0.0, input_tokens=48, hash_ids=[7, 8, 9], block_tokens=16),
            request(1.0, input_tokens=48, hash_ids=[7, 8, 3], block_tokens=16),
            request(2.0, input_tokens=40, hash_ids=[7, 8], block_tokens=16),
            request(3.0, input_tokens=40),
        ]
    )
    ranks, ends = ranks_among_siblings(recording.sessions)
    assert ranks == {("", 7): 0, ("", 8): 0, ("", 9): 0, ("", 3): 1}
    assert ends == {2: 2, 3: 1}


def test_a_sub_agent_is_in_the_session_that_waits_for_it_at_its_place() -> None:
    recording = of(
        [
            request(None, "a", root="a"),
            request(None, "a/sub", root="a"),
            request(None, "a", root="a"),
            request(None, "b", root="b"),
        ]
    )
    assert [[each.place for each in session] for session in recording.sessions] == [[0, 1, 2], [3]]
    assert not recording.timed


def drawn(seed: int) -> list[TraceRequest]:
    """Sessions of several turns, with and without times of their own, sub-agents, and single requests, in order."""
    rng, requests, at_s = Random(seed), list[TraceRequest](), 0.0
    for number in range(300):
        at_s += rng.expovariate(1.0)
        name = rng.choice([None, f"s{rng.randrange(40)}"])
        later = name is not None and any(each.session == name for each in requests) and rng.random() < 0.4
        requests.append(
            request(None if later else at_s, name, delay_s=1.0 if later else None, input_tokens=10 + number)
        )
    return requests


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "selection",
    [
        {},
        {"sample": 0.3},
        {"window_start_s": 40.0, "window_end_s": 160.0},
        {"window_start_s": 100.0, "sample": 0.5, "speed": 2.0, "idle_gap_max_s": 1.0},
        {"window_end_s": 50.0, "rate": 3.0},
    ],
)
def test_what_is_taken_while_a_trace_is_read_is_what_is_taken_of_the_whole(seed: int, selection: dict) -> None:
    whole, read = of(drawn(seed), **selection), recorded_while_read(drawn(seed), Selection(**selection))
    assert read.sessions == whole.sessions and read.leftovers == whole.leftovers
    assert read.requests > 0 and (read.requests < 300) is bool(selection)


def test_a_window_of_a_trace_whose_first_request_is_not_the_earliest_is_not_told_while_it_is_read() -> None:
    with pytest.raises(StartedLater):
        recorded_while_read([request(5.0), request(1.0)], Selection(window_end_s=2.0))
    with pytest.raises(StartedLater):
        recorded_while_read([request(None, "a")], Selection(window_end_s=2.0))
    assert recorded_while_read([request(5.0), request(1.0)], Selection()).leftovers.out_of_order == 1


@pytest.mark.parametrize("selection", [{"sample": 0.02}, {"window_end_s": 200.0}])
def test_a_part_of_a_long_trace_takes_the_memory_of_that_part(selection: dict) -> None:
    def long() -> Iterator[TraceRequest]:
        for number in range(10_000):
            yield request(
                float(number), input_tokens=1024, hash_ids=[1000 * number, 1000 * number + 1], block_tokens=512
            )

    tracemalloc.start()
    part = recorded_while_read(long(), Selection(**selection))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 100 <= part.requests <= 300 and peak < 1_000_000, "all of it would take some 10 MB"
