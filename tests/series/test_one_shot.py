"""One prompt on each engine: the same texts, in turn, each first cold."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from tests.run.helpers import ANSWERS, FakeEngine
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.cli import main
from tokenswarm.client.answer import Answer, Usage
from tokenswarm.contract.manifest import PreflightRecord
from tokenswarm.contract.one_shot_record import OneShot, read_one_shot, write_one_shot
from tokenswarm.run.checked_engine import EngineTools
from tokenswarm.run.options import LoadOptions
from tokenswarm.run.run_plan import resolve
from tokenswarm.series.one_shot import Question, ShotTools, ask_all, can_coexist, texts


def good() -> Answer:
    return Answer(e2e_ms=500.0, ttft_ms=50.0, chunks=8, usage=Usage(20, 16, 8))


def failing(**_: object) -> Answer:
    answer = Answer(http_status=400)
    answer.fail("rejected", "the prompt is too long")
    return answer


class Asked:
    """Engines without a process, which note what they were asked."""

    def __init__(self, coexist: bool = True, answer: Any = good, hosts: tuple[str, ...] = ("http://a:1", "http://b:1")):
        self.log: list[str] = []
        self.prompts: list[tuple[str, str]] = []
        self._answer, self._coexist = answer, coexist
        self.plans = {
            f"engine {number}": resolve(
                LoadOptions(engine="external", scenario="chat", host=host, overrides={"prompts.chars_per_token": "4.0"})
            )
            for number, host in enumerate(hosts, 1)
        }

    def ask(self, load: Any, prompt: Any, most_tokens: int) -> Answer:
        self.prompts.append((load.base_url, prompt.messages[0]["content"]))
        return self._answer()

    def play(self, folder: Path, question: Question) -> tuple[OneShot, UserError | None]:
        def bring_up(plan: Any, *_: object) -> FakeEngine:
            engine = FakeEngine(self.log)
            engine.base_url = plan.host
            self.log.append(f"up {plan.host}")
            return engine

        tools = ShotTools(
            EngineTools(bring_up, lambda load: PreflightRecord(**ANSWERS)),  # type: ignore[arg-type]
            self.ask,
            lambda plan: self._coexist,
        )
        return ask_all(self.plans, question, folder, Console(file=io.StringIO()), tools)


QUESTION = Question("Why?", max_tokens=8, repeats=2, warmups=1)


def test_cold_texts_share_no_beginning_and_cached_ones_are_equal() -> None:
    first, second = texts(QUESTION, "salt-1"), texts(QUESTION, "salt-2")
    assert [case for case, _ in first] == ["cold", "cached"] and first[0][1] == first[1][1]
    assert first[0][1][:4] != second[0][1][:4] and first[0][1].endswith("Why?")


def test_a_context_is_asked_fresh_cached_cached_and_without_it() -> None:
    asked = texts(Question("Why?", context="A long text."), "salt")
    assert [case for case, _ in asked] == ["fresh", "cached", "cached_again", "small"]
    assert len({text for _, text in asked[:3]}) == 1
    small = asked[3][1]
    assert "A long text." not in small and small[:4] != asked[0][1][:4]


def test_engines_that_are_up_together_are_asked_in_turn(tmp_path: Path) -> None:
    asked = Asked()
    record, problem = asked.play(tmp_path, QUESTION)
    assert problem is None and record.interleaved
    assert [(shot.engine[-1], shot.repeat) for shot in record.shots if shot.case == "cold"] == [
        ("1", 1),
        ("2", 1),
        ("2", 2),
        ("1", 2),
    ]
    assert [shot.number for shot in record.shots] == list(range(1, 9))
    measured = asked.prompts[2:]
    assert {text for url, text in measured if "a:1" in url} == {text for url, text in measured if "b:1" in url}
    assert asked.prompts[0][1] not in {text for _, text in measured}, "the warm-up leaves nothing in a cache"


def test_engines_that_cannot_be_up_together_are_started_one_after_the_other(tmp_path: Path) -> None:
    asked = Asked(coexist=False)
    record, _ = asked.play(tmp_path, QUESTION)
    assert not record.interleaved
    assert asked.log == ["up http://a:1", "engine stopped", "up http://b:1", "engine stopped"]
    assert [shot.engine[-1] for shot in record.shots] == ["1"] * 4 + ["2"] * 4


def test_one_server_on_both_sides_gets_texts_of_its_own_for_each(tmp_path: Path) -> None:
    asked = Asked(hosts=("http://a:1", "http://a:1"))
    record, _ = asked.play(tmp_path, QUESTION)
    cold = {shot.engine for shot in record.shots}
    assert len(cold) == 2 and len({text for _, text in asked.prompts[2:]}) == 4


def test_a_prompt_that_an_engine_refuses_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        Asked(answer=failing).play(tmp_path, QUESTION)
    assert refused.value.code is Exit.ENDPOINT and "the prompt is too long" in str(refused.value)


def test_what_was_measured_before_an_engine_fails_is_kept(tmp_path: Path) -> None:
    answers = iter([good() for _ in range(5)])
    record, problem = Asked(coexist=False, answer=lambda: next(answers, None) or failing()).play(tmp_path, QUESTION)
    assert problem is not None and len([shot for shot in record.shots if shot.status == "ok"]) == 4
    assert "the prompt is too long" in record.reason


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path) -> None:
    answers = iter([good() for _ in range(4)])

    def answer() -> Answer:
        for one in answers:
            return one
        raise KeyboardInterrupt

    asked = Asked(answer=answer)
    record, problem = asked.play(tmp_path, QUESTION)
    assert problem is None and record.reason == "interrupted" and len(record.shots) == 2
    assert asked.log[-2:] == ["engine stopped", "engine stopped"]


def test_what_runs_already_and_what_costs_nothing_can_be_up_together(monkeypatch: pytest.MonkeyPatch) -> None:
    def plan(simulated: bool) -> Any:
        return SimpleNamespace(
            engine=SimpleNamespace(runtime="local", spec=SimpleNamespace(simulated=simulated, name="vllm"))
        )

    monkeypatch.setattr("tokenswarm.engines.running.find", lambda *_, **__: [])
    assert can_coexist(SimpleNamespace(engine=None)) and can_coexist(plan(True)) and not can_coexist(plan(False))
    monkeypatch.setattr("tokenswarm.engines.running.find", lambda *_, **__: ["one"])
    assert can_coexist(plan(False))


def test_the_record_is_read_as_it_was_written_and_a_newer_one_is_refused(tmp_path: Path) -> None:
    record, _ = Asked().play(tmp_path, QUESTION)
    write_one_shot(tmp_path, record)
    assert read_one_shot(tmp_path) == record
    record.format += 1
    write_one_shot(tmp_path, record)
    with pytest.raises(UserError):
        read_one_shot(tmp_path)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ((), Exit.USAGE, "there is no prompt"),
        (("--prompt", " "), Exit.USAGE, "there is no prompt"),
        (("--prompt", "x", "--context", "there/is/none.txt"), Exit.DATA, "none.txt cannot be read"),
        (("--prompt", "x", "--context", "{binary}"), Exit.DATA, "not text in UTF-8"),
        (("--prompt", "x", "--context", "{empty}"), Exit.DATA, "holds no text"),
        (("--prompt", "x", "--engines", "a,b,c"), Exit.USAGE, "one or two names"),
        (("--prompt", "x", "--b-host", "http://127.0.0.1:1"), Exit.USAGE, "--b-host needs --a-host"),
        (("--prompt", "x", "--host", "http://x", "--a-host", "http://y"), Exit.USAGE, "not both"),
        (("--prompt", "x", "--host", "http://127.0.0.1:1"), Exit.ENDPOINT, "Nothing answers at http://127.0.0.1:1"),
    ],
)
def test_bad_input_is_one_sentence_with_a_code(
    words: tuple[str, ...], code: Exit, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty").write_text(" \n")
    given = [word.format(binary=tmp_path / "binary", empty=tmp_path / "empty") for word in words]
    assert main(["oneshot", *given, "--results", str(tmp_path / "results")]) == code
    assert sentence in capsys.readouterr().err
