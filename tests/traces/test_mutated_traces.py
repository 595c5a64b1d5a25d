"""A corrupted trace of each format is read or refused in one sentence."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.mutations import changed, mutate_csv, mutate_json
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.traces.formats import FORMATS
from tokenswarm.traces.reader import open_trace

_BODY = {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 7, "temperature": 0.2}
_SUB_AGENT = {"t": 6.5, "type": "s", "in": 64, "out": 2, "hash_ids": [9], "api_time": 1.0}
_ROWS: dict[str, list[dict[str, Any]]] = {
    "mooncake": [
        {"timestamp": 0, "input_length": 1200, "output_length": 80, "hash_ids": [0, 1, 2]},
        {"timestamp": 950, "input_length": 1536, "output_length": 40, "hash_ids": [0, 1, 7]},
    ],
    "bailian": [
        {"chat_id": 1, "parent_chat_id": -1, "timestamp": 0.5, "input_length": 40, "turn": 1, "hash_ids": [5, 6, 7]}
        | {"output_length": 9, "type": "text"},
        {"chat_id": 2, "parent_chat_id": 1, "timestamp": 9.1, "input_length": 70, "turn": 2, "hash_ids": [5, 6, 8]}
        | {"output_length": 9, "type": "text"},
    ],
    "body_log": [
        {"timestamp": "2026-01-02T03:04:05Z", "body": json.dumps(_BODY)},
        {"timestamp": 1767323046.5, "body": _BODY, "completion_tokens": 3},
    ],
    "agentic": [
        {"conversation_id": "c", "turn": 1, "role": "user", "content": "Weather?", "system": "Be brief."},
        {"conversation_id": "c", "turn": 2, "role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"conversation_id": "c", "turn": 3, "role": "tool", "content": "sunny", "delay_seconds": 1.5},
        {"conversation_id": "c", "turn": 4, "role": "assistant", "content": "Sunny."},
    ],
    "openai_batch": [{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": _BODY}],
    "plain_json": [{"prompt": "a", "timestamp": 1.5, "output_tokens": 3}],
    "turn_rows": [{"prompt_0": "One?", "output_tokens_count_0": 4, "prompt_1": "Two?"}],
    "wildchat": [{"conversations": [{"content": "Hi?"}, {"value": "Hello."}, {"content": "Sure?"}]}],
    "sharegpt": [{"id": "x", "conversations": [{"from": "human", "value": "1+1?"}, {"from": "gpt", "value": "2"}]}],
    "weka": [
        {"id": "s1", "models": ["m"], "block_size": 64, "hash_id_scope": "local"}
        | {
            "requests": [
                {"t": 0.0, "type": "s", "in": 190, "out": 210, "hash_ids": [0, 1, 2], "api_time": 4.0},
                {"t": 6.0, "type": "subagent", "agent_id": "a1", "duration_ms": 9000, "requests": [_SUB_AGENT]},
            ]
        }
    ],
}
_TABLES = {
    "azure": "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50,3,1\n",
    "burstgpt": "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,X,472,18,490,API log\n",
    "plain_csv": "system_prompt,question,answer,temperature\nBe brief.,What then?,Nothing.,0.5\n",
}
SAMPLES = _TABLES | {name: "".join(json.dumps(row) + "\n" for row in rows) for name, rows in _ROWS.items()}


def _one_line(text: str, draw: Any) -> str:
    lines = text.splitlines()
    at = draw(st.integers(0, len(lines) - 1))
    lines[at] = mutate_json(lines[at], draw)
    return "\n".join(lines)


def test_there_is_a_sample_of_each_format(tmp_path: Path) -> None:
    for name, text in SAMPLES.items():
        (tmp_path / name).write_text(text)
        trace = open_trace(tmp_path / name)
        assert trace.format.name == name and list(trace.requests())
    assert {each.name for each in FORMATS} == set(SAMPLES)


@settings(max_examples=examples(200), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_trace_with_other_values_is_read_or_refused_in_a_sentence(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(SAMPLES)))
    content = data.draw(changed(SAMPLES[name].encode(), mutate_csv if name in _TABLES else _one_line))
    with tempfile.TemporaryDirectory() as under:
        path = Path(under) / "trace"
        path.write_bytes(content or b"")
        try:
            list(open_trace(path).requests())
        except UserError as error:
            assert error.code is Exit.DATA and "\n" not in str(error)
