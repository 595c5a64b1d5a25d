"""RAG: shared documents by Zipf's law, the document first, the question last."""

from __future__ import annotations

import math
from collections import Counter
from statistics import fmean

import pytest
from scipy.stats import chisquare


def opened(workload, n=4000):
    return Counter(next(iter(workload.session("measure", i))).document for i in range(n))


@pytest.mark.parametrize("s", [0.0, 1.0, 1.7])
def test_popularity_of_documents_follows_zipf(make, s):
    counts = opened(make("rag", f"rag.zipf_s={s} rag.documents=10 rag.document_tokens=100"))
    weights = [rank**-s for rank in range(1, 11)]
    observed = [counts[f"doc-{rank:03d}"] for rank in range(1, 11)]
    expected = [4000 * weight / sum(weights) for weight in weights]
    assert chisquare(observed, expected).pvalue > 0.001


def test_the_chi_square_test_would_notice_another_exponent(make):
    counts = opened(make("rag", "rag.zipf_s=1.2 rag.documents=10 rag.document_tokens=100"))
    weights = [1 / rank for rank in range(1, 11)]
    observed = [counts[f"doc-{rank:03d}"] for rank in range(1, 11)]
    assert chisquare(observed, [4000 * weight / sum(weights) for weight in weights]).pvalue < 0.001


def test_documents_are_about_as_long_as_asked(make):
    workload = make("rag", "rag.documents=200 rag.zipf_s=0")
    lengths = [len(workload.document("steady", rank).text) / 4 for rank in range(1, 201)]
    assert fmean(lengths) == pytest.approx(3000, rel=0.08)
    assert min(lengths) >= 990 and max(lengths) <= 6050


def test_characters_per_token_scale_the_documents(make):
    workload = make("rag", "prompts.chars_per_token=2 rag.document_tokens=1000")
    assert len(workload.document("steady", 1).text) == pytest.approx(2000, abs=100)


def test_documents_differ_from_their_first_words_on(make):
    workload = make("rag", "rag.documents=300 rag.document_tokens=50")
    systems = {workload.document("steady", rank).system.partition("Reference")[2][:40] for rank in range(1, 301)}
    assert len(systems) == 300


def test_a_document_is_built_once(make):
    workload = make("rag")
    assert workload.document("steady", 1) is workload.document("steady", 1)


def test_questions_quote_the_document_and_differ(make):
    workload = make("rag", "rag.questions_per_reader=8 rag.documents=1")
    session = workload.session("measure", 0)
    text = " ".join(word for word in workload.document("steady", 1).text.split() if any(map(str.isalnum, word)))
    questions = []
    for prompt in session:
        question = prompt.messages[-1]["content"]
        assert question[question.index("'") + 1 : question.rindex("'")] in text
        questions.append(question)
    assert len(set(questions)) == 8


def test_without_history_a_prompt_is_the_document_and_one_question(make):
    session = make("rag", "rag.questions_per_reader=4").session("measure", 1)
    for prompt in session:
        session.record_answer("An answer.")
        assert [message["role"] for message in prompt.messages] == ["system", "user"]
        assert prompt.shared_prefix_chars == len(prompt.messages[0]["content"])


def test_with_history_earlier_questions_and_answers_come_along(make):
    session = make("rag", "rag.questions_per_reader=3 rag.history=true").session("measure", 1)
    sent = []
    for prompt in session:
        session.record_answer(f"Answer {prompt.turn}.")
        sent.append(prompt)
    assert [len(prompt.messages) for prompt in sent] == [2, 4, 6]
    assert sent[2].messages[:2] == sent[0].messages
    assert [m["content"] for m in sent[2].messages if m["role"] == "assistant"] == ["Answer 1.", "Answer 2."]
    assert sent[1].shared_prefix_chars == sum(len(m["content"]) for m in sent[0].messages)


def test_a_question_without_an_answer_leaves_no_history(make):
    session = make("rag", "rag.questions_per_reader=2 rag.history=true").session("measure", 1)
    assert [len(prompt.messages) for prompt in session] == [2, 2]


def test_readers_ask_as_many_questions_as_the_distribution_says(make):
    workload = make("rag", "rag.questions_per_reader={kind='uniform',low=1,high=5} rag.document_tokens=50")
    assert {len(list(workload.session("measure", i))) for i in range(200)} == {1, 2, 3, 4, 5}


def test_the_warm_up_opens_each_document_once_before_it_opens_them_by_popularity(make):
    def documents(workload, phase, numbers):
        return [next(iter(workload.session(phase, number))).document for number in numbers]

    workload = make("rag", "rag.documents=12 rag.new_documents_per_minute=0")
    assert documents(workload, "warmup", range(12)) == [f"doc-{rank:03d}" for rank in range(1, 13)]
    assert len(set(documents(workload, "warmup", range(12, 24)))) < 12
    assert len(set(documents(workload, "measure", range(12)))) < 12
    cold = make("rag", "rag.documents=12 prompts.state=cold")
    assert len(set(documents(cold, "warmup", range(12)))) < 12


def test_the_warm_up_leaves_closed_what_nobody_would_have_opened_in_service(make):
    """24 documents of equal popularity, each on the shelf for 24 s, and one reader a second: many are never opened."""
    settings = "rag.documents=24 rag.zipf_s=0 rag.questions_per_reader=1 rag.document_tokens=100 load.rate=1"
    opened = {rate: [] for rate in (1, 100)}
    for rate, shares in opened.items():
        for seed in range(40):
            workload = make("rag", f"{settings.replace('load.rate=1', f'load.rate={rate}')}", seed=seed)
            asked = [next(iter(workload.session("warmup", number))).document for number in range(24)]
            shares.append(sum(document == f"doc-{rank:03d}" for rank, document in enumerate(asked, start=1)) / 24)
    # mean over ages 0..23 s of 1 - exp(-age / 24), and one in 24 of the others by chance
    in_service = sum(1 - math.exp(-age / 24) for age in range(24)) / 24
    assert sum(opened[1]) / 40 == pytest.approx(in_service + (1 - in_service) / 24, abs=0.06)
    assert sum(opened[100]) / 40 > 0.9
