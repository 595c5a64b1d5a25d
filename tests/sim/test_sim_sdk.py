"""The official openai SDK talks to it as to the real thing."""

from __future__ import annotations

import openai
import pytest

from .simulators import Simulator


def client(simulator: Simulator, **headers: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=simulator.url + "/v1", api_key="none", max_retries=0, default_headers=headers)


@pytest.mark.parametrize("style", ["vllm", "sglang"])
def test_models_plain_and_stream(request, style):
    sdk = client(request.getfixturevalue(style))
    assert [model.id for model in sdk.models.list()] == ["sim-8b"]
    messages = [{"role": "user", "content": "hello"}]
    plain = sdk.chat.completions.create(model="sim-8b", messages=messages, max_tokens=12)
    stream = sdk.chat.completions.create(
        model="sim-8b", messages=messages, max_tokens=12, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == plain.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == plain.usage.completion_tokens == 12
    completion = sdk.completions.create(model="sim-8b", prompt="Once", max_tokens=5)
    assert completion.usage.completion_tokens == 5


def test_errors_arrive_as_the_sdks_own(vllm):
    with pytest.raises(openai.NotFoundError, match="`other` does not exist"):
        client(vllm).chat.completions.create(model="other", messages=[{"role": "user", "content": "x"}])
    limited = client(vllm, **{"X-Sim-Fault": "status:429,7"})
    with pytest.raises(openai.RateLimitError) as caught:
        limited.chat.completions.create(model="sim-8b", messages=[{"role": "user", "content": "x"}])
    assert caught.value.response.headers["retry-after"] == "7"


def test_an_error_inside_a_stream_is_one_to_the_sdk(vllm):
    sdk = client(vllm, **{"X-Sim-Fault": "error_event:2"})
    stream = sdk.chat.completions.create(model="sim-8b", messages=[{"role": "user", "content": "x"}], stream=True)
    with pytest.raises(openai.APIError, match="simulated failure"):
        list(stream)
