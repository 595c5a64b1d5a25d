"""The content of answers: tokens and text."""

from __future__ import annotations

import contextlib
import json
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tokenswarm.sim.answers import AnswerSettings, AnswerSpec, plan
from tokenswarm.sim.api import ApiError, parse
from tokenswarm.sim.jobs import TOKEN_BYTES
from tokenswarm.sim.text import Prose, count, encode, render_chat, slices

PROSE = Prose(0)
QUIET = AnswerSettings(reasoning="never")


def ask(*texts: str, prompt_hash: int = 7, max_tokens: int = 10_000, **fields) -> AnswerSpec:
    return AnswerSpec(texts=texts, prompt_hash=prompt_hash, max_tokens=max_tokens, **fields)


def answer(*texts: str, settings: AnswerSettings = QUIET, **fields):
    return plan(ask(*texts, **fields), PROSE, settings)


def text_of(planned) -> str:
    return json.loads(b'"' + b"".join(planned.pieces[planned.reasoning_tokens :]) + b'"')


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=4), st.text(max_size=30))
def test_a_longer_conversation_begins_with_the_tokens_of_the_shorter_one(contents, more):
    messages = [("user", content) for content in contents]
    generation_prompt = len(render_chat([])) // TOKEN_BYTES
    shorter, longer = render_chat(messages), render_chat([*messages, ("assistant", more)])
    assert len(shorter) % TOKEN_BYTES == 0
    assert longer.startswith(shorter)
    assert len(longer) // TOKEN_BYTES == len(shorter) // TOKEN_BYTES + count(more) + 1 + generation_prompt


def test_a_token_is_about_four_letters_of_english():
    assert count("The scheduler keeps the order of events.") == 10
    assert len(encode("né")) == 4


def test_an_answer_that_comes_back_has_the_tokens_that_were_generated():
    planned = answer("hello")
    assert render_chat([("user", "hello"), ("assistant", text_of(planned))]).startswith(
        render_chat([("user", "hello")]) + planned.data
    )


def test_the_same_prompt_gets_the_same_answer_and_another_seed_another_one():
    assert answer("hello") == answer("hello")
    assert answer("hello") != answer("hello", prompt_hash=8)
    assert answer("hello") != answer("hello", settings=AnswerSettings(reasoning="never", seed=1))


def test_answers_are_sentences_and_stop_at_the_end_of_one():
    planned = answer("hello")
    assert planned.finish_reason == "stop"
    assert text_of(planned).endswith(". ")
    assert all(len(word) < 20 for word in text_of(planned).split())


def test_answer_lengths_scatter_around_the_mean_that_was_set():
    lengths = [len(answer("hi", prompt_hash=n, settings=AnswerSettings(150, "never")).pieces) for n in range(600)]
    assert statistics.mean(lengths) == pytest.approx(158, rel=0.06)  # half a sentence more than drawn
    assert statistics.stdev(lengths) > 40


def test_max_tokens_cuts_and_says_length():
    planned = answer("hello", max_tokens=7)
    assert (len(planned.pieces), len(planned.data), planned.finish_reason) == (7, 28, "length")


@pytest.mark.parametrize("max_tokens", [1, 100, 5000, 50_000])
def test_ignore_eos_fills_max_tokens_exactly(max_tokens):
    planned = answer("hello", max_tokens=max_tokens, ignore_eos=True)
    assert (len(planned.pieces), planned.finish_reason) == (max_tokens, "length")
    assert len(planned.data) == max_tokens * TOKEN_BYTES


def test_a_category_of_the_list_is_the_whole_answer():
    instruction = "Answer with that one word.\nCategories: billing, tech, sales, praise, other"
    seen = {text_of(answer(instruction, "a document", prompt_hash=n)) for n in range(100)}
    assert seen == {"billing", "tech", "sales", "praise", "other"}


def test_a_list_of_categories_deep_inside_a_document_is_not_an_instruction():
    document = "x" * 5000 + "\nCategories: a, b\n" + "x" * 5000
    assert text_of(answer(document)) not in ("a", "b")


@pytest.mark.parametrize(
    ("text", "response_format"),
    [("Reply in JSON.", None), ("hello", {"type": "json_object"})],
)
def test_json_is_answered_where_it_is_asked_for(text, response_format):
    assert isinstance(json.loads(text_of(answer(text, response_format=response_format))), dict)


def test_a_json_schema_is_kept():
    schema = {
        "type": "object",
        "properties": {
            "label": {"enum": ["x", "y"]},
            "score": {"type": "integer"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "sure": {"type": "boolean"},
        },
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    value = json.loads(text_of(answer("hello", response_format=wanted)))
    assert value["label"] in ("x", "y")
    assert isinstance(value["score"], int) and isinstance(value["sure"], bool)
    assert all(isinstance(tag, str) for tag in value["tags"])


def test_about_seventy_percent_of_a_reasoning_answer_is_reasoning():
    planned = answer("Think step by step.", settings=AnswerSettings())
    assert planned.reasoning_tokens / len(planned.pieces) == pytest.approx(0.7, abs=0.05)
    assert planned.thinking_tokens == planned.reasoning_tokens


@pytest.mark.parametrize(
    ("setting", "thinking", "text", "reasons"),
    [
        ("never", True, "Think step by step.", False),
        ("always", None, "hello", True),
        ("always", False, "hello", False),
        ("auto", None, "hello", False),
        ("auto", None, "Think step by step.", True),
        ("auto", True, "hello", True),
        ("auto", False, "Think step by step.", False),
    ],
)
def test_an_answer_has_reasoning_only_where_setting_request_or_prompt_ask_for_it(setting, thinking, text, reasons):
    planned = answer(text, settings=AnswerSettings(reasoning=setting), thinking=thinking)
    assert (planned.reasoning_tokens > 0) is reasons


def test_think_tags_stand_in_the_content():
    planned = answer("hello", settings=AnswerSettings(reasoning="always", think_tags=True))
    assert planned.reasoning_tokens == 0 < planned.thinking_tokens
    thought, _, rest = text_of(planned).partition("</think>")
    assert thought.startswith("<think>\n") and rest.strip()


def test_both_forms_of_reasoning_have_the_same_tokens_and_the_same_text():
    raw, by_parser = (
        answer("hello", settings=AnswerSettings(reasoning="always", think_tags=tags)) for tags in (True, False)
    )
    assert (len(raw.pieces), raw.data, raw.thinking_tokens) == (
        len(by_parser.pieces),
        by_parser.data,
        by_parser.reasoning_tokens,
    )
    whole = [json.loads(b'"' + b"".join(planned.pieces) + b'"') for planned in (raw, by_parser)]
    assert whole[0].replace("<think>\n", "").replace("\n</think>\n\n", "") == whole[1]


@pytest.mark.parametrize(("sum_", "value"), [("12 * 34 + 5", 413), ("(3 + 4) * 6 - 2", 40), ("17 - 20", -3)])
def test_simple_arithmetic_is_answered_right(sum_, value):
    planned = answer(f"What is {sum_}? Write 'Answer: X' on the last line.")
    assert text_of(planned).splitlines()[-1] == f"Answer: {value}"


def test_other_questions_are_answered_by_a_guess_of_the_right_kind():
    code = "Answer: X\n\n 1 | def f(x):\n 2 |     y = 1\n\nWhich line is wrong?"
    names = "Answer: X\n3 people stand in a row: Anna, Bert, Cleo. Who stands at place 1?"
    assert text_of(answer(code)).splitlines()[-1] in ("Answer: 1", "Answer: 2")
    assert text_of(answer(names)).splitlines()[-1] in ("Answer: Anna", "Answer: Bert", "Answer: Cleo")


CONTEXT = 100


def parsed(body: dict | bytes, chat: bool = True):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse(data, chat, "sim-8b", CONTEXT, seed=0)


def message(content: object = "hello", **fields) -> dict:
    return {"model": "sim-8b", "messages": [{"role": "user", "content": content}], **fields}


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b"{", 400, "not JSON"),
        (b'"\xff"', 400, "not"),
        (b"[]", 400, "JSON object"),
        ({"model": "sim-8b"}, 400, "messages"),
        (message(model="other"), 404, "`other` does not exist"),
        (message(content=3), 400, "content"),
        (message(max_tokens=0), 400, "max_tokens must be at least 1"),
        (message(max_tokens="9"), 400, "max_tokens must be a number"),
        (message(stream="yes"), 400, "stream must be true or false"),
        (message(temperature=-1), 400, "temperature"),
        (message(n=2), 400, "n must|one choice|n"),
        (message("x" * 400), 400, "maximum context length is 100 tokens"),
        (message(max_tokens=99), 400, "you requested 99 output tokens"),
        (message(stream_options=1), 400, "stream_options"),
    ],
)
def test_a_bad_request_is_refused_as_an_engine_would(body, status, sentence):
    with pytest.raises(ApiError, match=sentence) as caught:
        parsed(body)
    assert caught.value.status == status
    assert json.loads(caught.value.payload())["error"]["code"] == status


@settings(max_examples=examples(100), deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "messages",
                        "role",
                        "content",
                        "model",
                        "prompt",
                        "max_tokens",
                        "stream",
                        "n",
                        "seed",
                        "stream_options",
                        "chat_template_kwargs",
                        "response_format",
                        "temperature",
                    ]
                ),
                inner,
            )
        ),
        max_leaves=12,
    ),
    st.booleans(),
)
def test_no_json_whatsoever_gets_more_than_a_refusal(body, chat):
    with contextlib.suppress(ApiError):
        parsed(json.dumps(body).encode(), chat)


def test_max_completion_tokens_wins_over_max_tokens():
    assert parsed(message(max_tokens=5, max_completion_tokens=9)).ask.max_tokens == 9


def test_without_max_tokens_a_chat_may_fill_the_context_and_a_completion_gets_sixteen():
    request = parsed(message())
    assert request.ask.max_tokens == CONTEXT - request.prompt_tokens
    assert parsed({"prompt": "hello"}, chat=False).ask.max_tokens == 16


def test_a_completion_takes_token_ids_and_content_may_come_in_parts():
    assert parsed({"prompt": [1, 2, 3]}, chat=False).prompt_tokens == 3
    whole, parts = (
        parsed(message("hello")),
        parsed(message([{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}])),
    )
    assert whole.prompt == parts.prompt


@given(st.text(st.characters(max_codepoint=127), max_size=60))
def test_tokens_are_slices_of_the_text_as_json_writes_them(text: str) -> None:
    pieces = slices(text.encode())
    assert pieces == [json.dumps(text[at : at + TOKEN_BYTES])[1:-1].encode() for at in range(0, len(text), TOKEN_BYTES)]
