"""The check before a load: the load's own first request decides, and nothing else."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tokenswarm.base import endpoint as base
from tokenswarm.base.config_text import parse_set
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.lookup import ENDPOINTS
from tokenswarm.client.answer import Answer
from tokenswarm.contract.manifest import PreflightRecord
from tokenswarm.run.first_request import FURTHER_S, LoadToCheck, first_prompt, send_first_request
from tokenswarm.run.preflight import CheckTools, preflight
from tokenswarm.run.sdk_check import SdkResult, ask_by_sdk
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.workloads.corpus import load_corpus

KEY = "sk-PLANTED-9f8e7d6c5b4a"
GOOD = [
    {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}},
]


class Endpoint:
    """A server of one's own: `models` and `chat` give (status, body or events) for what was asked."""

    def __init__(self) -> None:
        self.models: tuple[int, Any] = (200, {"data": [{"id": "m"}]})
        self.chat: Callable[[dict[str, Any]], tuple[int, Any]] = lambda body: (200, GOOD)
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, dict(self.headers), None))
                self._send(*outer.models)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append((self.path, dict(self.headers), body))
                self._send(*outer.chat(body))

            def _send(self, status: int, content: Any) -> None:
                events = status == 200 and isinstance(content, list) and content and "choices" in content[0]
                text = (
                    "".join(f"data: {json.dumps(event)}\n\n" for event in content)
                    if events
                    else json.dumps(content)
                    if not isinstance(content, str)
                    else content
                )
                data = (text + ("data: [DONE]\n\n" if events else "")).encode()
                self.send_response(status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "text/event-stream" if events else "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Nothing on the tests' terminal."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def load(self, model: str = "", settings: str = "", api_key: str | None = None) -> LoadToCheck:
        return LoadToCheck(self.url, model, load_scenario("rag", parse_set(settings)), load_corpus(), api_key)

    def bodies(self) -> list[dict[str, Any]]:
        return [body for _, _, body in self.asked if body is not None]


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.close()


def by_own_client(load: LoadToCheck) -> PreflightRecord:
    """The check, without the SDK."""
    return preflight(load, CheckTools(sdk=lambda *_: SdkResult(stream=True, plain=True)))


def refused(load: LoadToCheck) -> UserError:
    with pytest.raises(UserError) as caught:
        by_own_client(load)
    return caught.value


def test_the_first_request_has_the_loads_form(endpoint: Endpoint) -> None:
    found = by_own_client(endpoint.load(settings="output.extra={top_k=5} output.ignore_eos=true", api_key=KEY))
    ((path, headers, body),) = [asked for asked in endpoint.asked if asked[2] is not None]
    assert path == "/v1/chat/completions" and headers["Authorization"] == f"Bearer {KEY}"
    assert body["stream"] is True and body["stream_options"] == {"include_usage": True}
    assert (body["top_k"], body["ignore_eos"], body["model"], body["max_tokens"]) == (5, True, "m", 8)
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert found.usage and found.notes == [] and found.models == ["m"]


def test_a_load_that_does_not_stream_is_checked_without_a_stream(endpoint: Endpoint) -> None:
    endpoint.chat = lambda body: (200, {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]})
    found = by_own_client(endpoint.load(settings="output.stream=false"))
    assert endpoint.bodies()[0]["stream"] is False
    assert found.notes == ["The answers hold no usage, so their tokens are not known."]


def test_the_load_finds_nothing_of_the_check_in_a_cache() -> None:
    scenario, corpus = load_scenario("rag", {}), load_corpus()
    first, second = (first_prompt(scenario, corpus).messages[0]["content"] for _ in range(2))
    assert first[:16] != second[:16] and len(first) == len(second)


@pytest.mark.parametrize(
    ("models", "note"),
    [
        ((404, "no route"), "does not list its models (/v1/models answers 404)"),
        ((200, {"data": None}), "does not list its models (/v1/models lists none)"),
        ((200, {"error": "x"}), "does not list its models (/v1/models is not a list of models)"),
        ((200, "[" * 100_000), "does not list its models"),
        ((401, {}), "does not list its models (/v1/models answers 401)"),
        ((200, {"data": [{"id": "openai/*"}]}), "does not list the model"),
        ((200, {"data": [{"id": "mine:latest"}]}), "does not list the model"),
    ],
)
def test_a_list_of_models_is_advice_where_the_model_is_named(
    endpoint: Endpoint, models: tuple[int, Any], note: str
) -> None:
    endpoint.models = models
    found = by_own_client(endpoint.load(model="mine"))
    assert found.model == "mine" and note in found.notes[0]


@pytest.mark.parametrize(
    ("models", "code"),
    [
        ((404, ""), Exit.ENDPOINT),
        ((200, {"data": None}), Exit.MODEL),
        ((401, {}), Exit.AUTH),
        ((200, {"data": [{"id": "openai/*"}]}), Exit.MODEL),
    ],
)
def test_without_a_model_the_list_must_name_one(endpoint: Endpoint, models: tuple[int, Any], code: Exit) -> None:
    endpoint.models = models
    error = refused(endpoint.load())
    assert error.code is code and not endpoint.bodies()


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ((400, {"message": "System role not supported"}), Exit.ENDPOINT, "(400): System role not supported"),
        ((400, {"error": {"message": "max_tokens is not supported"}}), Exit.ENDPOINT, "max_tokens is not supported"),
        ((401, {"error": {"message": "bad key"}}), Exit.AUTH, "was refused: bad key"),
        ((404, {"error": {"message": "no such model"}}), Exit.MODEL, "no such model; check MODEL"),
        ((500, {"error": {"message": "out of memory"}}), Exit.ENDPOINT, "(500): out of memory"),
        ((200, [{"choices": [], "error": {"message": "provider down"}}]), Exit.ENDPOINT, "provider down"),
        ((200, {"base_resp": {"status_msg": "quota"}}), Exit.ENDPOINT, "first request of the load"),
    ],
)
def test_a_refusal_holds_the_servers_words(endpoint: Endpoint, answer: tuple[int, Any], code: Exit, words: str) -> None:
    endpoint.chat = lambda body: answer
    error = refused(endpoint.load(api_key=KEY))
    assert error.code is code and words in str(error) and len(endpoint.bodies()) == 1


@pytest.mark.parametrize(
    ("words", "settings", "field"),
    [
        (
            "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
            "endpoint.length_field=max_completion_tokens",
            "max_tokens",
        ),
        ("include_usage: Extra inputs are not permitted", "endpoint.send_stream_options=false", "stream_options"),
        ("temperature does not support 0 with this model", "endpoint.send_temperature=false", "temperature"),
    ],
)
def test_a_field_that_is_refused_can_be_left_out(endpoint: Endpoint, words: str, settings: str, field: str) -> None:
    endpoint.chat = lambda body: (400, {"message": words}) if field in body else (200, GOOD)
    assert settings in str(refused(endpoint.load()))
    assert by_own_client(endpoint.load(settings=settings)).model == "m"
    assert field not in endpoint.bodies()[-1]


def test_a_model_without_a_system_role_gets_its_text_in_the_users_message(endpoint: Endpoint) -> None:
    endpoint.chat = lambda body: (
        (200, GOOD) if body["messages"][0]["role"] == "user" else (400, {"message": "System role not supported"})
    )
    assert "endpoint.fold_system=true" in str(refused(endpoint.load()))
    by_own_client(endpoint.load(settings="endpoint.fold_system=true"))
    before, after = endpoint.bodies()
    system, user = (message["content"] for message in before["messages"])
    (folded,) = after["messages"]
    assert folded["role"] == "user" and folded["content"][16:].startswith(system[16:80])
    assert len(folded["content"]) == len(system) + len(user) + 2


def test_a_refusal_does_not_show_the_key(endpoint: Endpoint) -> None:
    endpoint.chat = lambda body: (400, {"message": f"\u001b[31m{KEY} is not allowed"})
    error = refused(endpoint.load(api_key=KEY))
    assert KEY not in str(error)


def test_a_redirect_is_explained_and_not_followed(endpoint: Endpoint) -> None:
    endpoint.models, endpoint.chat = (308, ""), lambda body: (308, "")
    endpoint.headers = {"Location": "https://elsewhere.example/v1/models"}
    for model in ("", "m"):
        error = refused(endpoint.load(model=model, api_key=KEY))
        assert error.code is Exit.ENDPOINT and "elsewhere.example" in str(error) and "HOST=" in str(error)


def test_nobody_there_is_said_before_anything_is_asked() -> None:
    load = LoadToCheck("http://127.0.0.1:9", "m", load_scenario("rag", {}), load_corpus())
    assert refused(load).code is Exit.ENDPOINT


def test_an_exception_of_the_client_is_not_swallowed(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Answer:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("tokenswarm.client.client.LLMClient.complete", broken)
    with pytest.raises(ZeroDivisionError):
        send_first_request(endpoint.load(model="m"))


def test_what_the_sdk_makes_of_it_does_not_decide(endpoint: Endpoint) -> None:
    found = preflight(endpoint.load(), CheckTools(sdk=lambda *_: SdkResult(notes=["the SDK dies of it"])))
    assert found.sdk_compatible is False and found.sdk_notes == ["the SDK dies of it"] and not found.notes


def test_the_sdk_sees_nothing_of_its_surroundings(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = "http://127.0.0.1:9"
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, nowhere)
    for name, value in (
        ("OPENAI_ORG_ID", "org-of-mine"),
        ("OPENAI_PROJECT_ID", "p-of-mine"),
        ("OPENAI_BASE_URL", nowhere),
        ("OPENAI_API_KEY", "another-key"),
    ):
        monkeypatch.setenv(name, value)
    endpoint.chat = lambda body: (
        200,
        GOOD
        if body.get("stream")
        else {"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]},
    )
    result = ask_by_sdk(base.Endpoint(endpoint.url), "m", KEY)
    assert result.compatible, result.notes
    sent = json.dumps([headers for _, headers, _ in endpoint.asked])
    assert "of-mine" not in sent and "another-key" not in sent and KEY in sent
    assert os.environ["OPENAI_ORG_ID"] == "org-of-mine", "they stand as before"


def test_whatever_happens_to_the_sdk_is_a_note(endpoint: Endpoint) -> None:
    endpoint.chat = lambda body: (200, [{"choices": [], "error": {"message": f"down, {KEY}"}}])
    result = ask_by_sdk(base.Endpoint(endpoint.url), "m", KEY)
    assert not result.compatible and len(result.notes) == 2 and KEY not in str(result.notes)


# ---- what an endpoint's description says goes with every request


def test_path_query_and_headers_go_with_list_and_request_and_the_key_as_the_description_says(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "mine-PLANTED-123456")
    monkeypatch.setenv("TOKENSWARM_SECRETS", "")
    settings = (
        "endpoint.query.api-version=2024-10-21 endpoint.headers.api-key=env:MY_KEY endpoint.bearer=false "
        "endpoint.chat_path=/generate"
    )
    by_own_client(endpoint.load("m", settings, KEY))
    (models, first, _), (chat, second, _) = endpoint.asked
    assert (models, chat) == ("/v1/models?api-version=2024-10-21", "/v1/generate?api-version=2024-10-21")
    for headers in (first, second):
        sent = {name.lower(): value for name, value in headers.items()}
        assert sent["api-key"] == "mine-PLANTED-123456" and "authorization" not in sent


def test_without_a_path_for_the_list_of_models_none_is_asked_for(endpoint: Endpoint) -> None:
    record = by_own_client(endpoint.load("m", 'endpoint.models_path=""'))
    assert [path for path, _, _ in endpoint.asked] == ["/v1/chat/completions"]
    assert "does not list its models" in record.notes[0]


def test_completions_are_asked_on_their_path_with_a_prompt(endpoint: Endpoint) -> None:
    endpoint.chat = lambda body: (200, [{"choices": [{"index": 0, "text": "hi", "finish_reason": "stop"}]}])
    record = by_own_client(endpoint.load("m", "endpoint.api=completions"))
    path, _, body = endpoint.asked[-1]
    assert path == "/v1/completions" and isinstance(body["prompt"], str) and not record.sdk_compatible


_HOSTED = ("azure", "openai")  # which take the other field for a length
_ENGINES_OF_OWN = ("vllm", "sglang", "trtllm", "llama.cpp")  # which know ignore_eos


@pytest.mark.parametrize("name", sorted(ENDPOINTS.files()))
def test_what_each_preset_sends(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("API_KEY", KEY)
    monkeypatch.setenv("TOKENSWARM_SECRETS", "")
    if name == "together":
        endpoint.models = (200, [{"id": "m"}])
    elif name == "gemini":
        endpoint.models = (200, {"data": [{"id": "models/m"}]})
    record = by_own_client(endpoint.load("m", f"endpoint.preset={name} output.ignore_eos=true", KEY))
    listed = [path for path, _, body in endpoint.asked if body is None]
    path, headers, body = endpoint.asked[-1]
    sent = {key.lower(): value for key, value in headers.items()}
    azure = name == "azure"
    assert listed == ([] if azure else ["/v1/models"]) and record.model == "m"
    assert path == "/v1/chat/completions" + ("?api-version=2024-10-21" if azure else "")
    assert (sent.get("api-key"), sent.get("authorization")) == ((KEY, None) if azure else (None, f"Bearer {KEY}"))
    assert ("max_completion_tokens" in body, "max_tokens" in body) == (
        (True, False) if name in _HOSTED else (False, True)
    )
    assert ("ignore_eos" in body) is (name in _ENGINES_OF_OWN)
    assert body["stream_options"] == {"include_usage": True} and "temperature" in body


def test_a_redirect_of_the_request_alone_is_explained_and_not_followed(endpoint: Endpoint) -> None:
    endpoint.headers["Location"] = "https://elsewhere.example/v1/chat/completions"
    endpoint.chat = lambda body: (307, "")
    error = refused(endpoint.load("m", api_key=KEY))
    assert "a redirect to https://elsewhere.example" in str(error) and "HOST=" in str(error)
    assert len(endpoint.bodies()) == 1


@pytest.mark.parametrize(
    ("said", "setting"),
    [
        ("unknown field ignore_eos", "endpoint.send_ignore_eos=false"),
        ("seed is not supported", "endpoint.send_seed=false"),
        ("the chat template is missing", "endpoint.api=completions"),
        ("Streaming is not enabled for this deployment", "output.stream=false"),
        ("max_tokens is too large: 128. This model supports at most 100 completion tokens", "output.max_tokens=..."),
    ],
)
def test_a_refusal_names_the_setting_that_helps(endpoint: Endpoint, said: str, setting: str) -> None:
    endpoint.chat = lambda body: (400, {"error": {"message": said}})
    assert setting in str(refused(endpoint.load("m")))


def test_a_gateway_that_does_not_stream_is_loaded_by_a_setting(endpoint: Endpoint) -> None:
    document = {"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}
    endpoint.chat = lambda body: (200, document)
    assert 'SET="output.stream=false"' in str(refused(endpoint.load("m")))


def test_a_path_that_is_not_there_names_the_settings_for_paths(endpoint: Endpoint) -> None:
    endpoint.chat = lambda body: (404, {"error": {"message": "Not Found"}})
    load = endpoint.load("m")
    assert "/v1 missing" in str(refused(LoadToCheck(load.base_url + "/team", "m", load.scenario, load.corpus)))
    assert "endpoint.chat_path" in str(refused(load))


@pytest.mark.parametrize(("first_answer_s", "wait_s"), [(None, 120.0), (0.1, 20.0), (3.0, 60.0), (30.0, 120.0)])
def test_an_engine_that_has_answered_is_not_waited_for_as_long_as_one_that_starts(
    first_answer_s: float | None, wait_s: float
) -> None:
    load = LoadToCheck("http://127.0.0.1:9", "m", load_scenario("rag", {}), load_corpus())
    assert load.after(first_answer_s).longest_wait_s == wait_s


def test_all_further_questions_together_have_an_end() -> None:
    load = LoadToCheck("http://127.0.0.1:9", "m", load_scenario("rag", {}), load_corpus())
    began = time.monotonic()
    first = load.after(30.0)
    assert began + FURTHER_S <= first.until <= time.monotonic() + FURTHER_S
    assert first.after(30.0).until == first.until  # a second call does not begin anew
    assert replace(first, until=time.monotonic() + 50.0).wait_s <= 50.0
    assert 0.0 < replace(first, until=time.monotonic() - 50.0).wait_s <= 1.0


def test_a_scenario_that_allows_a_first_token_more_time_is_waited_for_as_long() -> None:
    scenario = load_scenario("rag", {"timeouts.first_token_s": "290"})
    load = LoadToCheck("http://127.0.0.1:9", "m", scenario, load_corpus())
    assert load.wait_s == 290.0


def test_an_answer_that_trickles_in_without_end_is_given_up_and_the_sentence_says_so(endpoint: Endpoint) -> None:
    silent = threading.Event()
    endpoint.chat = lambda _: (200, GOOD) if silent.wait(5.0) else (500, {})
    error = refused(replace(endpoint.load(model="m"), longest_wait_s=0.2))
    silent.set()
    assert "did not answer to the first request of the load within 0.2 s" in str(error)


def test_an_sdk_that_never_ends_is_not_waited_for(endpoint: Endpoint) -> None:
    silent = threading.Event()
    endpoint.chat = lambda _: (200, GOOD) if silent.wait(20.0) else (500, {})
    result = ask_by_sdk(base.Endpoint(endpoint.url), "m", KEY, timeout_s=0.2)
    silent.set()
    assert not result.compatible
    assert result.notes[-1] == "no end of its answers within 0.2 s"


def test_a_further_question_that_is_not_answered_ends_after_its_wait(endpoint: Endpoint) -> None:
    silent = threading.Event()
    endpoint.chat = lambda _: (200, GOOD) if silent.wait(5.0) else (500, {})
    answer = send_first_request(replace(endpoint.load(model="m"), longest_wait_s=0.2))
    silent.set()
    assert answer.error in ("timeout_first_token", "timeout_gap", "timeout_total")
