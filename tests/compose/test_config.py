"""What Compose makes of the files: every profile, alone and with each override."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from tests.compose.conftest import PLANTED
from tokenswarm.engines import Placement, command, known_engines, load_description
from tokenswarm.engines.docker.compose import COMPOSE_FILE, NO_GPU_FILE, Start, arguments, image_of, override

DEFAULT_MODEL = "Qwen/Qwen3-8B"
PROFILES = [name for name in known_engines() if load_description(name).image is not None]
WITH_GPU = [name for name in PROFILES if "cuda" in load_description(name).forms]


def config(profile: str, *, with_gpu: bool = True, document: str | None = None, **variables: str) -> dict[str, Any]:
    """The profile's one service as Compose understands it."""
    clean = {key: os.environ[key] for key in ("PATH", "HOME", "DOCKER_CONFIG") if key in os.environ}
    line = arguments("test", profile, with_gpu, ["config", "--format", "json"], with_override=document is not None)
    done = subprocess.run(line, env=clean | variables, input=document or "", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    assert list(services) == [profile]
    return services[profile]


def seconds(text: str) -> float:
    """Go's `30m0s`."""
    total, number = 0.0, ""
    for letter in text:
        if letter.isdigit() or letter == ".":
            number += letter
        else:
            total += float(number) * {"h": 3600, "m": 60, "s": 1}[letter]
            number = ""
    return total


@pytest.mark.parametrize("profile", PROFILES)
def test_defaults_are_those_of_the_description(profile: str) -> None:
    description, service = load_description(profile), config(profile)
    model = description.fixed_served_name or DEFAULT_MODEL
    assert service["command"] == command(description, {}, Placement(model, description.default_port), "container")
    assert service["image"] == image_of(description, {})
    _, form = description.form(None)
    environment = service.get("environment") or {}
    assert {key: value for key, value in environment.items() if value is not None} == description.command.env | form.env
    assert service["stop_signal"] == f"SIG{description.command.stop_signal}"
    assert seconds(service["stop_grace_period"]) == description.command.stop_grace_s
    health = service["healthcheck"]
    assert seconds(health["start_period"]) >= form.ready_timeout_s
    assert f":{description.default_port}{description.health_path}'" in health["test"][-1]


@pytest.mark.parametrize("profile", PROFILES)
def test_safe_unless_asked_otherwise(profile: str) -> None:
    service = config(profile)
    [port] = service["ports"]
    assert (port["host_ip"], port["published"]) == ("127.0.0.1", str(load_description(profile).default_port))
    assert service["restart"] == "no" and service["init"] is True
    assert service["logging"] == {"driver": "json-file", "options": {"max-size": "50m", "max-file": "3"}}
    [port] = config(profile, BIND="0.0.0.0", PORT="9000")["ports"]
    assert (port["host_ip"], port["published"]) == ("0.0.0.0", "9000")


@pytest.mark.parametrize("profile", WITH_GPU)
def test_gpus_shared_memory_and_cache(profile: str) -> None:
    service = config(profile, HF_HOME="/data/hf")
    assert service["ipc"] == "host" and int(service["shm_size"]) == 32 * 1024**3
    assert [(each["source"], each["target"]) for each in service["volumes"]] == [
        ("/data/hf", "/root/.cache/huggingface")
    ]
    [device] = service["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "device_ids": ["all"], "capabilities": ["gpu"]}
    [device] = config(profile, GPUS="0,1")["deploy"]["resources"]["reservations"]["devices"]
    assert device["device_ids"] == ["0,1"]


@pytest.mark.parametrize("profile", WITH_GPU)
def test_without_a_gpu_nothing_is_reserved(profile: str) -> None:
    assert not config(profile, with_gpu=False).get("deploy")


@pytest.mark.parametrize("profile", WITH_GPU)
def test_token_goes_through_the_environment_alone(profile: str) -> None:
    service = config(profile, HF_TOKEN=PLANTED)
    assert service["environment"].pop("HF_TOKEN") == PLANTED
    assert PLANTED not in json.dumps(service)
    assert config(profile)["environment"]["HF_TOKEN"] is None


@pytest.mark.parametrize("profile", PROFILES)
def test_a_start_replaces_the_command_and_nothing_is_interpolated(profile: str) -> None:
    start = Start(
        profile,
        ["--say", "$HOME ${PATH} 'x' \"y\" é: #"],
        {"a": "b"},
        {"X": "1$2"},
        {"/a b": "/models/m"},
        ["0", "2"] if profile in WITH_GPU else None,
        frozenset({1, 0}),
    )
    service = config(profile, document=override(start), HOME="/root")
    assert [part.replace("$$", "$") for part in service["command"]] == start.command
    assert service["environment"]["X"].replace("$$", "$") == "1$2"
    assert service["labels"]["a"] == "b" and service["labels"]["io.tokenswarm.engine"] == profile
    assert {"type": "bind", "source": "/a b", "target": "/models/m", "read_only": True} in service["volumes"]
    assert service["cpuset"] == "0,1"
    if profile in WITH_GPU:
        [device] = service["deploy"]["resources"]["reservations"]["devices"]
        assert device["device_ids"] == ["0", "2"]


@pytest.mark.parametrize("profile", PROFILES)
def test_image_and_tag_can_be_overridden(profile: str) -> None:
    description = load_description(profile)
    for variables in ({f"{profile.upper()}_TAG": "v9"}, {f"{profile.upper()}_IMAGE": "my/own:1"}):
        assert config(profile, **variables)["image"] == image_of(description, variables)


def test_every_engines_profile_is_valid_alone_and_without_gpus() -> None:
    listed = subprocess.run(
        ["docker", "compose", "--file", str(COMPOSE_FILE), "config", "--profiles"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert set(listed) >= {*PROFILES, "vllm", "sglang", "trtllm", "sim"}
    for profile in PROFILES:
        for with_gpu in (True, False):
            service = config(profile, with_gpu=with_gpu)
            assert service["image"].rpartition(":")[2] not in ("", "latest")
            assert bool(service.get("deploy")) == (with_gpu and profile != "sim")


def test_files_are_where_the_commands_look() -> None:
    assert COMPOSE_FILE.is_file() and NO_GPU_FILE.is_file()
