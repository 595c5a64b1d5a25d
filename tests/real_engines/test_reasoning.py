"""Reasoning text of real engines: in which field it comes, and how it ends."""

from __future__ import annotations

from tests.real_engines.real import Server, token_id

# At this bias about one token in twenty of a random model is </think>.
BIAS = 5.5
MAX_TOKENS = 120


def test_reasoning_comes_in_the_field_that_the_description_names(reasoner: Server) -> None:
    channel = reasoner.engine.description.reasoning_field
    stream = reasoner.stream("Think.", max_tokens=30)
    assert stream.texts(channel)
    assert stream.texts("content") == []
    assert stream.usage["completion_tokens"] == 30


def test_the_answer_begins_after_the_closing_tag(reasoner: Server) -> None:
    channel = reasoner.engine.description.reasoning_field
    bias = {str(token_id("</think>")): BIAS}
    complete = 0
    for seed in range(6):
        stream = reasoner.stream("Think.", max_tokens=MAX_TOKENS, logit_bias=bias, temperature=1, seed=seed)
        deltas = [choice["delta"] for event in stream.events for choice in event["choices"]]
        thought = [index for index, delta in enumerate(deltas) if delta.get(channel)]
        answered = [index for index, delta in enumerate(deltas) if delta.get("content")]
        assert max(thought, default=-1) <= min(answered, default=len(deltas))
        assert "</think>" not in "".join(stream.texts(channel))
        complete += bool(thought and answered)
    assert complete >= 3  # by chance the tag may be the very first token, and then nothing was thought


def test_effective_reasoning_parser_has_its_canonical_name(reasoner: Server) -> None:
    assert reasoner.engine.effective["reasoning_parser"] == "deepseek_r1"
