"""Traces that cannot be replayed, and what of a trace is said to be left out."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from tokenswarm import workloads
from tokenswarm.base.config_text import parse_set
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.generator.private_text import LEFT_OUT, without_prompt
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.scenario.model import Scenario
from tokenswarm.workloads import replay_settings
from tokenswarm.workloads.base import Prompt
from tokenswarm.workloads.corpus import Corpus

ROW = {"timestamp": 0, "input_length": 100, "output_length": 5}


def write(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "is empty"),
        (
            [{"timestamp": 0, "input_length": 512, "output_length": 1, "hash_ids": [1, 2, 3]}],
            "3 blocks of 512 tokens do not fit into 512 tokens",
        ),
        (
            [
                {"timestamp": 0, "input_length": 600, "output_length": 1, "hash_ids": [1, 2]},
                {"timestamp": 1, "input_length": 1024, "output_length": 1, "hash_ids": [1, 2]},
            ],
            "one id of a block stands for 88 and for 512 tokens",
        ),
        ([{"timestamp": 0, "input_length": 90_000, "output_length": 1}], "1 do not fit into the context"),
        ([{"delay": 0, "input_length": 90, "output_length": 1}], "replay it as a pool"),
        ([ROW, ROW | {"timestamp": 10**13}], "would take 115,741 days to replay: its times are in another unit"),
    ],
)
def test_a_file_that_cannot_be_replayed_is_refused_with_one_sentence(
    tmp_path: Path, rows: list[dict], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        load_scenario("replay", {}, write(tmp_path / "t.jsonl", rows))
    assert caught.value.code == Exit.DATA and "\n" not in str(caught.value)


def test_a_file_that_changes_is_refused(tmp_path: Path, corpus: Corpus) -> None:
    file = write(tmp_path / "t.jsonl", [ROW])
    scenario = load_scenario("replay", {}, file)
    write(tmp_path / "t.jsonl", [ROW, ROW])
    replay_settings._read.cache_clear()  # another process, or a later one
    with pytest.raises(UserError, match="it has changed, or this machine has another one") as caught:
        workloads.create(scenario, corpus, 1, "")
    assert caught.value.code == Exit.DATA
    (tmp_path / "t.jsonl").unlink()
    with pytest.raises(UserError, match="cannot be read: No such file"):
        workloads.create(scenario, corpus, 1, "")


def test_what_is_left_out_is_said(tmp_path: Path, corpus: Corpus) -> None:
    rows = [ROW | {"timestamp": 2000}, ROW | {"timestamp": 1000}, ROW | {"timestamp": 3000, "input_length": 40_000}]
    scenario = load_scenario("replay", {}, write(tmp_path / "t.jsonl", rows))
    (note,) = workloads.create(scenario, corpus, 1, "").notes()
    assert note == (
        "2 requests in 2 sessions of t.jsonl, read as Mooncake, are replayed; 1 came out of order (sorted), "
        "1 do not fit into the context and were left out."
    )


def test_a_window_is_that_of_the_trace_in_order_however_its_rows_stand(tmp_path: Path, corpus: Corpus) -> None:
    rows = [ROW | {"timestamp": 1000 * n, "input_length": 100 + n} for n in (3, 1, 0, 2, 5, 4)]
    asked = []
    for number, some in enumerate((rows, sorted(rows, key=lambda row: row["timestamp"]))):
        file = write(tmp_path / f"{number}.jsonl", some)
        scenario = load_scenario("replay", parse_set("replay.window_start_s=1 replay.window_end_s=4"), file)
        planned = workloads.create(scenario, corpus, 1, "").planned() or ()
        asked.append([(each.at_s, each.prompt_tokens) for each in planned])
    assert asked[0] == asked[1] == [(0.0, 101), (1.0, 102), (2.0, 103)]


def test_rows_that_cannot_be_read_are_counted_and_the_first_is_named(tmp_path: Path, corpus: Corpus) -> None:
    rows = [ROW | {"timestamp": n} for n in range(300)]
    rows[41] = rows[199] = ROW | {"input_length": "Mallory's secret"}
    (note,) = workloads.create(load_scenario("replay", {}, write(tmp_path / "t.jsonl", rows)), corpus, 1, "").notes()
    said = "2 of the 300 rows of t.jsonl cannot be read (the first is row 42: input_length is of type str, which"
    assert said in note and "Mallory" not in note


def test_what_cannot_be_sent_and_what_is_cut_is_planned_as_the_trace_has_it(tmp_path: Path, corpus: Corpus) -> None:
    rows = [ROW, ROW | {"timestamp": 5, "input_length": 40_000}, ROW | {"timestamp": 9, "output_length": 0}]
    file = write(tmp_path / "t.jsonl", rows)
    for too_long, names in (("leave_out", ["measure", "measure", "left-out"]), ("cut", ["measure"] * 3)):
        scenario = load_scenario("replay", parse_set(f"replay.too_long={too_long}"), file)
        planned = list(workloads.create(scenario, corpus, 1, "").planned() or ())
        assert [each.conversation.rpartition("-")[0] for each in planned] == names
        assert sorted(each.prompt_tokens or 0 for each in planned) == [100, 100, 40_000]
        assert {each.output_tokens for each in planned} == {5, 1}, "an answer of no token is asked for as one"


def test_a_law_of_arrivals_beside_the_traces_times_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "t.jsonl", [ROW, ROW | {"timestamp": 9}])
    with pytest.raises(UserError, match=r"replay.pacing=load") as caught:
        load_scenario("replay", parse_set("load.arrivals=poisson"), file)
    assert caught.value.code == Exit.USAGE
    load_scenario("replay", parse_set("load.arrivals=poisson replay.pacing=load load.rate=3"), file)


def test_text_on_record_is_not_made_into_token_ids(tmp_path: Path, corpus: Corpus) -> None:
    file = write(tmp_path / "t.jsonl", [{"timestamp": 0, "text_input": "x", "output_length": 1}])
    with pytest.raises(UserError, match='use send = "chat"'):
        workloads.create(load_scenario("replay", parse_set("replay.send=token_ids"), file), corpus, 1, "")


def test_token_ids_come_from_the_range_that_is_named_without_those_left_out_and_a_probe_confirms_them(
    tmp_path: Path, corpus: Corpus
) -> None:
    file = write(tmp_path / "t.jsonl", [ROW, ROW | {"timestamp": 9, "input_length": 700}])
    settings = "replay.send=token_ids replay.token_ids=[100,140] replay.token_ids_left_out=[101,139]"
    workload = workloads.create(load_scenario("replay", parse_set(settings), file), corpus, 1, "salt")
    allowed = set(range(100, 140)) - {101, 139}
    prompts = [next(iter(workload.session("measure", number))) for number in (0, 1)]
    assert [len(prompt.token_ids or ()) for prompt in prompts] == [100, 700]
    assert set().union(*(prompt.token_ids or () for prompt in prompts)) == allowed
    (probe,) = workload.probes()
    assert set(probe.token_ids or ()) == allowed, "the probe asks for all of a small range"
    count = len(probe.token_ids or ())
    assert workload.measured([count]) == ({}, None)
    with pytest.raises(ValueError, match=f"counts {count + 3} tokens of a prompt of {count} token ids: ids in"):
        workload.measured([count + 3])
    assert "does not report" in str(workload.measured([None])[1])


def test_a_range_of_ids_that_leaves_nothing_to_choose_from_is_refused(tmp_path: Path) -> None:
    settings = "replay.send=token_ids replay.token_ids=[100,102] replay.token_ids_left_out=[101]"
    with pytest.raises(UserError, match="at least two ids"):
        load_scenario("replay", parse_set(settings), write(tmp_path / "t.jsonl", [ROW]))


def test_the_trace_s_rate_and_length_are_those_of_the_load(tmp_path: Path) -> None:
    file = write(tmp_path / "t.jsonl", [ROW | {"timestamp": 1000 * n} for n in range(21)])
    load = load_scenario("replay", {}, file).load
    assert (load.arrivals, load.rate, load.duration_s) == ("recorded", 21 / 20, 20 + 300)
    load = load_scenario("replay", parse_set("load.rate=2 load.duration_s=5"), file).load
    assert load.rate == pytest.approx(2) and load.duration_s == 5
    scenario = load_scenario("replay", parse_set("replay.pacing=load load.users=3"), file)
    assert not scenario.open_loop and scenario.load.users == 3
    assert Scenario.from_values(scenario.values()) == scenario


def test_requests_with_a_schema_are_not_kept_from_ending(tmp_path: Path, corpus: Corpus) -> None:
    message = {"timestamp": 0, "messages": [{"role": "user", "content": "x"}], "output_length": 7}
    rows = [message, message | {"timestamp": 1, "extra": {"response_format": {"type": "json_object"}}}]
    workload = workloads.create(load_scenario("replay", {}, write(tmp_path / "t.jsonl", rows)), corpus, 1, "")
    free, constrained = (next(iter(workload.session("measure", n))) for n in (0, 1))
    assert (free.max_tokens, free.body) == (7, {"ignore_eos": True})
    assert (constrained.max_tokens, constrained.body) == (7, {"response_format": {"type": "json_object"}})


@pytest.mark.parametrize(
    ("detail", "kept"),
    [("too long: 'My secret is\\n that I sing'", False), ("the model is overloaded", True), ("got: Rosebud", True)],
)
def test_what_a_server_says_is_kept_unless_it_quotes_a_private_prompt(detail: str, kept: bool) -> None:
    private = Prompt([{"role": "user", "content": "My secret is\n that I sing"}], "c", 1, 0, private=True)
    assert without_prompt(detail, private) == (detail if kept else LEFT_OUT)
    assert without_prompt(detail, Prompt(private.messages, "c", 1, 0)) == detail


def test_a_short_private_prompt_is_known_too() -> None:
    prompt = Prompt([{"role": "user", "content": "Rosebud!"}], "c", 1, 0, private=True)
    assert without_prompt("got: 'Rosebud!'", prompt) == LEFT_OUT


def test_a_private_prompt_of_another_script_is_known_where_it_is_escaped_too() -> None:
    text = "\u79d8\u5bc6\u306e\u8cea\u554f\u3067\u3059\u8ab0\u306b\u3082\u8a00\u308f\u306a\u3044\u3067"
    prompt = Prompt([{"role": "user", "content": text}], "c", 1, 0, private=True)
    assert without_prompt(f"got {text}", prompt) == LEFT_OUT
    assert without_prompt(f"got {json.dumps(text)}", prompt) == LEFT_OUT


@pytest.mark.parametrize("word", ["stop", "length", "tool_calls"])
def test_the_word_for_the_end_of_an_answer_is_kept_also_where_a_prompt_says_the_same(word: str) -> None:
    prompt = Prompt([{"role": "user", "content": word}], "c", 1, 0, private=True)
    assert without_prompt(word, prompt) == word, "answers that were cut are known by it"
    assert without_prompt(f"got {word}", prompt) == LEFT_OUT


def test_the_end_of_an_answer_costs_no_look_at_the_prompt() -> None:
    class Untouched(str):
        def translate(self, *_: object) -> str:
            raise AssertionError("a prompt of 100,000 tokens takes longer than the times to be measured")

    prompt = Prompt([{"role": "user", "content": Untouched("secret")}], "c", 1, 0, private=True)
    assert without_prompt("stop", prompt) == "stop"
    with pytest.raises(AssertionError):
        without_prompt("got it", prompt)


def test_a_quotation_is_found_wherever_it_lies_in_a_prompt() -> None:
    rng = Random(1)
    text = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(300))
    prompt = Prompt([{"role": "user", "content": text}], "c", 1, 0, private=True)
    for at in range(len(text) - 11):
        assert without_prompt(f"?! {text[at : at + 12]} ?!", prompt) == LEFT_OUT
        assert without_prompt(f"?! {text[at : at + 11]} ?!", prompt) != LEFT_OUT


def test_sub_agents_on_record_are_sessions_beside_the_one_that_started_them(tmp_path: Path, corpus: Corpus) -> None:
    sub_agent = {"t": 5.0, "type": "subagent", "agent_id": "a", "duration_ms": 2000, "status": "async_launched"}
    ask = {"type": "s", "in": 640, "out": 3, "api_time": 1.0}
    session = {
        "id": "x",
        "block_size": 64,
        "requests": [
            ask | {"t": 0.0, "hash_ids": list(range(10))},
            sub_agent | {"requests": [ask | {"t": 6.0, "hash_ids": [*range(5), *range(20, 25)]}]},
            ask | {"t": 9.0, "hash_ids": list(range(10))},
        ],
    }
    file = write(tmp_path / "t.json", [session])
    scenario = load_scenario("replay", parse_set("replay.pacing=load"), file)
    made = workloads.create(scenario, corpus, 1, "salt").session("measure", 0)
    prompts, others = [], []
    for prompt in made:
        prompts.append(prompt)
        others += made.sub_sessions()
    assert made.turns == 2 and [(each.conversation, each.turn) for each in prompts] == [
        ("measure-000000", 1),
        ("measure-000000", 2),
    ]
    (other,) = others
    assert (other.begins_after_s, other.awaited, other.turns) == (5.0, False, 1)
    (theirs,) = other
    assert theirs.conversation == "measure-000000-1.1"
    shared = prompts[0].messages[0]["content"][: theirs.shared_prefix_chars]
    assert len(shared) > 1000 and theirs.messages[0]["content"].startswith(shared)
