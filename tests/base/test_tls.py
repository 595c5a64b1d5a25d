"""TLS settings that come from the environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tokenswarm.base.tls import client_context, untrusted_hint
from tokenswarm.scenario.endpoint_settings import EndpointSettings


@pytest.mark.parametrize("log", ["/not/there/keys", "/", "", "keys"])
def test_where_keys_are_to_be_logged_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSLKEYLOGFILE", log)
    assert client_context().verify_mode.name == "CERT_REQUIRED"
    EndpointSettings().form()
    assert os.environ["SSLKEYLOGFILE"] == log, "it is somebody else's, such as plain Locust's"
    assert list(tmp_path.iterdir()) == []


def test_a_variable_that_hides_the_systems_authorities_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    assert "endpoint.ca_file" in untrusted_hint()
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for value in (tmp_path / "not there", tmp_path, empty, ""):
        monkeypatch.setenv("SSL_CERT_FILE", str(value))
        assert untrusted_hint().startswith(f"; SSL_CERT_FILE={value} is set")
