"""Each trace format, from a real-world sample: recognised by content and read correctly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.traces.formats import FORMATS
from tokenswarm.traces.reader import Trace, open_trace
from tokenswarm.traces.request import TraceRequest


def _file(folder: Path, text: str, name: str = "trace.jsonl") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def _read(folder: Path, *rows: object) -> tuple[Trace, list[TraceRequest]]:
    trace = open_trace(_file(folder, "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)))
    return trace, list(trace.requests())


def test_mooncake_gives_seconds_lengths_and_blocks(tmp_path):
    trace, requests = _read(
        tmp_path,
        {"timestamp": 0, "input_length": 1200, "output_length": 80, "hash_ids": [0, 1, 2]},
        {"timestamp": 950, "input_length": 1536, "output_length": 40, "hash_ids": [0, 1, 7]},
    )
    assert trace.format.name == "mooncake"
    assert [each.time_s for each in requests] == [0.0, 0.95]
    assert (requests[1].input_tokens, requests[1].output_tokens, requests[1].hash_ids) == (1536, 40, [0, 1, 7])
    assert requests[0].block_tokens == 512


def test_mooncakes_wider_rows_bring_text_sessions_and_body_fields(tmp_path):
    _, requests = _read(
        tmp_path,
        {"session_id": "s", "text_input": "Hello", "output_length": 5, "extra": {"top_k": 4}},
        {"session_id": "s", "delay": 2000, "messages": [{"role": "user", "content": "And?"}], "tools": []},
        {"session_id": "t", "payload": {"messages": [{"role": "user", "content": "x"}], "stop": ["."]}},
    )
    first, second, third = requests
    assert first.messages == [{"role": "user", "content": "Hello"}] and first.body == {"top_k": 4}
    assert (second.session, second.turn, second.delay_s, second.body) == ("s", 2, 2.0, {"tools": []})
    assert (third.turn, third.body) == (1, {"stop": ["."]})


def test_mooncake_refuses_more_blocks_than_the_length_has_room_for(tmp_path):
    with pytest.raises(UserError, match=r"row 1: 2 blocks of 512 tokens do not fit into 512 tokens"):
        _read(tmp_path, {"timestamp": 0, "input_length": 512, "output_length": 1, "hash_ids": [1, 2]})


def test_mooncake_refuses_a_row_with_two_prompts(tmp_path):
    with pytest.raises(UserError, match="input_length and text_input"):
        _read(tmp_path, {"input_length": 5, "text_input": "a", "timestamp": 1})


def test_bailians_conversations_follow_their_parents(tmp_path):
    row = {"output_length": 9, "type": "text"}
    trace, requests = _read(
        tmp_path,
        row
        | {"chat_id": 1, "parent_chat_id": -1, "timestamp": 0.5, "input_length": 40, "turn": 1, "hash_ids": [5, 6, 7]},
        row
        | {
            "chat_id": 2,
            "parent_chat_id": 1,
            "timestamp": 9.1,
            "input_length": 70,
            "turn": 2,
            "hash_ids": [5, 6, 8, 9, 10],
        },
        row | {"chat_id": 4, "parent_chat_id": 3, "timestamp": 9.4, "input_length": 16, "turn": 2, "hash_ids": [11]},
    )
    assert trace.format.name == "bailian"
    assert [each.session for each in requests] == ["1", "1", "4"]
    assert [each.block_tokens for each in requests] == [16] * 3
    assert requests[0].time_s == 0.5


def test_burstgpt_leaves_failed_requests_out_and_takes_rows_without_a_session(tmp_path):
    trace, requests = _read(
        tmp_path,
        "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type",
        "5,31,8.2,ChatGPT,472,18,490,Conversation log",
        "45,,2.1,GPT-4,1087,230,1317,API log",
        "46,,2.1,GPT-4,1087,0,1087,API log",
    )
    assert trace.format.name == "burstgpt"
    assert [(each.time_s, each.input_tokens, each.output_tokens, each.session) for each in requests] == [
        (5, 472, 18, "31"),
        (45, 1087, 230, None),
    ]


def test_burstgpts_older_files_without_sessions_are_read_too(tmp_path):
    trace, requests = _read(
        tmp_path,
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type",
        "5,ChatGPT,472,18,490,Conversation log",
    )
    assert (trace.format.name, len(requests)) == ("burstgpt", 1)


def test_azures_dates_keep_all_seven_digits(tmp_path):
    trace, requests = _read(
        tmp_path,
        "TIMESTAMP,ContextTokens,GeneratedTokens",
        "2023-11-16 18:15:46.6805900,374,44",
        "2023-11-16 18:15:50.9951690,396,109",
        "2024-05-10 00:00:00.009930+00:00,1,2",
    )
    assert trace.format.name == "azure"
    assert requests[1].time_s - requests[0].time_s == pytest.approx(4.314579, abs=1e-6)
    assert requests[0].time_s == pytest.approx(1700158546.68059, abs=1e-6)
    assert requests[2].time_s == pytest.approx(1715299200.00993, abs=1e-6)


def test_wekas_sessions_have_their_own_ids_and_sub_agents_their_own_turns(tmp_path):
    trace, requests = _read(
        tmp_path,
        {
            "id": "s1",
            "models": ["m"],
            "block_size": 64,
            "hash_id_scope": "local",
            "requests": [
                {"t": 0.0, "type": "s", "in": 190, "out": 210, "hash_ids": [0, 1, 2], "api_time": 4.0},
                {
                    "t": 6.0,
                    "type": "subagent",
                    "agent_id": "a1",
                    "duration_ms": 9000,
                    "requests": [{"t": 6.5, "type": "s", "in": 64, "out": 2, "hash_ids": [9], "api_time": 1.0}],
                },
                {"t": 16.0, "type": "n", "in": 200, "out": 1, "hash_ids": [0, 1, 2, 3], "api_time": 1.0},
            ],
        },
    )
    assert trace.format.name == "weka"
    assert [(each.session, each.turn, each.delay_s) for each in requests] == [
        ("s1", 1, None),
        ("s1/a1", 1, 2.5),
        ("s1", 2, 1.0),
    ]
    assert {each.scope for each in requests} == {"s1"}
    assert [(each.root, each.started_by, each.awaited) for each in requests] == [
        ("s1", None, True),
        ("s1", "s1", True),
        ("s1", None, True),
    ]


def test_wekas_sub_agents_that_work_at_the_same_time_are_waited_for_until_the_last_has_ended(tmp_path):
    def sub_agent(name: str, begins_s: float, took_ms: int, status: str, first_s: float) -> dict:
        request = {"t": first_s, "type": "s", "in": 10, "out": 1, "api_time": 1.0}
        return {"t": begins_s, "type": "subagent", "agent_id": name, "duration_ms": took_ms, "status": status} | {
            "requests": [request]
        }

    _, requests = _read(
        tmp_path,
        {
            "id": "s",
            "block_size": 64,
            "requests": [
                {"t": 0.0, "type": "s", "in": 10, "out": 1, "api_time": 4.0},
                sub_agent("slow", 5.0, 20_000, "completed", 5.5),
                sub_agent("quick", 6.0, 1_000, "completed", 0.25),  # its times are on a clock of its own
                sub_agent("beside", 7.0, 90_000, "async_launched", 7.0),
                {"t": 27.0, "type": "s", "in": 10, "out": 1, "api_time": 1.0},
            ],
        },
    )
    assert [(each.session, each.delay_s, each.awaited) for each in requests] == [
        ("s", None, True),
        ("s/slow", 1.5, True),
        ("s/quick", 2.25, True),
        ("s/beside", 3.0, False),
        ("s", 2.0, True),
    ]


def test_a_log_of_bodies_keeps_what_a_run_does_not_set_itself(tmp_path):
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "max_tokens": 7,
        "temperature": 0.2,
        "stream": True,
    }
    trace, requests = _read(
        tmp_path,
        {"timestamp": "2026-01-02T03:04:05Z", "body": json.dumps(body)},
        {"timestamp": 1767323046.5, "body": body, "completion_tokens": 3},
    )
    assert trace.format.name == "body_log"
    assert requests[0].body == {"temperature": 0.2} and requests[0].output_tokens == 7
    assert requests[1].output_tokens == 3
    assert requests[1].time_s - requests[0].time_s == pytest.approx(1.5)


def test_openais_batch_lines_are_requests(tmp_path):
    trace, requests = _read(
        tmp_path,
        {
            "custom_id": "a",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": "m",
                "messages": [{"role": "user", "content": "x"}],
                "response_format": {"type": "json_object"},
            },
        },
    )
    assert trace.format.name == "openai_batch"
    assert requests[0].body == {"response_format": {"type": "json_object"}}


def test_agentic_rows_become_a_request_before_each_answer(tmp_path):
    row = {"conversation_id": "c"}
    trace, requests = _read(
        tmp_path,
        row | {"turn": 1, "role": "user", "content": "Weather?", "system": "Be brief."},
        row | {"turn": 2, "role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        row | {"turn": 3, "role": "tool", "content": "sunny", "delay_seconds": 1.5},
        row | {"turn": 4, "role": "assistant", "content": "Sunny."},
    )
    assert trace.format.name == "agentic"
    assert [len(each.messages) for each in requests] == [2, 4]
    assert (requests[1].delay_s, requests[1].expected, requests[1].turn) == (1.5, "Sunny.", 2)


def test_sharegpts_turns_grow_and_know_the_answer_on_record(tmp_path):
    turns = [{"from": "human", "value": "1+1?"}, {"from": "gpt", "value": "2"}, {"from": "human", "value": "Sure?"}]
    trace, requests = _read(tmp_path, json.dumps([{"id": "x", "conversations": turns}], indent=1))
    assert trace.format.name == "sharegpt"
    assert [each.messages[-1]["content"] for each in requests] == ["1+1?", "Sure?"]
    assert [len(each.messages) for each in requests] == [1, 3]
    assert [each.expected for each in requests] == ["2", None]
    assert requests[1].messages[1] == {"role": "assistant", "content": "2"}


def test_wildchats_messages_are_cut_down_to_what_a_request_has(tmp_path):
    trace, requests = _read(
        tmp_path,
        {
            "conversation_hash": "h",
            "model": "gpt-4",
            "turn": 1,
            "language": "English",
            "timestamp": "2023-04-09T00:02:53",
            "conversation": [
                {"role": "user", "content": "Hi", "hashed_ip": "…"},
                {"role": "assistant", "content": "Hello"},
            ],
        },
    )
    assert trace.format.name == "wildchat"
    assert requests[0].messages == [{"role": "user", "content": "Hi"}]
    assert requests[0].session == "h" and requests[0].time_s is not None


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Say hello", "output_tokens": 9},
        {"instruction": "Say hello", "max_tokens": 9},
        {"text": "Say hello", "output_tokens_count": 9},
        {"messages": [{"role": "user", "content": "Say hello"}], "max_completion_tokens": 9},
        {"chat_messages": [{"role": "user", "content": "Say hello"}], "max_tokens": 9},
        {"context": "Say hello", "output_tokens_count": 9},
    ],
)
def test_plain_rows_are_read_by_the_names_that_load_tools_take(tmp_path, row):
    trace, requests = _read(tmp_path, row)
    assert trace.format.name == "plain_json"
    assert requests[0].messages == [{"role": "user", "content": "Say hello"}]
    assert requests[0].output_tokens == 9


def test_a_plain_rows_body_is_kept_but_for_what_a_run_sets_and_empty_lists(tmp_path):
    _, (request,) = _read(
        tmp_path,
        {
            "messages": [{"role": "user", "content": "x"}],
            "tools": [],
            "chat_template_kwargs": {"enable_thinking": False},
            "extra_body": {"top_k": 4, "stream": False, "model": "other"},
            "n": 1,
            "category": "not for the engine",
        },
    )
    assert request.body == {"chat_template_kwargs": {"enable_thinking": False}, "top_k": 4}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "a", "n": 2},
        {"custom_id": "a", "body": {"messages": [{"role": "user", "content": "x"}], "n": 2}},
        {"timestamp": 1, "body": {"prompt": "x", "best_of": 3}},
        {"timestamp": 1, "payload": {"messages": [{"role": "user", "content": "x"}], "n": 2}},
        {"timestamp": 1, "text_input": "x", "extra": {"n": 2}},
    ],
)
def test_a_request_for_several_answers_is_refused(tmp_path, row):
    with pytest.raises(UserError, match="row 1: it asks for several answers"):
        _read(tmp_path, row)


@pytest.mark.parametrize(
    ("row", "time_s"),
    [
        ({"prompt": "a", "timestamp": 1.5}, 1.5),
        ({"prompt": "a", "timestamp": 1_700_000_000}, 1_700_000_000),
        ({"prompt": "a", "timestamp": 1_700_000_000_500}, 1_700_000_000.5),
        ({"text": "a", "timestamp": 1500, "output_length": 3}, 1.5),
        ({"text": "a", "timestamp": 1500, "delay": 300}, 1.5),
    ],
)
def test_a_plain_rows_time_is_in_seconds_or_beside_aiperfs_names_in_milliseconds(tmp_path, row, time_s):
    _, (request,) = _read(tmp_path, row)
    assert request.time_s == time_s
    assert request.delay_s == (0.3 if "delay" in row else None)


def test_a_plain_row_with_a_picture_beside_its_text_is_refused(tmp_path):
    with pytest.raises(UserError, match="it has images beside its text"):
        _read(tmp_path, {"text": "what is this?", "images": ["cat.png"]})


@pytest.mark.parametrize(
    "row",
    [
        {"session_id": "s", "turns": [{"text": "One?", "output_length": 4}, {"text": "Two?", "delay": 300}]},
        {"prompt_0": "One?", "output_tokens_count_0": 4, "prompt_1": "Two?"},
    ],
)
def test_rows_of_several_turns_are_sessions_without_the_answers(tmp_path, row):
    trace, (first, second) = _read(tmp_path, row)
    assert trace.format.name == "turn_rows"
    assert [each["content"] for each in second.messages] == ["One?", "(not on record)", "Two?"]
    assert first.session == second.session and (first.turn, second.turn) == (1, 2)
    assert first.output_tokens == 4


def test_turns_that_are_not_numbered_in_order_are_refused(tmp_path):
    with pytest.raises(UserError, match="its turns are not numbered 0, 1, 2"):
        _read(tmp_path, {"prompt_0": "a", "prompt_2": "b"})


def test_sglangs_conversations_need_no_roles(tmp_path):
    trace, (first, second) = _read(
        tmp_path, {"conversations": [{"content": "Hi?"}, {"value": "Hello."}, {"content": "Sure?"}]}
    )
    assert trace.format.name == "wildchat"
    assert [each["role"] for each in second.messages] == ["user", "assistant", "user"]
    assert first.expected == "Hello."


def test_results_of_tools_in_agentic_rows_are_a_message_each(tmp_path):
    row = {"conversation_id": "c"}
    results = [{"tool_call_id": "1", "content": "sunny"}, {"tool_call_id": "2", "content": "warm"}]
    _, requests = _read(
        tmp_path,
        row | {"turn": 1, "role": "user", "content": "Weather?"},
        row | {"turn": 2, "role": "assistant", "content": None, "tool_calls": [{"id": "1"}, {"id": "2"}]},
        row | {"turn": 3, "role": "tool", "tool_results": results},
        row | {"turn": 4, "role": "assistant", "content": "Sunny."},
    )
    assert requests[1].messages[2:] == [{"role": "tool", **each} for each in results]


def test_plain_csv_has_system_prompts_and_expected_answers(tmp_path):
    trace, requests = _read(
        tmp_path, "system_prompt,question,answer,temperature", 'Be brief.,"What, then?",Nothing.,0.5'
    )
    assert trace.format.name == "plain_csv"
    assert requests[0].messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What, then?"},
    ]
    assert (requests[0].expected, requests[0].body) == ("Nothing.", {"temperature": 0.5})


def test_a_row_with_two_fields_that_could_be_the_prompt_is_refused(tmp_path):
    with pytest.raises(UserError, match="prompt and text: nothing says which one is the prompt"):
        _read(tmp_path, {"prompt": "a", "text": "b"})


def test_a_file_that_could_be_of_two_formats_is_refused_until_one_is_named(tmp_path):
    row = {
        "custom_id": "a",
        "body": {"messages": [{"role": "user", "content": "the patient is Mallory"}]},
        "chat_id": 1,
        "parent_chat_id": -1,
        "input_length": 4,
    }
    with pytest.raises(UserError, match="could be bailian or openai_batch: name the format") as caught:
        _read(tmp_path, row)
    assert caught.value.code is Exit.DATA and "its rows have custom_id, body, chat_id" in str(caught.value)
    assert "Mallory" not in str(caught.value)
    named = open_trace(tmp_path / "trace.jsonl", "openai_batch")
    assert [each.messages[0]["role"] for each in named.requests()] == ["user"]


def test_a_file_of_no_known_format_is_refused_with_what_was_seen(tmp_path):
    with pytest.raises(UserError, match=r"its rows have colour, size \(known formats: mooncake, ") as caught:
        _read(tmp_path, {"colour": "red", "size": 3})
    assert caught.value.code is Exit.DATA


def test_an_unknown_name_of_a_format_says_which_one_is_meant(tmp_path):
    with pytest.raises(UserError, match="mooncake"):
        open_trace(_file(tmp_path, "{}"), "moncake")


def test_no_refusal_shows_the_text_of_a_prompt(tmp_path):
    secret = "the patient's name is Mallory"
    for row in (
        {"prompt": [secret]},
        {"messages": [{"role": "user", "content": {"x": secret}}]},
        {"timestamp": secret, "input_length": 3},
        {"text_input": {"a": secret}, "timestamp": 1},
        {"input_length": secret, "timestamp": 1},
        {"body": secret, "timestamp": 1},
    ):
        with pytest.raises(UserError) as caught:
            _read(tmp_path, row)
        assert "Mallory" not in str(caught.value)


def test_every_format_names_where_it_is_described():
    assert all(each.reference and each.title for each in FORMATS)
    assert len({each.name for each in FORMATS}) == len(FORMATS)
