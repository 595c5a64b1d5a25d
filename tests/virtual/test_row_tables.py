"""Whole tables of rows are what they were before the model was made faster, to the last digit."""

from __future__ import annotations

import json

import pytest

from tests.virtual.row_tables import CASES, DIGESTS, digest_of

KEPT = json.loads(DIGESTS.read_text(encoding="utf-8"))


def test_every_case_has_a_digest() -> None:
    assert KEPT.keys() == CASES.keys()


@pytest.mark.parametrize("case", CASES)
def test_the_rows_are_the_same(case: str) -> None:
    assert digest_of(case) == KEPT[case], "if they are meant to be others: python -m tests.virtual.row_tables"
