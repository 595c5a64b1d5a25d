"""The user's own prompts are sent as they are in the file."""

from __future__ import annotations

import json

import pytest

from tokenswarm import workloads
from tokenswarm.base.config_text import parse_set
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.traces.request import TraceRequest
from tokenswarm.workloads.base import with_prefix
from tokenswarm.workloads.dataset import check_for, taken

ROWS = [
    {"prompt": f"Question {n}?", "answer": f"Answer {n}", "max_tokens": 10 + n, "temperature": 0.5} for n in range(40)
]


@pytest.fixture
def make(tmp_path, corpus):
    def make(rows=ROWS, overrides="", seed=1, salt="salt"):
        path = tmp_path / "prompts.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
        return workloads.create(load_scenario("dataset", parse_set(overrides), str(path)), corpus, seed, salt)

    return make


def _prompts(workload, phase="measure", numbers=range(40)):
    return [prompt for number in numbers for prompt in workload.session(phase, number)]


def test_a_row_says_how_long_its_answer_is_and_what_else_the_body_has(make):
    prompts = {p.messages[0]["content"].split("\n\n")[1]: p for p in _prompts(make())}
    assert set(prompts) == {row["prompt"] for row in ROWS}
    assert prompts["Question 7?"].max_tokens == 17
    assert prompts["Question 7?"].body == {"temperature": 0.5}


def test_every_session_comes_once_before_any_comes_again(make):
    texts = [p.messages[0]["content"].split("\n\n")[1] for p in _prompts(make(), numbers=range(80))]
    assert sorted(texts[:40]) == sorted(texts[40:]) == sorted(row["prompt"] for row in ROWS)
    assert texts[:40] != [row["prompt"] for row in ROWS]


def test_no_prompt_is_sent_twice_with_the_same_salt(make):
    workload = make()
    sent = [
        p.messages[0]["content"]
        for phase in ("warmup", "before", "measure")
        for p in _prompts(workload, phase, range(200))
    ]
    warm = [p.messages[0]["content"] for p in _prompts(workload, "warmup", range(200))]
    measured = [p.messages[0]["content"] for p in _prompts(workload, "measure", range(200))]
    assert len(set(measured)) == len(measured) == 200
    assert not set(warm) & set(measured)
    assert len(sent) == 600


@pytest.mark.parametrize("sessions", [1, 2, 3, 10, 11])
def test_the_passes_never_give_a_place_twice(sessions):
    for phases in (("warmup", "measure"), ("before", "measure")):
        given = [taken(phase, number, sessions) for phase in phases for number in range(5 * sessions)]
        assert len(set(given)) == len(given)


def test_the_first_pass_shares_its_salt_with_the_warm_up(make):
    rows = [{"system": "Be brief.", "prompt": f"{n}?"} for n in range(40)]
    workload = make(rows)
    warm, measured = (_prompts(workload, phase, range(5)) for phase in ("warmup", "measure"))
    assert {p.messages[0]["content"] for p in warm} == {p.messages[0]["content"] for p in measured}
    assert measured[0].shared_prefix_chars == len(measured[0].messages[0]["content"])


def test_what_only_one_session_begins_with_is_not_called_shared(make):
    prompt = _prompts(make(), numbers=[0])[0]
    assert prompt.shared_prefix_chars == 18  # the salt's


def test_a_conversation_goes_on_with_the_answers_on_record(make):
    turns = [{"role": role, "content": text} for role, text in (("user", "A?"), ("assistant", "B"), ("user", "C?"))]
    workload = make([{"conversation": turns}])
    session = workload.session("measure", 0)
    assert session.turns == 2
    first, second = list(session)
    assert [m["content"] for m in second.messages[1:]] == ["B", "C?"]
    assert second.shared_prefix_chars == len(first.messages[0]["content"])


def test_the_weights_of_the_rows_are_the_shares_of_the_sessions(make):
    rows = [{"prompt": "often", "weight": 9}, {"prompt": "seldom", "weight": 1}, {"prompt": "never", "weight": 0}]
    prompts = _prompts(make(rows, "dataset.order=weighted"), numbers=range(500))
    often = sum(p.messages[0]["content"].endswith("often") for p in prompts)
    assert 420 <= often <= 480
    assert not any("never" in p.messages[0]["content"] for p in prompts)


@pytest.mark.parametrize(
    ("check", "expected", "answer", "good"),
    [
        ("contains", "Paris", "It is PARIS, I think.", True),
        ("contains", "Paris", "Lyon", False),
        ("equals", " Paris", "paris\n", True),
        ("equals", "Paris", "Paris!", False),
        ("regex", r"\b\d{2}\b", "it is 42.", True),
        ("regex", r"^\d+$", "it is 42.", False),
    ],
)
def test_an_answer_is_held_against_the_expected_one(check, expected, answer, good):
    assert check_for(TraceRequest(expected=expected), check)(answer) is good


def test_nothing_is_checked_where_nothing_is_expected_or_wanted():
    assert check_for(TraceRequest(), "contains") is None
    assert check_for(TraceRequest(expected="x"), "none") is None


@pytest.mark.parametrize(
    ("content", "begun"),
    [
        ("Hello", "SALTHello"),
        (None, "SALT"),
        ([{"type": "text", "text": "Hello"}], [{"type": "text", "text": "SALT"}, {"type": "text", "text": "Hello"}]),
    ],
)
def test_the_salt_stands_at_the_very_start_whatever_the_content_is(content, begun):
    assert with_prefix([{"role": "user", "content": content}], "SALT")[0]["content"] == begun


def test_the_file_is_named_whole_and_known_by_its_digest(make, tmp_path):
    settings = make().settings
    assert settings.file == str(tmp_path / "prompts.jsonl")
    assert len(settings.sha256) == 64


def test_a_worker_with_another_file_refuses_it(tmp_path, corpus):
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "one"}\n')
    scenario = load_scenario("dataset", {}, str(tmp_path / "prompts.jsonl"))
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "another"}\n')
    with pytest.raises(UserError, match="not the file that the run was planned with") as caught:
        workloads.create(scenario, corpus, 1, "")
    assert caught.value.code is Exit.DATA


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([{"timestamp": 1, "input_length": 4, "output_length": 2}], "holds no text"),
        ([{"prompt": "x", "weight": 0}], "weight 0"),
        ([{"prompt": "x", "weight": -1}], "weight is below 0"),
    ],
)
def test_a_file_that_is_no_data_set_is_refused(make, rows, sentence):
    with pytest.raises(UserError, match=sentence):
        make(rows)


def test_a_scenario_without_a_file_of_prompts_refuses_one():
    with pytest.raises(UserError, match="takes no file of prompts"):
        load_scenario("rag", {}, "prompts.jsonl")


def test_a_data_set_needs_its_file(corpus):
    with pytest.raises(UserError, match=r"DATA=prompts\.jsonl"):
        workloads.create(load_scenario("dataset"), corpus, 1, "")


def test_what_a_file_was_taken_for_and_what_of_it_is_not_sent_or_may_not_fit_is_said(make):
    (note,) = make(ROWS).notes()
    whole = "The 40 prompts of prompts.jsonl, read as plain JSON of prompts, are asked in 40 sessions"
    assert note == f"{whole}; 40 of the answers are compared with expected ones (contains)."
    assert make(ROWS, "dataset.check=none").notes() == [f"{whole}."]
    rows = [*ROWS * 3, {"prompt": "word " * 20_000}]
    assert make(rows).notes()[0].endswith("; 1 of its prompts seem longer than the context of 16,384 tokens.")
    (note,) = make([*rows[:120], "not an object"]).notes()
    assert "; 1 of the 121 rows of prompts.jsonl cannot be read (row 121: it is not a JSON object)" in note
    (note,) = make(rows, "dataset.max_sessions=40").notes()
    assert note.endswith("; 81 of its requests are of sessions beyond the first 40.")


def test_a_mapping_in_the_scenario_overrides_what_the_names_of_fields_say(make):
    rows = [{"prompt": "not this", "asked": {"text": f"This {n}?"}, "gold": "yes"} for n in range(3)]
    mapping = "dataset.fields.prompt=asked.text dataset.fields.expected=gold"
    prompts = _prompts(make(rows, mapping), numbers=range(3))
    assert {p.messages[0]["content"].split("\n\n")[1] for p in prompts} == {"This 0?", "This 1?", "This 2?"}
    assert all(p.check("Yes.") and not p.check("no") for p in prompts)


def test_a_pattern_that_is_none_is_refused_before_anything_is_asked(make):
    rows = [{"prompt": "a", "expected": "[0-9]+"}, {"prompt": "b", "expected": "(["}]
    make(rows)
    with pytest.raises(UserError, match=r"expected answer of request 2 of .* is not a regular expression") as caught:
        make(rows, "dataset.check=regex")
    assert caught.value.code is Exit.DATA


def test_an_answer_of_no_token_is_asked_for_as_one(make):
    (prompt,) = make([{"prompt": "a", "max_tokens": 0}]).session("measure", 0)
    assert prompt.max_tokens == 1
