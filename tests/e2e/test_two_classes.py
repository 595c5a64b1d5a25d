"""Two user classes, each with its own scenario, in one run: prompts, limits and objectives stay separate."""

from __future__ import annotations

import http.client
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tokenswarm.base.environment import METRICS_VARIABLE, RUN_VARIABLE
from tokenswarm.base.ports import free_port
from tokenswarm.contract.manifest import EngineRecord, read_manifest, write_manifest
from tokenswarm.generator.new_run import NewRun, make_run_folder
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.workloads.corpus import load_corpus

from .support import Finished, Started, simulator, started

pytestmark = pytest.mark.slow

LOCUSTFILE = """
from locust import task
from tokenswarm.users import LLMUser


class Reader(LLMUser):
    @task
    def read(self):
        reading = self.next_session()
        for prompt in reading:
            reading.record_answer(self.ask(prompt).text)
            self.think()


class Chatter(Reader):
    pass
"""
QUICK = "user.think_time_s=0.05 load.warmup_s=1 load.duration_s=4 load.drain_s=5 load.users=4"


def prepared(results: Path, url: str) -> Path:
    """A run folder for readers, and for chatters with a scenario of their own."""

    def scenario(name: str, **values: str):
        return load_scenario(name, dict(pair.split("=") for pair in QUICK.split()) | values)

    run_id, folder = make_run_folder(results, "external", "mixed")
    new = NewRun(
        scenario=scenario("rag", **{"slo.ttft_p95_ms": "0.001", "output.max_tokens": "8"}),
        overrides={},
        engine=EngineRecord(name="external", base_url=url),
        model="sim-8b",
        corpus=load_corpus(None),
        workers=2,
        argv=["test"],
        simulated=True,
        classes={"Chatter": scenario("chat", **{"slo.ttft_p95_ms": "600000", "slo.tpot_p95_ms": "600000"})},
    )
    write_manifest(folder, new.manifest(run_id))
    return folder


def last_page(run: Started, port: int) -> str:
    """What was served for Prometheus last, before the run ended."""
    page = ""
    while run.process.poll() is None:
        try:
            page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
        except (OSError, http.client.HTTPException):  # not there yet, or in the middle of its end
            time.sleep(0.05)
    return page


def value(page: str, name: str, **labels: str) -> float:
    """The sum of the samples that have these labels."""
    wanted = [f'{label}="{text}"' for label, text in labels.items()]
    return sum(
        float(line.rpartition(" ")[2])
        for line in page.splitlines()
        if line.startswith(name + "{") and all(each in line for each in wanted)
    )


def test_each_class_has_its_own_prompts_limits_and_objectives(tmp_path: Path, results: Path) -> None:
    (tmp_path / "two.py").write_text(LOCUSTFILE)
    port, master = free_port(), free_port()
    with simulator(tmp_path / "sim", "--time-scale", "10") as url:
        folder = prepared(results, url)
        command = [
            sys.executable,
            "-m",
            "locust",
            "-f",
            str(tmp_path / "two.py"),
            "--headless",
            "--host",
            url,
            "-u",
            "8",
            "-r",
            "8",
            "--processes",
            "2",
            "--expect-workers",
            "2",
            "--master-bind-port",
            str(master),
            "--master-port",
            str(master),
        ]
        with started(command, results, **{RUN_VARIABLE: str(folder), METRICS_VARIABLE: f"127.0.0.1:{port}"}) as run:
            page = last_page(run, port)
            finished: Finished = run.finish()
    rows = [row for row in finished.table() if row["status"] == "ok"]
    of = {name: [row for row in rows if row["user_class"] == name] for name in ("Reader", "Chatter")}
    assert of["Reader"] and of["Chatter"], finished.err
    assert all(row["document"] for row in of["Reader"]) and not any(row["document"] for row in of["Chatter"])
    assert max(int(row["completion_tokens"]) for row in of["Reader"]) <= 8
    assert max(int(row["completion_tokens"]) for row in of["Chatter"]) > 8
    # No reader meets its objective of a microsecond; every chatter meets its own.
    assert value(page, "tokenswarm_good_requests_total", user_class="Reader") == 0
    assert (
        value(page, "tokenswarm_good_requests_total", user_class="Chatter")
        == value(page, "tokenswarm_requests_total", user_class="Chatter", status="ok")
        > 0
    )
    assert read_manifest(folder).classes["Chatter"].name == "chat"
