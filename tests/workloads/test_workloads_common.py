"""What holds for every workload: determinism, salt, phases, honest prefix lengths."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from itertools import combinations

import pytest

from tokenswarm import workloads
from tokenswarm.base.config_text import parse_set
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.scenario.loading import load_scenario, scenario_names
from tokenswarm.workloads.base import as_cached, content_text
from tokenswarm.workloads.corpus import corpus_of

from .conftest import data_for

NOT_RECORDED = [name for name in scenario_names() if name != "replay"]
"""A trace's own texts are the same whatever the seed, and its warm-up shares nothing with what is measured."""
STAMPED_ONCE = [name for name in scenario_names() if name != "synthetic"]
"""A synthetic beginning is as long as asked with its salt, and what is behind it has one of its own."""
_PRINT_HASH = """
import hashlib, json, sys
from tokenswarm import workloads
from tokenswarm.workloads.corpus import load_corpus
from tokenswarm.scenario.loading import load_scenario, scenario_names
digest = hashlib.sha256()
for name in scenario_names():
    data = sys.argv[1] if name == "dataset" else sys.argv[2] if name == "replay" else None
    workload = workloads.create(load_scenario(name, data=data), load_corpus(), 5, "salt")
    for number in range(40):
        session = workload.session("measure", number)
        for p in session:
            digest.update(json.dumps([p.messages, p.conversation, p.turn, p.shared_prefix_chars, p.document,
                                      p.max_tokens]).encode())
            session.record_answer("an answer")
print(digest.hexdigest())
"""


def prompts(workload, phase="measure", numbers=range(30), answer="Some answer."):
    found = []
    for number in numbers:
        session = workload.session(phase, number)
        for prompt in session:
            found.append(prompt)
            session.record_answer(answer)
    return found


def text_of(prompt):
    return "".join(content_text(message) for message in prompt.messages)


def cached_text(prompt):
    """With the definitions of tools, which stand before."""
    return "".join(content_text(message) for message in as_cached(prompt))


def common_prefix(a, b):
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def test_prompts_are_equal_byte_for_byte_in_processes_with_different_hash_seeds(monkeypatch, capsys):
    data = [data_for("dataset"), data_for("replay")]
    another_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    other = subprocess.Popen(
        [sys.executable, "-c", _PRINT_HASH, *data],
        env={**os.environ, "PYTHONHASHSEED": another_seed},
        stdout=subprocess.PIPE,
        text=True,
    )
    monkeypatch.setattr(sys, "argv", ["", *data])
    exec(_PRINT_HASH, {})
    digest = capsys.readouterr().out.strip()
    assert len(digest) == 64 and digest == other.communicate()[0].strip()


@pytest.mark.parametrize("name", scenario_names())
def test_sessions_do_not_depend_on_the_order_in_which_they_are_made(make, name):
    forth, back = make(name), make(name)
    numbers = list(range(20))
    a = {p.conversation + str(p.turn): text_of(p) for p in prompts(forth, numbers=numbers)}
    b = {p.conversation + str(p.turn): text_of(p) for p in prompts(back, numbers=reversed(numbers))}
    assert a == b and len(a) >= 20


@pytest.mark.parametrize("name", scenario_names())
def test_a_session_can_be_run_through_again(make, name):
    session = make(name).session("measure", 3)
    assert [text_of(p) for p in session] == [text_of(p) for p in session]


@pytest.mark.parametrize("name", NOT_RECORDED)
def test_another_seed_gives_other_prompts(make, name):
    one, two = ({text_of(p) for p in prompts(make(name, seed=seed, salt=""))} for seed in (1, 2))
    # The small questions of chat-7k are few and may coincide.
    assert len(one & two) <= (0.3 * len(one) if name == "chat-7k" else 0)


@pytest.mark.parametrize("name", scenario_names())
def test_the_salt_makes_prompts_of_two_runs_differ_almost_from_the_first_character(make, name):
    one, two = (text_of(prompts(make(name, salt=salt))[0]) for salt in ("run-1", "run-2"))
    assert common_prefix(one, two) <= 2
    assert one[16:18] == "\n\n" and one[18:] == two[18:]  # and nothing else differs


@pytest.mark.parametrize("name", STAMPED_ONCE)
def test_no_salt_leaves_no_trace(make, name):
    salted, plain = (text_of(prompts(make(name, salt=salt))[0]) for salt in ("x", ""))
    assert salted[18:] == plain


@pytest.mark.parametrize("name", STAMPED_ONCE)
def test_all_prompts_of_a_phase_carry_the_same_salt(make, name):
    assert len({text_of(p)[:18] for p in prompts(make(name))}) == 1


@pytest.mark.parametrize("name", scenario_names())
def test_a_cold_measured_phase_shares_no_prefix_with_the_warm_up(make, name):
    workload = make(name, "prompts.state=cold")
    warm = text_of(prompts(workload, "warmup")[0])
    for prompt in prompts(workload, "measure"):
        assert common_prefix(warm, text_of(prompt)) <= 2


@pytest.mark.parametrize("name", NOT_RECORDED)
def test_in_a_steady_state_sessions_differ_by_phase_and_what_they_share_does_not(make, name):
    workload = make(name, "prompts.state=steady")
    warm, measured = (prompts(workload, phase) for phase in ("warmup", "measure"))
    assert not {p.conversation for p in warm} & {p.conversation for p in measured}
    shared = {p.document: cached_text(p)[: p.shared_prefix_chars] for p in measured if p.turn == 1}
    again = [p for p in warm if p.turn == 1 and p.document in shared]
    assert again
    for prompt in again:
        assert cached_text(prompt).startswith(shared[prompt.document])
        assert prompt.shared_prefix_chars == len(shared[prompt.document])
    assert not {text_of(p) for p in warm if p.turn == 1} & {text_of(p) for p in measured if p.turn == 1}


@pytest.mark.parametrize("name", ["rag", "batch"])
def test_a_cold_phase_uses_other_documents_than_the_warm_up_even_without_a_salt(make, name):
    workload = make(name, "prompts.state=cold", salt="")
    tails = [{text_of(p)[-400:] for p in prompts(workload, phase)} for phase in ("warmup", "measure")]
    assert not tails[0] & tails[1]


@pytest.mark.parametrize("overrides", ["", "rag.history=true"])
def test_the_shared_prefix_of_rag_is_really_shared_by_the_readers_of_a_document(make, overrides):
    by_document = {}
    for prompt in prompts(make("rag", overrides + " rag.documents=3")):
        by_document.setdefault(prompt.document, []).append(prompt)
    assert len(by_document) == 3
    for group in by_document.values():
        for a, b in combinations(group, 2):
            document = len(a.messages[0]["content"])
            assert min(a.shared_prefix_chars, b.shared_prefix_chars) >= document
            assert text_of(a)[:document] == text_of(b)[:document]


@pytest.mark.parametrize("name", scenario_names())
def test_a_shared_prefix_was_sent_before_or_is_common_to_all(make, name):
    seen: list[str] = []
    all_prompts = prompts(make(name, "" if name != "rag" else "rag.history=true"), numbers=range(12))
    # The first request with a document is the one that the others share with.
    for prompt in all_prompts:
        shared = cached_text(prompt)[: prompt.shared_prefix_chars]
        if prompt.turn > 1:
            assert any(text.startswith(shared) for text in seen)
        seen.append(cached_text(prompt))


@pytest.mark.parametrize("name", scenario_names())
def test_conversation_names_and_turns_tell_prompts_apart(make, name):
    found = prompts(make(name))
    assert len({(p.conversation, p.turn) for p in found}) == len(found)
    assert found[0].conversation == "measure-000000" and found[0].turn == 1


@pytest.mark.parametrize("name", scenario_names())
def test_messages_end_with_the_user_and_can_be_sent(make, name):
    for prompt in prompts(make(name)):
        assert prompt.messages[-1]["role"] == "user"
        assert all(message.keys() == {"role", "content"} for message in prompt.messages)
        text_of(prompt).encode("utf-8")


@pytest.mark.parametrize(
    ("name", "key"),
    [("rag", "rag.document_tokens"), ("chat-7k", "chat.context_tokens"), ("batch", "batch.document_tok")],
)
def test_a_corpus_too_short_for_the_scenario_is_refused_before_the_load(name, key):
    overrides = "batch.document_tokens=5000" if name == "batch" else ""
    with pytest.raises(UserError, match=key) as caught:
        workloads.create(load_scenario(name, parse_set(overrides)), corpus_of("word " * 1000, "short"), 1, "")
    assert caught.value.code == Exit.CORPUS


@pytest.mark.parametrize(("state", "scope"), [("steady", b"steady"), ("cold", b"measure")])
def test_the_stamp_is_a_digest_of_the_salt_and_of_who_shares_it(make, state, scope):
    expected = hashlib.sha256(b"a1b2c3/" + scope).hexdigest()[:16]
    assert text_of(prompts(make("rag", f"prompts.state={state}"))[0]).startswith(expected + "\n\n")
