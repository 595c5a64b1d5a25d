"""What counts as a token, an end, an error, and when it arrived: the decoder of event streams."""

from __future__ import annotations

import json

import pytest

from tokenswarm.client.answer import Usage
from tokenswarm.client.refusals import error_text
from tokenswarm.client.stream import StreamDecoder, split_thinking

from .events import ROLE, decode, delta, finish, sse, stream, text_of, usage

# ---- what is a token


@pytest.mark.parametrize(
    "event",
    [
        ROLE,
        delta(role="assistant", content="", reasoning_content=None, tool_calls=None),
        delta(content=""),
        delta(content=None),
        delta(),
        delta(reasoning="", reasoning_content="", content="", tool_calls=[], refusal=""),
        delta(tool_calls=[{"index": 0, "id": "call-1", "function": {"name": "", "arguments": ""}}]),
        delta(tool_calls=[{"index": 0, "id": "call-1"}]),
        {"choices": [{"index": 0, "delta": None}]},
        {"choices": [{"index": 0, "text": ""}]},
        {"choices": []},
        usage(3, 4),
    ],
)
def test_event_without_text_is_not_a_token(event: dict) -> None:
    assert decode(sse(event)).token_stamps == []


def test_role_chunk_is_not_a_first_token() -> None:
    decoder = decode(sse(ROLE), sse(delta(content="Hi")), sse(finish()), sse("[DONE]"))
    assert decoder.token_stamps == [2]


@pytest.mark.parametrize(
    "event",
    [
        delta(content="x"),
        delta(content=" "),
        delta(content="\n\n"),
        delta(reasoning="x"),
        delta(reasoning_content="x"),
        delta(refusal="x"),
        delta(tool_calls=[{"index": 0, "function": {"name": "search"}}]),
        delta(tool_calls=[{"index": 0, "function": {"name": None, "arguments": '{"'}}]),
        {"choices": [{"index": 0, "text": "x"}]},
        finish("length", content="x"),
    ],
)
def test_non_empty_text_in_any_channel_is_a_token(event: dict) -> None:
    assert decode(sse(ROLE), sse(event)).token_stamps == [2]


def test_reasoning_means_the_same_under_both_field_names() -> None:
    vllm = decode(sse(delta(reasoning="a")), sse(delta(content="b")))
    sglang = decode(sse(delta(reasoning_content="a")), sse(delta(content="b")))
    assert vllm.reasoning == sglang.reasoning == [(1, "a")]
    assert vllm.content == sglang.content == [(2, "b")]


def test_reasoning_given_under_both_names_at_once_is_taken_once() -> None:
    assert decode(sse(delta(reasoning="a", reasoning_content="a"))).reasoning == [(1, "a")]


def test_an_event_with_reasoning_and_content_is_one_event_with_text() -> None:
    decoder = decode(sse(delta(reasoning="a", content="b")))
    assert decoder.token_stamps == [1]
    assert (text_of(decoder.reasoning), text_of(decoder.content)) == ("a", "b")


def test_several_tokens_in_one_event_are_one_chunk_and_usage_counts_them() -> None:
    decoder = decode(stream(delta(content="one two three four"), finish(), usage(5, 4)))
    assert len(decoder.token_stamps) == 1
    assert decoder.usage == Usage(5, None, 4, None)


# ---- when it arrived


def test_an_event_belongs_to_the_moment_of_its_last_byte() -> None:
    whole = sse(delta(content="Hi"))
    assert decode(whole[:20], whole[20:-1], whole[-1:]).token_stamps == [3]


def test_several_events_in_one_piece_share_its_stamp() -> None:
    decoder = decode(sse(delta(content="a")) + sse(delta(content="b")), sse(delta(content="c")))
    assert decoder.token_stamps == [1, 1, 2]


def test_a_piece_may_end_one_event_and_begin_the_next() -> None:
    first, second = sse(delta(content="a")), sse(delta(content="b"))
    decoder = decode(first[:-5], first[-5:] + second[:9], second[9:])
    assert decoder.token_stamps == [2, 3]
    assert text_of(decoder.content) == "ab"


def test_an_event_may_be_cut_anywhere_also_inside_a_character() -> None:
    whole = sse(delta(content="né漢🙂"))
    for cut in range(1, len(whole)):
        decoder = decode(whole[:cut], whole[cut:])
        assert decoder.content == [(2, "né漢🙂")]
        assert decoder.error is None


def test_a_stream_byte_by_byte_is_the_same_stream() -> None:
    whole = stream(ROLE, delta(content="né"), finish(content="漢"), usage(1, 2))
    decoder = decode(*[whole[at : at + 1] for at in range(len(whole))])
    assert text_of(decoder.content) == "né漢"
    assert (decoder.usage.completion_tokens, decoder.finish_reason, decoder.done) == (2, "stop", True)


# ---- lines and fields of server-sent events


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_each_line_end_of_the_standard_works_in_every_split(line_end: str) -> None:
    whole = b"".join(sse(event, line_end) for event in (ROLE, delta(content="a"), delta(content="b"), "[DONE]"))
    for cut in range(len(whole) + 1):
        decoder = decode(whole[:cut], whole[cut:])
        assert (text_of(decoder.content), decoder.done, decoder.error) == ("ab", True, None)


def test_mixed_line_ends_work() -> None:
    body = b'data: {"choices":[{"delta":{"content":"a"}}]}\r\n\rdata: {"choices":[{"delta":{"content":"b"}}]}\n\r\n'
    assert text_of(decode(body).content) == "ab"


def test_comments_pings_and_other_fields_carry_no_tokens() -> None:
    fields = b":\n\nevent: message\nid: 7\nretry: 3000\n"
    decoder = decode(b": ping\n\n", fields + sse(delta(content="a")), b"event: x\n\n")
    assert decoder.content == [(2, "a")]
    assert decoder.error is None


def test_data_over_several_lines_is_one_event() -> None:
    body = b'data: {"choices":[{"delta":\ndata: {"content":"a"}}]}\n\n'
    assert text_of(decode(body).content) == "a"


def test_a_space_behind_data_is_optional() -> None:
    body = b'data:{"choices":[{"delta":{"content":"a"}}]}\n\ndata:[DONE]\n\n'
    decoder = decode(body)
    assert (text_of(decoder.content), decoder.done) == ("a", True)


def test_a_byte_order_mark_at_the_start_is_no_part_of_the_first_line() -> None:
    assert text_of(decode(b"\xef\xbb\xbf" + sse(delta(content="a"))).content) == "a"


def test_an_event_of_8_mb_is_taken_whole() -> None:
    big = "x" * 8_000_000
    whole = sse(delta(content=big))
    size = 1 << 16
    decoder = decode(*[whole[at : at + size] for at in range(0, len(whole), size)])
    assert text_of(decoder.content) == big
    assert len(decoder.token_stamps) == 1


# ---- the end


def test_done_ends_the_stream_and_what_follows_is_ignored() -> None:
    late = sse(delta(content="late")), sse({"error": "late"}), b"data: {broken\n\n"
    decoder = decode(stream(delta(content="a")), *late)
    assert (text_of(decoder.content), decoder.error, decoder.token_stamps) == ("a", None, [1])


def test_an_event_after_done_is_ignored_also_when_it_looks_like_those_before() -> None:
    decoder = decode(*(sse(delta(content=text)) for text in "ab"), sse("[DONE]"), sse(delta(content="late")))
    assert text_of(decoder.content) == "ab"


def test_a_finish_reason_is_kept_with_its_moment() -> None:
    decoder = decode(sse(delta(content="a")), sse(finish("length")), sse(usage(1, 1)))
    assert (decoder.finish_reason, decoder.end_stamp, decoder.done) == ("length", 2, False)


def test_the_last_event_needs_no_blank_line() -> None:
    decoder = decode(sse(delta(content="a")) + b"data: [DONE]")
    assert decoder.done


def test_half_an_event_at_the_end_is_a_truncated_stream_not_a_malformed_event() -> None:
    decoder = decode(sse(delta(content="a")) + b'data: {"choices":[{"del')
    assert decoder.error is not None
    assert decoder.error[0] == "truncated"


# ---- usage


def test_usage_of_vllm() -> None:
    event = usage(22, 5, total_tokens=27, prompt_tokens_details={"cached_tokens": 16, "audio_tokens": None})
    assert decode(sse(event)).usage == Usage(22, 16, 5, None)


def test_usage_of_sglang() -> None:
    event = usage(22, 5, total_tokens=27, reasoning_tokens=3, prompt_tokens_details={"cached_tokens": 21})
    assert decode(sse(event)).usage == Usage(22, 21, 5, 3)


def test_reasoning_tokens_in_the_details_of_openai() -> None:
    assert decode(sse(usage(1, 9, completion_tokens_details={"reasoning_tokens": 7}))).usage.reasoning_tokens == 7


@pytest.mark.parametrize("details", [None, {}, {"cached_tokens": None}])
def test_cached_tokens_that_the_engine_does_not_tell_are_unknown_not_zero(details: object) -> None:
    assert decode(sse(usage(22, 5, prompt_tokens_details=details))).usage.cached_tokens is None


def test_counts_that_cannot_be_counts_are_unknown() -> None:
    found = decode(sse(usage(-1, 10**18, reasoning_tokens=-7, prompt_tokens_details={"cached_tokens": -3}))).usage
    assert found == Usage(None, None, None, None)


def test_running_usage_is_overtaken_by_the_last_one() -> None:
    first = delta(content="a") | {"usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    second = delta(content="b") | {"usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    assert decode(sse(first), sse(second)).usage.completion_tokens == 2


def test_null_usage_does_not_erase_what_was_told() -> None:
    assert decode(sse(usage(3, 4)), sse(finish() | {"usage": None})).usage == Usage(3, None, 4, None)


# ---- errors in the stream


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        ({"error": {"message": "out of memory", "type": "InternalServerError", "code": 500}}, "out of memory"),
        ({"error": "out of memory"}, "out of memory"),
        ({"object": "error", "message": "out of memory", "code": 500}, "out of memory"),
        ({"message": "out of memory", "code": 500}, "out of memory"),
        ({"detail": "out of memory"}, "out of memory"),
        ({"error": {"code": 7}}, '{"code":7}'),
        ({"error": 7}, "7"),
    ],
)
def test_an_error_event_of_any_shape_is_a_failure(event: dict, sentence: str) -> None:
    decoder = decode(sse(ROLE), sse(event), sse("[DONE]"))
    assert decoder.error == ("engine_error", sentence)


def test_an_event_named_error_is_a_failure_whatever_its_data() -> None:
    decoder = decode(b'event: error\ndata: {"code": 7, "reason": "out of memory"}\n\n', sse("[DONE]"))
    assert decoder.error is not None
    assert decoder.error[0] == "engine_error"
    assert "out of memory" in decoder.error[1]


def test_the_name_of_one_event_does_not_stick_to_the_next() -> None:
    assert decode(b"event: error\n\n" + sse(delta(content="a"))).error is None


def test_error_null_is_no_error() -> None:
    assert decode(sse(delta(content="a") | {"error": None})).error is None


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_a_finish_reason_by_which_the_engine_gave_up_is_a_failure(reason: str) -> None:
    assert decode(sse(delta(content="a")), sse(finish(reason))).error[0] == "engine_error"


@pytest.mark.parametrize(
    "payload",
    [
        b"{",
        b"nonsense",
        b"[1, 2]",
        b"7",
        b'"text"',
        b"null",
        b"\xff\xfe\x00",
        b'{"choices": 7}',
        b'{"choices": ["a"]}',
        b'{"choices": [{"delta": 7}]}',
        b'{"choices": [{"delta": "a"}]}',
        b'{"choices": ["a"], "usage": {}}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"choices": [{"delta": {"content": "a"}}]} {}',
        b"NaN",
    ],
)
def test_what_is_not_the_json_of_the_api_is_a_malformed_event(payload: bytes) -> None:
    decoder = decode(sse(ROLE), b"data: " + payload + b"\n\n", sse("[DONE]"))
    assert decoder.error is not None
    assert decoder.error[0] == "malformed_event"
    json.dumps(decoder.error[1]).encode()  # the detail is text that can be written


def test_decoding_goes_on_behind_a_malformed_event_and_the_first_error_stands() -> None:
    decoder = decode(sse(delta(content="a")), b"data: {\n\n", sse({"error": "later"}), sse(delta(content="b")))
    assert decoder.error[0] == "malformed_event"
    assert text_of(decoder.content) == "ab"


def test_unknown_fields_of_any_type_do_no_harm() -> None:
    event = delta(content="a", extra=[1]) | {"nvext": {"x": [1, {"y": None}]}, "id": 7, "created": "now"}
    assert decode(sse(event)).content == [(1, "a")]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b'{"error": {"message": "no"}}', "no"),
        (b'{"object": "error", "message": "no"}', "no"),
        (b'{"detail": [{"loc": ["body"], "msg": "no"}]}', '[{"loc":["body"],"msg":"no"}]'),
        (b'{"detail": "no"}', "no"),
        (b"<html>502</html>", "<html>502</html>"),
        (b"", ""),
        (b"\xff", "\ufffd"),
        (b"[" * 100_000, "[" * 2000),
    ],
)
def test_error_bodies_of_every_shape_give_their_sentence(body: bytes, sentence: str) -> None:
    assert error_text(body) == sentence


# ---- raw think tags


def thinking(*pieces: str) -> tuple[str, str, int | None]:
    return split_thinking(list(enumerate(pieces, 1)))


def test_text_without_tags_is_all_answer() -> None:
    assert thinking("a", "b") == ("", "ab", 1)


def test_think_tags_part_reasoning_from_answer() -> None:
    assert thinking("<think>", "why", "</think>", "42") == ("why", "42", 4)


def test_the_opening_tag_may_stand_in_the_prompt() -> None:
    assert thinking("why", "</think>", "42") == ("why", "42", 3)


def test_reasoning_that_is_never_closed_leaves_no_answer() -> None:
    assert thinking("<think>", "why", " oh") == ("why oh", "", None)


def test_closing_tag_at_the_very_end_leaves_no_answer() -> None:
    assert thinking("<think>why", "</think>") == ("why", "", None)


def test_tags_may_be_split_over_events() -> None:
    assert thinking("<th", "ink>w", "hy</", "thi", "nk>4", "2") == ("why", "42", 5)


def test_space_before_the_opening_tag_is_no_answer() -> None:
    assert thinking("\n ", "<think>", "why</think>", "42") == ("why", "42", 4)


def test_nothing_is_no_answer() -> None:
    assert thinking() == ("", "", None)


def test_a_tag_in_the_middle_of_an_answer_is_text() -> None:
    assert thinking("use <think> like this") == ("", "use <think> like this", 1)


def test_feeding_nothing_changes_nothing() -> None:
    decoder = StreamDecoder()
    decoder.feed(1, b"")
    decoder.finish(1)
    assert (decoder.token_stamps, decoder.error, decoder.done) == ([], None, False)
