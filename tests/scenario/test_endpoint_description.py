"""[endpoint]: presets are data, values come from the environment, what cannot be sent is refused with a sentence."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tokenswarm.base.config_text import parse_set
from tokenswarm.base.endpoint import CHAT, COMPLETIONS, MODELS, Endpoint, EndpointForm, Proxy
from tokenswarm.base.environment import SECRETS_VARIABLE
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.lookup import ENDPOINTS
from tokenswarm.base.masking import hidden, masked
from tokenswarm.generator.request_body import constant_body, request_body
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.scenario.model import Scenario
from tokenswarm.workloads.base import Prompt

SECRET = "azure-PLANTED-0123456789"
NAMES = [
    "azure",
    "gemini",
    "litellm",
    "llama.cpp",
    "ollama",
    "openai",
    "openrouter",
    "sglang",
    "tgi",
    "together",
    "trtllm",
    "vllm",
]


@pytest.fixture(autouse=True)
def _no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRETS_VARIABLE, "")
    monkeypatch.delenv("API_KEY", raising=False)


def scenario(settings: str) -> Scenario:
    return load_scenario("rag", parse_set(settings))


def refused(settings: str) -> str:
    with pytest.raises(UserError) as caught:
        scenario(settings).endpoint.form({"SHORT": "abc", "BROKEN": "a" * 20 + "\n" + "b"})
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- presets


def test_the_presets_are_these() -> None:
    assert list(ENDPOINTS.files()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_preset_loads_and_survives_run_json(name: str) -> None:
    chosen = scenario(f"endpoint.preset={name}")
    assert chosen.endpoint.preset == name and chosen.endpoint.form({"API_KEY": SECRET}).path(CHAT) == CHAT
    assert Scenario.from_values(json.loads(json.dumps(chosen.values()))) == chosen
    assert chosen.endpoint.url is not None or name == "azure"
    if chosen.endpoint.url is not None:
        Endpoint(chosen.endpoint.url)


def test_what_is_set_by_hand_stands_over_the_preset_and_tables_are_joined() -> None:
    endpoint = scenario(
        "endpoint.preset=azure endpoint.query.api-version=2025-01-01 endpoint.headers.X-Team=blue "
        "endpoint.length_field=max_tokens"
    ).endpoint
    assert endpoint.query == {"api-version": "2025-01-01"}, "a date is a text here"
    assert endpoint.headers == {"api-key": "env:API_KEY", "X-Team": "blue"}
    assert endpoint.length_field == "max_tokens"


def test_a_preset_of_a_scenario_stands_under_its_table_and_one_asked_for_by_hand_over_it(tmp_path: Path) -> None:
    (tmp_path / "house.toml").write_text('chat_path = "/house"\nlength_field = "max_tokens"\nca_file = "ca.pem"\n')
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'locustfile = "rag.py"\nworkload = "rag"\n[endpoint]\npreset = "openai"\nlength_field = "max_tokens"\n'
    )
    endpoint = load_scenario(str(mine)).endpoint
    assert (endpoint.length_field, endpoint.send_ignore_eos) == ("max_tokens", False)
    endpoint = load_scenario(str(mine), {"endpoint.preset": str(tmp_path / "house.toml")}).endpoint
    assert (endpoint.chat_path, endpoint.send_ignore_eos) == ("/house", False)
    assert endpoint.ca_file == str(tmp_path / "ca.pem"), "a file counts from the description that names it"


def test_an_unknown_preset_or_key_is_one_sentence(tmp_path: Path) -> None:
    assert "did you mean 'openai'" in refused("endpoint.preset=openaii")
    (tmp_path / "odd.toml").write_text("chat_pth = 1\n")
    assert "did you mean 'chat_path'" in refused(f"endpoint.preset={tmp_path / 'odd.toml'}")
    (tmp_path / "odd.toml").write_text("[[[")
    assert "not valid TOML" in refused(f"endpoint.preset={tmp_path / 'odd.toml'}")


# ---- values


def test_values_from_the_environment_are_secrets_in_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_KEY", SECRET)
    endpoint = scenario("endpoint.headers.api-key=env:AZURE_KEY endpoint.query.key=env:AZURE_KEY").endpoint
    assert SECRET not in json.dumps(endpoint.model_dump())
    form = endpoint.form()
    assert dict(form.headers)["api-key"] == SECRET and form.secrets == (SECRET,) and SECRET not in repr(form)
    assert os.environ[SECRETS_VARIABLE].split() == ["AZURE_KEY"]
    assert SECRET not in hidden(f"the server said {SECRET}")
    assert masked(f"it begins {SECRET[:12]}", form.secrets) == "it begins ***"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("endpoint.headers.api-key=env:NOT_THERE", "NOT_THERE, which is not set"),
        ("endpoint.headers.api-key=env:SHORT", "fewer than 8 characters"),
        ("endpoint.headers.api-key=env:BROKEN", "line break"),
        ("endpoint.headers.Host=other", "which tokenswarm sets itself"),
        ("endpoint.headers={'a b'='x'}", "no name of a header"),
        ("endpoint.headers={a=1}", "should be a text"),
        ("endpoint.query.api_key=plain-secret-value", 'api_key = "env:NAME"'),
        ("endpoint.proxy=socks5://h:1", "not a proxy that can be used here"),
        ("endpoint.proxy=http://me:pass@h:1", "env:NAME"),
        ("endpoint.chat_path=no-slash", "chat_path"),
        ("endpoint.ca_file=/not/there.pem", "cannot be read as certificates"),
        ("endpoint.api=soap", "'chat', 'completions' or 'responses'"),
        ("endpoint.output_usd_per_million=-1", "at least 0"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_the_setting(settings: str, words: str) -> None:
    sentence = refused(settings)
    assert words in sentence and "pass" not in sentence.replace("password", "")


def test_of_two_missing_variables_the_exit_code_is_that_of_a_key() -> None:
    with pytest.raises(UserError) as caught:
        scenario("endpoint.proxy=env:NOT_THERE").endpoint.form({})
    assert caught.value.code is Exit.AUTH


# ---- where requests go


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://h", "/v1/chat/completions?v=1"),
        ("http://h/", "/v1/chat/completions?v=1"),
        ("http://h?key=a%20b", "/v1/chat/completions?key=a%20b&v=1"),
        ("http://h/openai/deployments/x?api-version=2", "/openai/deployments/x/chat/completions?api-version=2&v=1"),
        ("http://h/v1/chat/completions?z=1", "/v1/chat/completions?z=1&v=1"),
        ("http://h/v1beta/openai/", "/v1beta/openai/chat/completions?v=1"),
    ],
)
def test_a_path_and_a_query_stand_as_they_are(url: str, target: str) -> None:
    endpoint = Endpoint(url, EndpointForm(query=(("v", "1"),)))
    assert endpoint.target(CHAT) == target
    assert "?" not in endpoint.url


def test_a_name_with_letters_of_any_language_is_asked_for_as_it_is_registered() -> None:
    endpoint = Endpoint("http://bücher.example:8000")
    assert (endpoint.host, endpoint.host_header) == ("xn--bcher-kva.example", "xn--bcher-kva.example:8000")
    with pytest.raises(ValueError, match="not ASCII"):
        Endpoint("http://" + "ü" * 80 + ".example")


def test_paths_of_ones_own_count_from_the_base_url_or_with_two_slashes_from_the_root() -> None:
    form = scenario(
        "endpoint.chat_path=/generate endpoint.models_path=//models endpoint.query={a='b c&d'}"
    ).endpoint.form({})
    endpoint = Endpoint("http://h/base", form)
    assert (endpoint.target(CHAT), endpoint.target(MODELS)) == ("/base/generate?a=b%20c%26d", "/models?a=b%20c%26d")
    assert endpoint.target(COMPLETIONS).startswith("/base/completions?")
    assert endpoint.page("/metrics") == "http://h/base/metrics?a=b%20c%26d"


def test_the_key_goes_as_bearer_unless_a_header_of_its_own_takes_its_place() -> None:
    assert EndpointForm().let_in(SECRET) == {"Authorization": f"Bearer {SECRET}"}
    assert EndpointForm(bearer=False).let_in(SECRET) == {}
    own = scenario("endpoint.headers.authorization='Token x'").endpoint.form({})
    assert own.let_in(SECRET) == {"authorization": "Token x"}


def test_a_proxy_with_a_password_shows_it_nowhere() -> None:
    proxy = Proxy.parse("http://me:secret%21word@proxy:3128")
    assert proxy.authorization == "Basic bWU6c2VjcmV0IXdvcmQ=" and proxy.url == "http://proxy:3128"
    assert "secret" not in repr(proxy)


# ---- bodies


PROMPT = Prompt(
    [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}], "c", 1, 0, max_tokens=7, body={"seed": 3}
)


def body(settings: str) -> dict[str, object]:
    chosen = scenario("output.ignore_eos=true " + settings)
    return request_body(constant_body("m", chosen.output, chosen.endpoint), PROMPT, 9, chosen.endpoint)


def test_each_api_has_its_own_body() -> None:
    assert body("")["messages"] == PROMPT.messages and body("")["max_tokens"] == 7
    plain = body("endpoint.api=completions")
    assert plain["prompt"] == "S\n\nQ" and "messages" not in plain
    responses = body("endpoint.api=responses")
    assert responses["input"] == PROMPT.messages and responses["max_output_tokens"] == 7
    assert "stream_options" not in responses


def test_seed_and_ignore_eos_can_be_left_out() -> None:
    assert body("")["seed"] == 3 and body("")["ignore_eos"] is True
    less = body("endpoint.send_seed=false endpoint.send_ignore_eos=false")
    assert not {"seed", "ignore_eos"} & less.keys()
