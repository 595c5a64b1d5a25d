"""The dashboard asks only for what exporter and engines have, and fits on a screen. (Its answers: tests/observe.)"""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.grafana import ROW, completed, current
from tests.contract.test_registry import STREAMING, THINKING
from tokenswarm.contract.metrics import METRICS
from tokenswarm.engines import load_description
from tokenswarm.live.prometheus import exported

OBSERVE = Path(__file__).resolve().parents[2] / "compose" / "observe"
GRAFANA = OBSERVE / "grafana"
TEXT = (GRAFANA / "dashboards" / "tokenswarm.json").read_text("utf-8")
BOARD: dict[str, Any] = json.loads(TEXT)
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
FIXTURES = Path(__file__).resolve().parents[1] / "engines" / "fixtures"
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",), "info": ("",)}


def expressions() -> list[str]:
    return [target["expr"] for panel in PANELS for target in panel["targets"]]


def about_engines() -> list[set[str]]:
    """Engines' metrics in each selector. To a Prometheus before 3.0 SGLang has `_` for `:`, so both do."""
    found = [names for expression in expressions() for names in re.findall(r'__name__=~"(.*?)"', expression)]
    assert all(names.count("[:_]") == names.count("|") + 1 for names in found)
    return [set(names.replace("[:_]", ":").split("|")) for names in found]


def test_our_names_are_the_exporters() -> None:
    known = {each.name + suffix: each for each in exported() for suffix in SUFFIXES[each.kind]}
    for expression in expressions():
        for name, labels in re.findall(r"(tokenswarm_\w+)\{(.*?)\}", expression):
            assert name in known, name
            asked = set(re.findall(r"(\w+)=", labels)) - {"instance", "le"}
            assert asked <= set(known[name].labels), expression
    used = set(re.findall(r"tokenswarm_\w+", " ".join(expressions())))
    assert len(used) > 15


@pytest.mark.parametrize("engine", ["vllm", "sglang", "sim"])
def test_each_engine_has_a_name_in_every_query_about_engines(engine: str) -> None:
    description = load_description(engine)
    mine = {name for metric in description.metrics.values() for name in metric.names}
    mine |= {f"{name}_bucket" for histogram in description.histograms.values() for name in histogram.names}
    assert len(about_engines()) >= 9
    for names in about_engines():
        assert names & mine, names


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_the_names_are_on_the_pages_of_real_engines(engine: str) -> None:
    page = (FIXTURES / f"{engine}_metrics.txt").read_text("utf-8")
    names = {name for found in about_engines() for name in found if name.startswith(f"{engine}:")}
    absent = {name for name in names if not re.search(rf"^{re.escape(name)}\{{", page, re.MULTILINE)}
    assert absent <= {"sglang:num_retracted_requests_total"}  # in newer sources only


def test_it_is_as_the_registry_of_metrics_completes_it() -> None:
    assert current(TEXT) == TEXT, "run make docs"


def test_what_was_completed_is_completed_anew_and_goes_with_its_metric() -> None:
    with METRICS.registered(STREAMING), METRICS.registered(THINKING):
        more = completed(BOARD)
        assert [panel["title"] for panel in more["panels"][len(BOARD["panels"]) :]] == [
            ROW,
            STREAMING.title,
            THINKING.title,
        ]
        assert completed(more) == more
        _fits(more)
    assert completed(more) == BOARD


def test_panels_are_described_and_neither_overlap_nor_leave_the_screen() -> None:
    _fits(BOARD)


def _fits(board: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    places = [panel["gridPos"] for panel in board["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)
    for panel in board["panels"]:
        if panel["type"] == "row":
            continue
        assert panel["title"] and panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]


def test_what_is_provisioned_fits_together() -> None:
    [source] = yaml.safe_load((GRAFANA / "datasources" / "prometheus.yaml").read_text("utf-8"))["datasources"]
    uids = {found["datasource"]["uid"] for panel in PANELS for found in [panel, *panel["targets"]]}
    assert uids == {source["uid"]}
    scraped = yaml.safe_load((OBSERVE / "prometheus.yml").read_text("utf-8"))
    assert source["jsonData"]["timeInterval"] == scraped["global"]["scrape_interval"]
    [provider] = yaml.safe_load((GRAFANA / "dashboards" / "tokenswarm.yaml").read_text("utf-8"))["providers"]
    assert provider["options"]["path"] == "/etc/grafana/provisioning/dashboards"


def test_prometheus_looks_where_engines_and_load_generators_listen() -> None:
    jobs = {
        job["job_name"]: job
        for job in yaml.safe_load((OBSERVE / "prometheus.yml").read_text("utf-8"))["scrape_configs"]
    }
    load_generators = jobs["tokenswarm"]["static_configs"][0]["targets"]
    assert [each["url"] for each in jobs["engine"]["http_sd_configs"]] == [
        f"http://{target}/targets" for target in load_generators
    ]
    ports = {int(target.rpartition(":")[2]) for target in jobs["engine"]["static_configs"][0]["targets"]}
    assert ports == {load_description(engine).default_port for engine in ("vllm", "sglang", "sim")}
