"""A corrupted TOML description (scenario, engine, endpoint, claim, space, tier, profile) is read or refused in one
sentence.
"""

from __future__ import annotations

import json
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.mutations import changed, mutate_json
from tokenswarm.base.data_files import COMPOSE_DIR, SCENARIOS_DIR
from tokenswarm.base.errors import UserError
from tokenswarm.base.toml_text import toml_text
from tokenswarm.claim_checks.claim import load_claim
from tokenswarm.engines import load_description
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.scenario.slo_tiers import tiers_of
from tokenswarm.series.space import Limits, load_space
from tokenswarm.sim.hardware import load_profile

LIMITS = Limits({"max_num_seqs": "it is the engine's own"}, gpus=2)
PROFILES = COMPOSE_DIR.parent / "tokenswarm" / "sim" / "profiles"
CLAIMS = COMPOSE_DIR.parent / "claims"
READERS: dict[Path, Callable[[Path], object]] = {
    **dict.fromkeys(sorted(SCENARIOS_DIR.glob("*.toml")), lambda path: load_scenario(str(path)).endpoint.form()),
    **dict.fromkeys(sorted((COMPOSE_DIR / "engines").glob("*.toml")), lambda path: load_description(str(path))),
    **dict.fromkeys(
        sorted((COMPOSE_DIR / "endpoints").glob("*.toml")),
        lambda path: load_scenario("rag", {"endpoint.preset": str(path)}).endpoint.form(),
    ),
    **dict.fromkeys(sorted(CLAIMS.glob("[a-z]*.toml")), lambda path: load_claim(path)),
    **dict.fromkeys(sorted((COMPOSE_DIR / "tune").glob("*.toml")), lambda path: load_space(str(path), LIMITS)),
    **dict.fromkeys(sorted((COMPOSE_DIR / "tiers").glob("*.toml")), lambda path: tiers_of(str(path), 0.9)),
    **dict.fromkeys(sorted(PROFILES.glob("*.toml")), lambda path: load_profile(str(path))),
}


def _mutate(text: str, draw: Any) -> str:
    values = json.loads(mutate_json(json.dumps(tomllib.loads(text), default=str), draw))
    try:
        return toml_text(values)
    except (TypeError, ValueError, AttributeError):
        return text


@st.composite
def files(draw: Any) -> tuple[Path, bytes]:
    """A description and its new content."""
    path = draw(st.sampled_from(sorted(READERS)))
    deep = st.sampled_from([b"a = " + b"[" * 5000, b"a" + b".a" * 5000 + b" = 1", b"a = " + b"9" * 5000, b"\xff\xfe"])
    return path, draw(st.none() | deep) or draw(changed(path.read_bytes(), _mutate)) or b""


@pytest.mark.slow
@settings(max_examples=examples(120), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(files())
def test_any_description_is_read_or_refused_in_a_sentence(file: tuple[Path, bytes]) -> None:
    path, content = file
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / path.name).write_bytes(content)
        try:
            READERS[path](Path(folder) / path.name)
        except UserError as error:
            assert str(error)
