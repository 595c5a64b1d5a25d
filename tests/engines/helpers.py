"""A description for the stand-in engine, and where the recorded answers of real engines are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenswarm.engines.spec.engine_spec import CANONICAL_SETTINGS, EngineSpec, parse

HERE = Path(__file__).parent
FIXTURES = HERE / "fixtures"

_SETTINGS = "\n".join(f'{name} = {{ ignored = "the stand-in has no settings" }}' for name in CANONICAL_SETTINGS)


def recorded(name: str) -> str:
    """A recorded text of a real engine."""
    return (FIXTURES / name).read_text(encoding="utf-8")


def documents(engine: str) -> dict[str, Any]:
    """What a real engine's endpoints answered, by path."""
    return json.loads(recorded(f"{engine}_documents.json"))


def fake_description(mode: str = "ok", *extra: str, grace_s: float = 5.0) -> EngineSpec:
    """The stand-in engine in one of its modes."""
    arguments = json.dumps(["{python}", str(HERE / "fake_engine.py"), "--port", "{port}", "--mode", mode, *extra])
    text = f"""
title = "Fake"
default_port = 1
reasoning_field = "reasoning"
fixed_served_name = "tiny"
[command]
local = {arguments}
stop_grace_s = {grace_s}
[settings]
{_SETTINGS}
[forms.cpu]
ready_timeout_s = 20.0
[metrics]
running = {{ names = ["fake:running"] }}
prefix_hit_tokens = {{ names = ["fake:hits_total"] }}
preemptions = {{ names = ["fake:preemptions_total"] }}
[[cache_reset]]
path = "/reset"
success_field = "success"
[[version]]
endpoint = "/version"
path = "version"
[effective]
context_length = [{{ endpoint = "/v1/models", path = "data.0.max_model_len", kind = "int" }}]
[[failures]]
pattern = "FAKE out of memory"
sentence = "the fake GPU is full"
"""
    return parse("fake", text, "fake.toml")
