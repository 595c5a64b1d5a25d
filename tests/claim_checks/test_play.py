"""Claims share engine starts, a failure affects only its own claim, and verdicts come last."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from tokenswarm.analysis import claims_files
from tokenswarm.analysis.render.claims_page import claims_markdown, render_claims
from tokenswarm.analysis.verdict.claim_evidence import settle

from tests.run.helpers import ANSWERS, FakeEngine
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.claim_checks import checks, play
from tokenswarm.claim_checks.claim import Claim
from tokenswarm.claim_checks.machine import Machine
from tokenswarm.cli import main
from tokenswarm.contract.claims_record import (
    CONTRADICTED,
    NOT_TESTABLE,
    SUPPORTED,
    UNDECIDED,
    ClaimEvidence,
    Claims,
    read_claims,
    write_claims,
)
from tokenswarm.contract.manifest import PreflightRecord
from tokenswarm.contract.summary.figure import Figure
from tokenswarm.run.checked_engine import EngineTools
from tokenswarm.run.options import LoadOptions


def claim(name: str, check: str = "", engines: tuple[str, ...] = ("vllm", "sglang"), **run: Any) -> Claim:
    by = {"by": "check", "check": check} if check else {"by": "start", "repeats": 2}
    return Claim.model_validate(
        {
            "name": name,
            "title": name,
            "kind": "behaviour",
            "sentence": "So it is.",
            "published": [{"source": "runpod"}],
            "needs": {"engines": list(engines)},
            "run": by | run,
            "expect": {"of": "x"},
        }
    )


class Bench:
    """Engines without a process; `log` says what was started and asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.log: list[str] = []
        self.folder, self.failing = folder, ""
        self.holds: dict[str, bool | BaseException | None] = {}
        for name in ("first", "second", play.WARMUP):
            monkeypatch.setitem(checks.CHECKS, name, self._check(name))

    def _check(self, name: str) -> checks.Check:
        def run(subject: checks.Subject) -> ClaimEvidence:
            self.log.append(name)
            outcome = self.holds.get(name, True)
            if isinstance(outcome, BaseException):
                raise outcome
            return ClaimEvidence(holds=outcome, words="seen")

        return run

    def rules(self) -> play.ClaimRules:
        return play.ClaimRules(
            compare=claims_files.ratio_of_runs,
            spread=claims_files.spread_of_runs,
            trend=claims_files.trend_of,
            one_shot=lambda *_: Figure(),
            mean=claims_files.mean_of,
            report=lambda folder: None,
            settle=settle,
            write=claims_files.write_claims_files,
        )

    def play(self, *claims: Claim, hosts: tuple[str, ...] = ("vllm", "sglang")) -> Claims:
        def bring_up(plan: Any, *_: object) -> FakeEngine:
            self.log.append(f"up {plan.host}")
            if plan.host.endswith(self.failing or "?"):
                raise UserError(Exit.ENGINE, "it did not start\nand a log")
            return FakeEngine([])

        machine = Machine(hosts={name: f"http://127.0.0.1/{name}" for name in hosts})
        asked = play.Asked(
            machine,
            LoadOptions(),
            self.folder,
            engine_tools=EngineTools(bring_up, lambda load: PreflightRecord(**ANSWERS)),
        )  # type: ignore[arg-type]
        return play.play_claims(claims, asked, self.rules(), Console(file=io.StringIO()), "2026-01-01T00:00:00Z")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    return Bench(monkeypatch, tmp_path)


def test_checks_of_one_engine_share_a_start_and_the_warm_up_is_looked_at_first(bench: Bench) -> None:
    record = bench.play(claim("a", "first"), claim("b", "second"), claim("c", play.WARMUP, ("vllm",)))
    assert bench.log == [
        "up http://127.0.0.1/vllm",
        play.WARMUP,
        "first",
        "second",
        "up http://127.0.0.1/sglang",
        "first",
        "second",
    ]
    assert [each.state for each in record.claims] == [SUPPORTED] * 3
    assert record.sentence == "3 supported."


def test_nothing_is_asked_of_a_started_engine_before_the_warm_up_is_looked_at(bench: Bench) -> None:
    asked: list[object] = []
    tools = EngineTools(
        lambda *_: FakeEngine([]),  # type: ignore[arg-type, return-value]
        lambda load: asked.append(load) or PreflightRecord(**ANSWERS),  # type: ignore[func-returns-value]
    )
    machine = Machine(engines={"vllm": None}, device="cpu")
    rules = bench.rules()
    for check, questions in ((play.WARMUP, 0), ("first", 1)):
        record = play.play_claims(
            [claim("a", check, ("vllm",))],
            play.Asked(machine, LoadOptions(), bench.folder, engine_tools=tools),
            rules,
            Console(file=io.StringIO()),
            "2026-01-01T00:00:00Z",
        )
        assert record.claims[0].state == SUPPORTED, record.claims[0]
        assert len(asked) == questions


def test_other_settings_are_another_start(bench: Bench) -> None:
    bench.play(claim("a", "first", ("vllm",)), claim("b", "second", ("vllm",), set="engine.reasoning_parser=qwen3"))
    assert bench.log.count("up http://127.0.0.1/vllm") == 2


def test_an_engine_that_does_not_start_leaves_its_claims_undecided_and_the_others_alone(bench: Bench) -> None:
    bench.failing = "sglang"
    record = bench.play(claim("a", "first"), claim("b", "second", ("vllm",)))
    both, one = record.claims
    assert both.state == UNDECIDED and "it did not start" in both.why and "and a log" not in both.why
    assert one.state == SUPPORTED


def test_one_engine_of_two_does_not_support_a_claim_about_both(bench: Bench) -> None:
    [both] = bench.play(claim("a", "first"), hosts=("vllm",)).claims
    assert both.state == UNDECIDED and "supported of vLLM alone" in both.why


def test_a_counterexample_contradicts(bench: Bench) -> None:
    bench.holds["first"] = False
    [both] = bench.play(claim("a", "first")).claims
    assert both.state == CONTRADICTED


def test_what_lacks_its_engines_is_not_run_and_says_so(bench: Bench) -> None:
    [none] = bench.play(claim("a", "first"), hosts=()).claims
    assert none.state == NOT_TESTABLE and "vllm was not asked for" in none.why and bench.log == []


def test_ctrl_c_keeps_what_is_known(bench: Bench) -> None:
    bench.holds["second"] = KeyboardInterrupt()
    record = bench.play(claim("a", "first", ("vllm",)), claim("b", "second", ("vllm",), set="load.users=3"))
    assert record.reason == "interrupted"
    assert [each.state for each in read_claims(bench.folder).claims] == [SUPPORTED, NOT_TESTABLE]


def test_starts_that_fail_are_counted(bench: Bench) -> None:
    bench.failing = "vllm"
    [one] = bench.play(claim("a", engines=("vllm",))).claims
    assert one.state == SUPPORTED and "2 of 2 starts failed: it did not start" in one.why


def test_a_newer_record_is_refused_and_pages_escape(bench: Bench, tmp_path: Path) -> None:
    record = bench.play(claim("a", "first", ("vllm",)))
    record.claims[0].sentence = "<script>|"
    for page in (render_claims(record), claims_markdown(record)):
        assert "<script>|" not in page and "supported" in page
    record.format += 1
    write_claims(tmp_path, record)
    with pytest.raises(UserError):
        read_claims(tmp_path)


def test_what_a_claim_contradicts_is_named_and_led_to(bench: Bench) -> None:
    record = bench.play(claim("a", "first", ("vllm",)), claim("b", "second", ("vllm",)))
    record.claims[0].contradicts = ["b", "elsewhere"]
    page = render_claims(record)
    assert 'id="claim-b"' in page and 'contradicts <a href="#claim-b">' in page
    assert "contradicts <code>elsewhere</code>" in page, "a claim that was not asked for has no row"
    assert "contradicts b and elsewhere" in claims_markdown(record)


def test_listing_and_dry_run_run_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOKENSWARM_ENGINES", str(tmp_path / "none"))
    monkeypatch.setattr("tokenswarm.claim_checks.machine.find_gpus", lambda: ())
    assert main(["claims", "--dry-run", "--json", "--results", str(tmp_path), "--device", "cpu"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert len(listed["claims"]) > 40 and all(each["missing"] for each in listed["claims"])
    assert sum(each["command"] == "" for each in listed["claims"]) == 3, "nothing measures these yet"
    assert (
        main(
            [
                "claims",
                "--list",
                "--gpu",
                "H100",
                "--gpus",
                "8",
                "--host",
                "vllm=http://x",
                "--host",
                "sglang=http://y",
                "--engines",
                "vllm,sglang",
                "--device",
                "cpu",
            ]
        )
        == 0
    )
    assert "claims can be tested here, in about" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--only", "ttft-58"), Exit.USAGE, "did you mean 'ttft-5-8'"),
        (("--host", "http://x"), Exit.USAGE, "should be ENGINE=URL"),
        (("--engines", "vlm"), Exit.USAGE, "vlm"),
    ],
)
def test_bad_input_is_one_sentence(
    words: tuple[str, ...], code: Exit, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["claims", "--list", *words]) == code
    assert sentence in capsys.readouterr().err


# ---- the checks themselves, on answers as engines give them


def subject(
    document: Any = None, answers: list[Any] | None = None, effective: dict[str, Any] | None = None, trials: int = 3
) -> checks.Subject:
    reply = SimpleNamespace(status=200, json=lambda: document, text="")
    engine = SimpleNamespace(request=lambda *_, **__: reply, effective=effective or {})
    rest = iter(answers or [])
    load = SimpleNamespace(corpus=SimpleNamespace(text="word " * 2000), model="m", keys=())
    return checks.Subject(engine, load, trials, ask=lambda *_: next(rest))  # type: ignore[arg-type]


def answer(cached: int | None, prompt: int = 900, ttft_ms: float | None = 10.0) -> Any:
    return SimpleNamespace(
        ok=True, error=None, ttft_ms=ttft_ms, usage=SimpleNamespace(cached_tokens=cached, prompt_tokens=prompt)
    )


def message(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"message": fields, "finish_reason": fields.pop("finish", "stop")}]}


def test_cached_shares_of_a_shared_document() -> None:
    seen = checks.shared_document(subject(answers=[answer(0), answer(810), answer(819)]))
    assert seen.figure.ends == pytest.approx((0.9, 0.91))
    assert "does not report" in checks.shared_document(subject(answers=[answer(None)] * 3)).why


def test_whole_blocks_and_parts_of_blocks() -> None:
    rest = [answer(0), answer(448), answer(624), answer(816)]
    assert checks.whole_blocks(subject(answers=rest, effective={"block_size": 16})).holds is True
    rest = [answer(0), answer(449), answer(624), answer(816)]
    assert checks.whole_blocks(subject(answers=rest, effective={"block_size": 16})).holds is False
    assert checks.whole_blocks(subject(effective={"block_size": 1})).holds is False
    assert checks.whole_blocks(subject(answers=[answer(0)] * 4, effective={"block_size": 128})).why


def test_partial_overlap_is_a_share_of_what_agrees() -> None:
    rest = [answer(0), answer(490), answer(0, 500), answer(0), answer(700), answer(0, 700)]
    assert checks.partial_overlap(subject(answers=rest)).figure.ends == pytest.approx((0.98, 1.0))


@pytest.mark.parametrize(
    ("fields", "holds"),
    [
        ({"content": "<think>so</think> yes"}, True),
        ({"content": " yes", "reasoning": "so"}, False),
        ({"content": " yes </think> no", "reasoning": "so"}, False),
        ({"content": "so</think> yes"}, True),
        ({"content": None, "reasoning_content": "so"}, False),
    ],
)
def test_where_the_reasoning_is(fields: dict[str, Any], holds: bool) -> None:
    assert checks.tags_in_content(subject(message(**fields))).holds is holds


def test_an_answer_without_text_tells_nothing_of_reasoning() -> None:
    seen = checks.tags_in_content(subject(message(content="")))
    assert seen.holds is None and seen.why


@pytest.mark.parametrize(
    ("content", "holds", "failures"),
    [
        ('{"verdict": "yes", "because": "it rains, and has done so since the morning of yesterday"}', True, 0),
        ('{"verdict": "yes", "because": "too short"}', False, 3),
        ('{"verdict": "perhaps", "because": "it rains, and has done so since the morning of yesterday"}', False, 3),
        ('{"verdict": "yes", "because": "it rains, and has done so since the morning of yesterday\x07"}', False, 3),
        ("Once upon a time", False, 3),
    ],
)
def test_a_schema_is_enforced_or_not(content: str, holds: bool, failures: int) -> None:
    seen = checks.schema_enforced(subject(message(content=content)))
    assert (seen.holds, seen.failures, seen.trials) == (holds, failures, 3)
    assert holds or seen.words.startswith("0 of 3 answers are valid, 0 were cut: ")


def test_cut_answers_are_no_counterexamples() -> None:
    assert "cut" in checks.schema_enforced(subject(message(content="{", finish="length"))).why


def test_a_slow_first_request_stands_out_of_the_later_ones() -> None:
    usual = [10.0, 10.5, 9.5, 10.2, 9.9] * 4
    seen = checks.warmup_effect(subject(answers=[answer(0, ttft_ms=each) for each in [40.0, *usual[1:]]]))
    low, _ = seen.figure.ends
    assert low is not None and low > 3.0
    low, high = checks.warmup_effect(subject(answers=[answer(0, ttft_ms=each) for each in usual])).figure.ends
    assert low is not None and high is not None and low < 1.0 < high
    assert checks.warmup_effect(subject(answers=[answer(0, ttft_ms=None)] * 20)).why


def test_a_verdict_does_not_say_again_what_stands_beside_it(bench: Bench) -> None:
    record = bench.play(claim("a", "first"))
    assert record.claims[0].why == "vLLM: seen; SGLang: seen"
    assert claims_markdown(record).count("seen") == 2
