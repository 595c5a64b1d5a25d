"""Generated prompts: as long as asked, equal exactly where the trace's ids are, the same in every process."""

from __future__ import annotations

from random import Random

import pytest

from tokenswarm.traces.recording import RecordedRequest, Selection, ranks_among_siblings, recorded
from tokenswarm.traces.request import TraceRequest
from tokenswarm.workloads.made_prompts import Ranks, TextMaker, TokenMaker
from tokenswarm.workloads.plain_words import WORDS

BLOCK = 64


def trace(count: int = 60) -> list[RecordedRequest]:
    """Prompts of whole blocks, of a partial last one, and with an end that has no id."""
    rng, known, requests, fresh = Random(3), [[0]], [], 1
    for number in range(count):
        ids = list(rng.choice(known))
        for _ in range(rng.randrange(1, 4)):
            ids.append(fresh)
            fresh += 1
        known.append(ids[:-1])
        length = len(ids) * BLOCK - (0, rng.randrange(1, BLOCK), -rng.randrange(1, 200))[number % 3]
        requests.append(TraceRequest(time_s=float(number), input_tokens=length, hash_ids=ids, block_tokens=BLOCK))
    return [session[0] for session in recorded(requests, Selection()).sessions]


def ranks_of(requests: list[RecordedRequest]) -> Ranks:
    return Ranks(*ranks_among_siblings([[each] for each in requests]))


def common(one: object, two: object) -> int:
    pairs = zip(one, two, strict=False)  # type: ignore[call-overload]
    return next((at for at, (x, y) in enumerate(pairs) if x != y), min(len(one), len(two)))  # type: ignore[arg-type]


def shared_tokens(one: RecordedRequest, two: RecordedRequest) -> int:
    """Tokens that two prompts have in common by their ids."""
    blocks = common(one.request.hash_ids, two.request.hash_ids)
    return min(blocks * BLOCK, one.request.input_tokens or 0, two.request.input_tokens or 0)


def test_token_ids_are_as_many_as_asked_and_share_exactly_what_their_ids_share() -> None:
    requests = trace()
    ranks, maker = ranks_of(requests), TokenMaker("key", range(1000, 2000))
    prompts = [maker.ids(list(ranks.parts(each))) for each in requests]
    for each, ids in zip(requests, prompts, strict=True):
        assert len(ids) == each.request.input_tokens and set(ids) <= set(range(1000, 2000))
    for at, one in enumerate(requests):
        for other in range(at):
            assert common(prompts[at], prompts[other]) == shared_tokens(one, requests[other])


@pytest.mark.parametrize("extra", [0, 12])
def test_text_is_as_long_as_asked_and_shares_exactly_what_the_ids_share(extra: int) -> None:
    requests = trace()
    ranks, maker = ranks_of(requests), TextMaker("key", 4.0, extra)
    prompts = [maker.text(list(ranks.parts(each))) for each in requests]
    for each, text in zip(requests, prompts, strict=True):
        assert len(text) == 4 * ((each.request.input_tokens or 0) - extra)
    for at, one in enumerate(requests):
        for other in range(at):
            wanted = min(shared_tokens(one, requests[other]) * 4, len(prompts[at]), len(prompts[other]))
            # In tokens of four characters they part at the first one: only characters within it may be equal.
            assert wanted <= common(prompts[at], prompts[other]) < wanted + 4


def test_prompts_depend_on_the_key_and_on_nothing_else() -> None:
    requests = trace(9)
    ranks = ranks_of(requests)
    parts = [list(ranks.parts(each)) for each in requests]
    forth = [TextMaker("key", 4.0, 0.0).text(each) for each in parts]
    maker = TextMaker("key", 4.0, 0.0)
    assert [maker.text(each) for each in reversed(parts)] == forth[::-1]
    assert not set(forth) & {TextMaker("other", 4.0, 0.0).text(each) for each in parts}


def test_a_made_text_is_the_same_in_each_version() -> None:
    requests = trace(2)
    text = TextMaker("key", 4.0, 0.0).text(list(ranks_of(requests).parts(requests[0])))
    assert text[:60] == PINNED
    ids = TokenMaker("key", range(1000, 2000)).ids(list(ranks_of(requests).parts(requests[0])))
    assert ids[:4] == PINNED_IDS


PINNED = "Able notation deleted sequence remaining made gets then upda"
PINNED_IDS = [1960, 1451, 1354, 1247]


def test_no_two_words_have_the_same_first_four_letters() -> None:
    assert len(WORDS) == len({word[:4] for word in WORDS}) == 512
    assert all(4 <= len(word) <= 9 and word.isascii() and word.islower() for word in WORDS)
