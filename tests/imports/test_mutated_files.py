"""A corrupted result file of another tool gives a run's page or one sentence."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenswarm.analysis.run_report import report
from tokenswarm.analysis.verdict.outcome import BY_NAME

from tests.examples import examples
from tests.mutations import changed, mutate_json
from tokenswarm.base.errors import UserError
from tokenswarm.imports.folder import import_file

FILES = {path.name: path.read_bytes() for path in sorted((Path(__file__).parent / "data").iterdir())}


def _mutate(text: str, draw: Any) -> str:
    """One JSON, or one of its lines."""
    try:
        json.loads(text)
    except ValueError:
        lines = text.splitlines()
        at = draw(st.integers(0, len(lines) - 1))
        lines[at] = mutate_json(lines[at], draw)
        return "\n".join(lines)
    return mutate_json(text, draw)


@st.composite
def files(draw: Any) -> tuple[str, bytes]:
    """A name and a content."""
    name = draw(st.sampled_from(sorted(FILES)))
    return name, draw(changed(FILES[name], _mutate)) or b""


@settings(max_examples=examples(60), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(files())
def test_any_file_of_another_tool_is_a_page_or_a_sentence(file: tuple[str, bytes]) -> None:
    name, content = file
    with tempfile.TemporaryDirectory() as under:
        (Path(under) / name).write_bytes(content)
        try:
            folders = import_file(Path(under) / name, results=Path(under) / "results")
            outcomes = [report(folder).outcome for folder in folders]
        except UserError as error:
            assert "\n" not in str(error)
            return
        assert all(outcome.name in BY_NAME and outcome.name != "PASSED" for outcome in outcomes)
