"""Impossible measurements are rejected wherever text becomes a number."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenswarm.base.numbers import is_sane, json_value, loose_json, sane_json, significant, without_halves
from tokenswarm.engines.spec.metrics_text import samples

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e400", "1e308", "-1e16", "9" * 40, "9" * 5000])
def test_an_absurd_number_in_json_is_not_known(text: str) -> None:
    assert sane_json(f'{{"a": [{text}], "b": 3}}') == {"a": [None], "b": 3}


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "{]"])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    for read in (sane_json, json_value, lambda text: loose_json(text.encode())):
        with pytest.raises(ValueError):
            read(text)


def test_ordinary_numbers_stay_as_they_were_written() -> None:
    assert sane_json("[1, 1.5, -2, 1e15, 9007199254740993]") == [1, 1.5, -2, 1e15, 9007199254740993]
    assert is_sane(0.0) and is_sane(-1e15) and not is_sane(float("nan")) and not is_sane(float("-inf"))


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "1e300"])
def test_an_absurd_sample_of_an_engine_is_passed_over(value: str) -> None:
    assert samples(f"a {value}\na 3\n", frozenset({"a"}))["a"][0].value == 3.0


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [(0.0567, 2, "0.057"), (4.24, 2, "4.2"), (240.4, 2, "240"), (99.96, 3, "100"), (1250.2, 3, "1,250"), (0.0, 3, "0")],
)
def test_a_number_of_few_digits_never_has_an_exponent_for_being_large(value: float, digits: int, shown: str) -> None:
    assert significant(value, digits) == shown


def test_halves_of_characters_are_joined_or_replaced() -> None:
    assert without_halves("a\ud83d\ude00b\ud83dc\ude00") == "a\U0001f600b\ufffdc\ufffd"
    assert loose_json(b'["\\ud83d", "a\xff", "b\x01", NaN]') == ["\ud83d", "a\ufffd", "b\x01", None]


OWN = {
    "tokenswarm/base/numbers.py",
    "tokenswarm/client/events.py",  # what was read before, to say what is odd of it
    "tokenswarm/claim_checks/checks.py",  # files that are installed with an engine
    "tokenswarm/claim_checks/parser_flags.py",
    "tokenswarm/engines/local/install.py",
    "tokenswarm/engines/local/tiny_gguf.py",
    "tokenswarm/commands/capacity.py",  # what this process has written
    "tokenswarm/generator/reporter.py",
    "tokenswarm/run/locust_process.py",
    "tokenswarm/virtual/simulated_engine.py",
}
"""Who may read JSON by Python's own function: nobody expects the RecursionError of what is nested deeply."""


def test_json_of_others_is_read_by_functions_that_raise_one_kind_of_error() -> None:
    found = {
        str(path.relative_to(ROOT))
        for folder in ("tokenswarm", "analysis")
        for path in (ROOT / folder).rglob("*.py")
        if "json.loads(" in path.read_text("utf-8")
    }
    assert found == OWN
