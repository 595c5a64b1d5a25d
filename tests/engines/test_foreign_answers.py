"""Whatever an endpoint answers before and during a load becomes a value or a sentence."""

from __future__ import annotations

import json
import tempfile
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenswarm.base.endpoint import Endpoint
from tokenswarm.base.errors import UserError
from tokenswarm.contract.manifest import Manifest, manifest_json
from tokenswarm.engines import kept, load_description
from tokenswarm.engines import management_http as web
from tokenswarm.engines.adopt import adopt
from tokenswarm.engines.cache_reset import reset_cache
from tokenswarm.engines.engine_protocol import Engine
from tokenswarm.engines.spec import metrics_text
from tokenswarm.engines.spec.engine_spec import known_engines
from tokenswarm.engines.watch import histograms
from tokenswarm.run import calibration, prompt_lengths
from tokenswarm.run.preflight import listed_models

NAMES = [
    "data",
    "id",
    "models",
    "version",
    "max_model_len",
    "count",
    "success",
    "model_config",
    "server_args",
    "usage",
    "choices",
    "message",
    "x",
]
ODD = st.sampled_from(
    [None, True, "", "m", "\x1b[31m", "\ud800", -1, 0, 1e308, 10**40, float("inf"), [], {}, [None], "x" * 11_000]
)
TREES = st.recursive(
    ODD | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)
BODIES = (
    TREES.map(lambda tree: json.dumps(tree).encode("utf-8", "replace"))
    | st.binary(max_size=30)
    | st.sampled_from(
        [b"", b"[" * 5000, b'{"data":' * 5000, b'{"data": [' + b'{"id": "m"},' * 500 + b"0]}", b"\xff\xfe"]
    )
)
HEADERS = st.dictionaries(st.sampled_from(["server", "location", "content-type"]), st.text(max_size=9))
REPLIES = st.builds(web.HttpReply, st.sampled_from([200, 200, 200, 200, 301, 400, 401, 404, 500, 99]), HEADERS, BODIES)
MANY: dict[str, Any] = {
    "max_examples": 40,
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
}


def answering(replies: list[web.HttpReply]) -> Any:
    """Every request is answered by the next of these, over and over."""
    asked = [0]

    def request(*_: Any, **__: Any) -> web.HttpReply:
        asked[0] += 1
        return replies[asked[0] % len(replies)]

    return mock.patch.object(web, "request", request)


def written(engine: Engine) -> None:
    json.dumps(manifest_json(Manifest(engine=engine.record())), allow_nan=False, ensure_ascii=False).encode("utf-8")


@settings(**MANY)
@given(st.lists(REPLIES, min_size=1, max_size=4), st.sampled_from([None, *known_engines()]))
def test_an_engine_whatever_it_answers_is_adopted_or_refused_in_a_sentence(
    replies: list[web.HttpReply], name: str | None
) -> None:
    description = None if name is None else load_description(name)
    with answering(replies):
        try:
            engine = adopt("http://127.0.0.1:1", description=description)
        except UserError as error:
            assert "\n" not in str(error)
            return
        engine.metrics_text()
        reset_cache(engine, wanted=True, wait_s=0.0)
    written(engine)


@settings(**MANY)
@given(REPLIES)
def test_lists_of_models_and_counts_of_tokens_are_values_or_none(reply: web.HttpReply) -> None:
    endpoint = Endpoint("http://127.0.0.1:1")
    load = SimpleNamespace(endpoint=endpoint, base_url=endpoint.url, model="m", api_key=None)
    with (
        mock.patch("tokenswarm.run.preflight.request", lambda *_, **__: reply),
        mock.patch.object(prompt_lengths, "request", lambda *_, **__: reply),
    ):
        names = listed_models(endpoint, None).names
        count = prompt_lengths.tokenized(load, "a text")
    assert names is None or all(isinstance(name, str) and name.isprintable() for name in names)
    assert count is None or count > 0


LINES = (
    st.lists(
        st.builds(
            "{}{} {}".format,
            st.sampled_from(
                [
                    "vllm:num_requests_running",
                    "vllm:time_to_first_token_seconds_bucket",
                    "vllm:time_to_first_token_seconds_sum",
                    "x",
                    "#",
                ]
            ),
            st.sampled_from(["", '{le="0.1"}', '{le="+Inf"}', '{le="x"}', "{le=", '{model_name="\\"}']),
            st.sampled_from(["1", "-1", "NaN", "+Inf", "1e308", "x", "", "1 2 3"]),
        ),
        max_size=8,
    ).map("\n".join)
    | st.text()
)


@settings(**MANY)
@given(LINES)
def test_any_text_of_metrics_is_sane_numbers_or_none(text: str) -> None:
    spec = load_description("vllm")
    values = metrics_text.canonical(text, spec.metrics)
    assert all(value is None or abs(value) <= 1e15 for value in values.values())
    reading = histograms.read(text, spec.histograms, 0.0)
    assert all(histogram.count >= 0 for histogram in reading.histograms.values())


def note(kind: type) -> st.SearchStrategy[str]:
    """The JSON of a note with odd values."""
    return st.fixed_dictionaries({each.name: ODD for each in fields(kind)}).map(json.dumps)


@settings(**MANY)
@given(TREES.map(json.dumps) | note(kept.Running) | note(calibration.Calibration) | st.just("[" * 5000))
def test_notes_of_earlier_commands_however_damaged_are_passed_over(text: str) -> None:
    with tempfile.TemporaryDirectory() as under:
        folder = Path(under) / "running"
        folder.mkdir()
        (folder / "x.json").write_text(text, encoding="utf-8", errors="replace")
        list(kept.written_down(Path(under)))
        (Path(under) / "calibration.json").write_text(text, encoding="utf-8", errors="replace")
        with mock.patch.object(calibration, "path", lambda: Path(under) / "calibration.json"):
            found = calibration.stored()
            assert found is None or found.workers_for(10) >= 1
