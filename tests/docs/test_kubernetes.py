"""The manifests in deploy/kubernetes are valid, match the code, and are safe by default."""

from __future__ import annotations

import copy
import re
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from tests.docs.commands import ROOT
from tokenswarm.cli import _parser
from tokenswarm.engines import Placement, command, load_description

FOLDER = ROOT / "deploy" / "kubernetes"
VERSION = "1.37"
"""Kubernetes whose schema the manifests are held to."""
MODEL = "Qwen/Qwen3-8B"
LOCKED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def documents() -> list[tuple[str, dict[str, Any]]]:
    """(file/kind/name, document) of everything but the kustomization, which is no object of the cluster."""
    found = []
    for path in sorted(FOLDER.glob("*.yaml")):
        if path.name != "kustomization.yaml":
            found += [
                (f"{path.stem}/{each['kind']}/{each['metadata']['name']}", each)
                for each in YAML(typ="safe").load_all(path.read_text("utf-8"))
            ]
    return found


DOCUMENTS = documents()
PODS = [
    (name, each if each["kind"] == "Pod" else each["spec"]["template"])
    for name, each in DOCUMENTS
    if each["kind"] in ("Deployment", "Job", "Pod")
]
BY_NAME = dict(PODS)


def problems(document: dict[str, Any]) -> str:
    """What the schema has against a document; empty if nothing."""
    try:
        kubernetes_validate.validate(document, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(("name", "document"), DOCUMENTS, ids=[name for name, _ in DOCUMENTS])
def test_a_manifest_is_what_kubernetes_schema_allows(name: str, document: dict[str, Any]) -> None:
    assert problems(document) == ""


@pytest.mark.parametrize(
    ("where", "right", "wrong"),
    [
        (("spec",), "replicas", "replica"),
        (("spec", "template", "spec"), "containers", "contaners"),
        (("spec", "template", "spec", "containers", 0), "readinessProbe", "readynessProbe"),
        (("spec", "template", "spec", "containers", 0, "resources"), "limits", "limit"),
        (("spec", "template", "spec", "volumes", 0, "persistentVolumeClaim"), "claimName", "name"),
    ],
)
def test_a_misspelt_field_is_found(where: tuple[str | int, ...], right: str, wrong: str) -> None:
    document = copy.deepcopy(dict(DOCUMENTS)["engine-vllm/Deployment/engine-vllm"])
    inside = document
    for key in where:
        inside = inside[key]
    inside[wrong] = inside.pop(right)
    assert problems(document)


def test_the_kustomization_names_files_that_are_there_and_the_page_names_them_all() -> None:
    kustomization = YAML(typ="safe").load((FOLDER / "kustomization.yaml").read_text("utf-8"))
    files = {path.name for path in FOLDER.glob("*.yaml")}
    assert set(kustomization["resources"]) <= files
    page = (ROOT / "docs" / "kubernetes.md").read_text("utf-8")
    assert [name for name in sorted(files) if f"`{name}`" not in page] == []


@pytest.mark.parametrize("engine", ["vllm", "sglang", "sim"])
def test_an_engine_is_started_as_its_description_says(engine: str) -> None:
    description = load_description(engine)
    pod = BY_NAME[f"engine-{engine}/Deployment/engine-{engine}"]["spec"]
    [container] = pod["containers"]
    assert container["image"] == f"{description.image.repository}:{description.image.tag}"
    line = [*container.get("command", []), *container.get("args", [])]
    wanted = command(description, {}, Placement(MODEL, description.default_port), "container")
    if engine == "sim":
        wanted = wanted[: wanted.index("--model")]  # under its own name
    assert line == wanted
    assert container["ports"] == [{"name": "http", "containerPort": description.default_port}]
    assert container["readinessProbe"]["httpGet"] == {"path": description.health_path, "port": "http"}
    plain = {each["name"]: each["value"] for each in container.get("env", []) if "value" in each}
    assert plain == description.command.env
    assert pod["enableServiceLinks"] is False
    if engine != "sim":
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert volumes[mounts["/dev/shm"]]["emptyDir"]["medium"] == "Memory"
        assert container["startupProbe"]["failureThreshold"] * container["startupProbe"]["periodSeconds"] >= 1800
    service = dict(DOCUMENTS)[f"engine-{engine}/Service/engine"]["spec"]
    assert service["ports"][0]["port"] == 8000
    labels = BY_NAME[f"engine-{engine}/Deployment/engine-{engine}"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()


@pytest.mark.parametrize("file", ["load-job", "load-ui"])
def test_master_and_workers_find_each_other(file: str) -> None:
    kind = "Job" if file == "load-job" else "Deployment"
    master, worker = ("load", "load-workers") if kind == "Job" else ("master", "worker")
    [container] = BY_NAME[f"{file}/{kind}/{master}"]["spec"]["containers"]
    options = _parser().parse_args(container["args"])
    [loading] = BY_NAME[f"{file}/{kind}/{worker}"]["spec"]["containers"]
    assert _parser().parse_args(loading["args"]).master == ("master", options.master[1])
    service = dict(DOCUMENTS)[f"{file}/Service/master"]["spec"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports["locust"] == options.master[1] == service["ports"][0]["port"]
    assert service["selector"].items() <= BY_NAME[f"{file}/{kind}/{master}"]["metadata"]["labels"].items()
    assert options.host == "http://engine:8000" and options.engine == "external"
    assert {"name": "results", "mountPath": str(options.results)} in container["volumeMounts"]
    if kind == "Job":
        workers = dict(DOCUMENTS)["load-job/Job/load-workers"]["spec"]
        assert workers["parallelism"] == workers["completions"] == options.workers
        assert all(dict(DOCUMENTS)[f"load-job/Job/{job}"]["spec"]["backoffLimit"] == 0 for job in (master, worker))
    else:
        assert options.web_host == "0.0.0.0" and ports["web"] == options.web_port
        [password] = [each for each in container["env"] if each["name"] == "UI_PASSWORD"]
        assert "optional" not in password["valueFrom"]["secretKeyRef"], "without a password it must not start"


@pytest.mark.parametrize(("name", "pod"), PODS, ids=[name for name, _ in PODS])
def test_a_pod_has_no_more_rights_than_it_needs_and_no_secret_in_it(name: str, pod: dict[str, Any]) -> None:
    spec = pod["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert pod["metadata"]["labels"]["app.kubernetes.io/part-of"] == "tokenswarm", "network.yaml is about these"
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        assert re.search(r":v?\d+\.\d+\.\d+$", container["image"]), "pinned"
        assert container["resources"]["requests"] and container["resources"]["limits"]
        for each in container.get("env", []):
            assert "valueFrom" in each or not re.search("KEY|TOKEN|PASSWORD", each["name"])
        if container["image"].startswith("tokenswarm"):
            assert container["securityContext"] == LOCKED
            assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] == 10001
    if name.startswith("load"):
        [container] = spec["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"], "whole cores, no throttling"
        assert container["resources"]["limits"]["cpu"].isdigit()
