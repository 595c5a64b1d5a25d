"""A corrupted record of a series is made into its page or refused in one sentence."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenswarm.analysis.claims_files import write_claims_files
from tokenswarm.analysis.decision_files import write_decision_files
from tokenswarm.analysis.one_shot_files import write_one_shot_files
from tokenswarm.analysis.render.capacity_page import render_capacity
from tokenswarm.analysis.tune_files import write_tune_files

from tests.browser.gallery import RECORDS
from tests.examples import examples
from tests.mutations import changed, mutate_json
from tokenswarm.base.errors import UserError
from tokenswarm.contract.capacity_record import read_capacity
from tokenswarm.contract.claims_record import read_claims
from tokenswarm.contract.decision_record import read_decision
from tokenswarm.contract.one_shot_record import read_one_shot
from tokenswarm.contract.tune_record import read_tune

MAKERS: dict[str, Callable[[Path], object]] = {
    "tune": lambda folder: write_tune_files(read_tune(folder), folder),
    "decision": lambda folder: write_decision_files(read_decision(folder), folder),
    "claims": lambda folder: write_claims_files(read_claims(folder), folder),
    "oneshot": lambda folder: write_one_shot_files(read_one_shot(folder), folder),
    "capacity": lambda folder: (folder / "capacity.html").write_text(render_capacity(read_capacity(folder))),
}


@st.composite
def records(draw: Any) -> tuple[str, bytes | None]:
    """The name of a record and its content."""
    name = draw(st.sampled_from(sorted(MAKERS)))
    return name, draw(changed((RECORDS / f"{name}.json").read_bytes(), mutate_json))


@settings(max_examples=examples(60), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(records())
def test_any_record_of_a_series_is_a_page_or_a_sentence(record: tuple[str, bytes | None]) -> None:
    name, content = record
    with tempfile.TemporaryDirectory() as under:
        folder = Path(under)
        if content is not None:
            (folder / f"{name}.json").write_bytes(content)
        try:
            MAKERS[name](folder)
        except UserError as error:
            assert "\n" not in str(error)
            return
        assert "<h1>" in (folder / f"{name}.html").read_text()
