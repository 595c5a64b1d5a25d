"""The life of a local engine, with a stand-in process: ready, dead, deaf, stubborn; nothing is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from tests.engines.fake_engine import Handler
from tests.engines.helpers import fake_description
from tokenswarm.base.endpoint import Endpoint
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.ports import free_port
from tokenswarm.contract.tables import ENGINE_METRIC_COLUMNS, HOST_METRIC_COLUMNS, names
from tokenswarm.engines import shared_memory
from tokenswarm.engines.adopt import adopt, matches, probe
from tokenswarm.engines.engine_protocol import Engine
from tokenswarm.engines.local import processes
from tokenswarm.engines.local.local_engine import LocalEngine, start_local
from tokenswarm.engines.management_http import HttpReply
from tokenswarm.engines.spec.engine_spec import DetectionRule, EngineSpec
from tokenswarm.engines.start_request import StartRequest
from tokenswarm.engines.started import tail
from tokenswarm.engines.watch.gpu import GpuSampler
from tokenswarm.engines.watch.telemetry import Telemetry

pytestmark = pytest.mark.slow


def gone(pid: int) -> bool:
    """Whether a process has ended; waits for the kernel, not for a fixed time."""
    try:
        process = psutil.Process(pid)
        process.wait(10)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True


def request(folder: Path, description: EngineSpec | None = None, **options: Any) -> StartRequest:
    """A start of the stand-in, with its log in this folder."""
    return StartRequest(description=description or fake_description(), log_path=folder / "engine.log", **options)


@pytest.fixture
def served():
    """The stand-in's endpoints, served by a thread of this process."""

    class Fresh(Handler):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Fresh)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", handler=Fresh)
    server.shutdown()
    server.server_close()


def test_engine_is_ready_when_it_lists_the_model_and_gives_a_token_and_stops_without_a_trace(tmp_path: Path) -> None:
    note = tmp_path / "child.pid"
    seen: list[tuple[float, str]] = []
    engine = start_local(
        request(tmp_path / "logs", fake_description("ok", "--note", str(note))),
        lambda seconds, line: seen.append((seconds, line)),
    )
    child = int(note.read_text())
    assert engine.is_alive()
    assert engine.cold_start_s is not None and engine.cold_start_s > 0
    assert (engine.version, engine.effective) == ("1.2.3", {"context_length": 512})
    assert engine.record().runtime == "local"
    assert seen[0][1].startswith("$ ")
    assert engine.log_tail(1) == ["loading the weights"]
    engine.stop()
    engine.stop()
    assert gone(engine.pid)
    assert gone(child)
    assert processes.group_members(engine.pid) == []
    assert engine._guard.poll() == 0


def test_engine_that_ignores_the_request_to_stop_is_killed_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "child.pid"
    description = fake_description("stubborn", "--note", str(note), grace_s=0.3)
    engine = start_local(request(tmp_path, description))
    child = int(note.read_text())
    engine.stop()
    assert gone(engine.pid)
    assert gone(child)


def test_engine_that_dies_at_its_start_is_one_sentence_with_cause_and_log(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        start_local(request(tmp_path, fake_description("dies")))
    assert caught.value.code is Exit.ENGINE
    first, *log = str(caught.value).splitlines()
    assert first.startswith("Fake ended with code 1 before it was ready: the fake GPU is full.")
    assert any("FAKE out of memory" in line for line in log)


def test_engine_that_never_answers_is_stopped_at_the_limit(tmp_path: Path) -> None:
    engine = LocalEngine.start(request(tmp_path, fake_description("deaf")))
    with pytest.raises(UserError, match="was not ready after 0 s and was stopped") as caught:
        engine.wait_ready(timeout_s=0.3)
    assert caught.value.code is Exit.ENGINE
    assert gone(engine.pid)


def test_interrupt_while_waiting_leaves_nothing_running(tmp_path: Path) -> None:
    pids: list[int] = []

    def interrupt(seconds: float, line: str) -> None:
        pids.extend(
            process.pid for process in psutil.Process().children() if "fake_engine.py" in str(process.cmdline())
        )
        if pids:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start_local(request(tmp_path, fake_description("deaf")), interrupt)
    assert pids
    assert all(gone(pid) for pid in pids)


def test_engine_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\n"
        "from tests.engines.helpers import fake_description\n"
        "from tokenswarm.engines import StartRequest, start_local\n"
        "request = StartRequest(description=fake_description(), log_path=Path(sys.argv[1]))\n"
        "engine = start_local(request)\nprint(engine.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "engine.log")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert starter.stdout is not None
    engine_pid = int(starter.stdout.readline())
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    assert gone(engine_pid)


def test_released_engine_outlives_its_starter_object(tmp_path: Path) -> None:
    engine = start_local(request(tmp_path))
    engine.release()
    engine.stop()
    assert engine.is_alive()
    processes.end(engine._process, signal.SIGTERM, 5)
    assert gone(engine.pid)


def test_killed_engine_is_gone_with_its_children_at_once(tmp_path: Path) -> None:
    note = tmp_path / "child.pid"
    engine = start_local(request(tmp_path, fake_description("stubborn", "--note", str(note), grace_s=600)))
    engine.kill()
    assert gone(int(note.read_text()))
    assert engine._process.wait(10) == -signal.SIGKILL


def test_taken_port_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"Port {port} on 127.0.0.1 is taken") as caught:
            LocalEngine.start(request(tmp_path, fake_description(), port=port))
    assert caught.value.code is Exit.PORT
    assert not (tmp_path / "engine.log").exists()


def test_engine_does_not_see_the_api_key_of_the_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "planted")
    monkeypatch.setenv("KEPT_VARIABLE", "kept")
    engine = start_local(request(tmp_path, fake_description(), env={"GIVEN": "1"}))
    environment = psutil.Process(engine.pid).environ()
    engine.stop()
    assert "API_KEY" not in environment
    assert (environment["KEPT_VARIABLE"], environment["GIVEN"]) == ("kept", "1")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin processes")
def test_engine_keeps_to_its_cpus_and_the_starter_keeps_all(tmp_path: Path) -> None:
    mine = os.sched_getaffinity(0)
    one = {min(mine)}
    engine = start_local(request(tmp_path, fake_description(), cpus=one))
    theirs = os.sched_getaffinity(engine.pid)
    engine.stop()
    assert theirs == one
    assert os.sched_getaffinity(0) == mine


@pytest.mark.skipif(not shared_memory.SHM.is_dir(), reason="this system has no /dev/shm")
def test_shared_memory_left_behind_is_removed_unless_someone_uses_it() -> None:
    before = shared_memory.shared_memory_names()
    left = shared_memory.SHM / f"tokenswarm-test-left-{os.getpid()}"
    used = shared_memory.SHM / f"tokenswarm-test-used-{os.getpid()}"
    other = shared_memory.SHM / f"someone-elses-{os.getpid()}"
    for path in (left, used, other):
        path.write_bytes(b"x")
    try:
        with used.open("rb"):
            removed = shared_memory.remove_shared_memory([], before, [f"tokenswarm-test-*-{os.getpid()}"])
        assert removed == [left.name]
        assert used.exists() and other.exists()
    finally:
        for path in (left, used, other):
            path.unlink(missing_ok=True)


def test_cache_reset_reads_the_body_and_waits_out_busy(served) -> None:
    served.handler.resets_refused = 2
    naps: list[float] = []
    engine = Engine(served.url, fake_description())
    assert engine.reset_prefix_cache(sleep=naps.append) is True
    assert len(naps) == 2


def test_cache_reset_that_stays_busy_is_an_error_not_a_success(served) -> None:
    served.handler.resets_refused = 10**6
    with pytest.raises(UserError, match="still busy 3 s after") as caught:
        Engine(served.url, fake_description()).reset_prefix_cache(wait_s=3, sleep=lambda seconds: None)
    assert caught.value.code is Exit.ENGINE


def test_cache_reset_that_the_engine_does_not_offer_is_a_note(served) -> None:
    served.handler.resets_path_missing = True
    engine = Engine(served.url, fake_description())
    assert engine.reset_prefix_cache() is False
    assert "cannot be emptied (/reset answered 404)" in engine.notes[0]


def test_endpoint_without_description_can_be_adopted(served) -> None:
    engine = adopt(served.url + "/v1/")
    assert (engine.name, engine.runtime, engine.simulated) == ("unknown", "external", False)
    assert engine.reset_prefix_cache() is False
    assert engine.effective == {}
    engine.stop()


def test_nothing_at_the_endpoint_is_one_sentence() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(UserError, match=f"Nothing answers at {url}: connection refused") as caught:
        adopt(url)
    assert caught.value.code is Exit.ENDPOINT
    assert probe(url) is None


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://", "http://[::1", "http://h:99999999", ""])
def test_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UserError) as caught:
        adopt(url)
    assert caught.value.code is Exit.USAGE


def test_signs_are_headers_or_json_values() -> None:
    reply = HttpReply(200, {"x-simulated": "True"}, b'{"data": [{"owned_by": "vllm"}]}')
    assert matches(DetectionRule(endpoint="/", header="X-Simulated", equals="true"), reply)
    assert matches(DetectionRule(endpoint="/", path="data.0.owned_by", equals="vllm"), reply)
    assert not matches(DetectionRule(endpoint="/", path="data.0.owned_by", equals="sglang"), reply)
    assert not matches(DetectionRule(endpoint="/", path="data.0.nothing"), reply)
    assert not matches(DetectionRule(endpoint="/", path="data"), None)


@pytest.mark.parametrize("url", ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/"])
def test_base_url_is_accepted_with_and_without_v1(url: str) -> None:
    assert Endpoint(url).root == "http://h:1"


def test_telemetry_writes_canonical_rows_and_a_gap_for_a_failed_scrape(served, tmp_path: Path) -> None:
    engine = Engine(served.url, fake_description())
    telemetry = Telemetry(engine, tmp_path)
    assert telemetry.sample()["running"] == 5
    engine.base_url = f"http://127.0.0.1:{free_port()}"
    telemetry.sample()
    lines = (tmp_path / "engine_metrics.csv").read_text().splitlines()
    assert lines[0].split(",") == names(ENGINE_METRIC_COLUMNS)
    first, second = (dict(zip(names(ENGINE_METRIC_COLUMNS), line.split(","), strict=True)) for line in lines[1:])
    assert (first["running"], first["prefix_hit_tokens"], first["preemptions"]) == ("5", "7", "")
    assert second.pop("at") and set(second.values()) == {""}
    assert (telemetry.scrapes, telemetry.failed) == (2, 1)


def test_telemetry_thread_samples_at_its_start_and_at_its_end(served, tmp_path: Path) -> None:
    telemetry = Telemetry(Engine(served.url, fake_description()), tmp_path, interval_s=3600)
    telemetry.start()
    telemetry.stop()
    assert telemetry.scrapes >= 1
    assert len((tmp_path / "engine_metrics.csv").read_text().splitlines()) == telemetry.scrapes + 1


def test_telemetry_survives_a_folder_that_cannot_be_written(served, tmp_path: Path) -> None:
    telemetry = Telemetry(Engine(served.url, fake_description()), tmp_path / "missing")
    assert telemetry.sample()["running"] == 5
    assert telemetry.failed == 1


def test_gpu_rows_come_from_nvml_and_leave_out_what_a_gpu_does_not_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served
) -> None:
    def no_power(handle: int) -> int:
        if handle == 1:
            raise RuntimeError("not supported")
        return 350_500

    nvml = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda handle: b"GPU" if handle == 0 else "GPU",
        nvmlDeviceGetUtilizationRates=lambda handle: SimpleNamespace(gpu=87),
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(used=2048 * 1024 * 1024),
        nvmlDeviceGetPowerUsage=no_power,
    )
    monkeypatch.setitem(sys.modules, "fake_nvml", nvml)
    sampler = GpuSampler.open("fake_nvml")
    assert sampler is not None
    assert sampler.names == ["GPU", "GPU"]
    Telemetry(Engine(served.url, fake_description()), tmp_path, gpus=sampler).sample()
    lines = (tmp_path / "host_metrics.csv").read_text().splitlines()
    rows = [dict(zip(names(HOST_METRIC_COLUMNS), line.split(","), strict=True)) for line in lines[1:]]
    assert [row["source"] for row in rows] == ["gpu 0", "gpu 1"]
    assert (rows[0]["gpu_util"], rows[0]["gpu_memory_mb"], rows[0]["gpu_power_w"]) == ("0.87", "2048", "350.5")
    assert rows[1]["gpu_power_w"] == ""


def test_no_nvml_is_no_sampler() -> None:
    assert GpuSampler.open("there_is_no_such_library") is None


def test_log_tail_reads_progress_bars_and_missing_files(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\r\n\n10%\r50%\rdone\n\xff\n")
    assert tail(log, 3) == ["50%", "done", "\ufffd"]
    assert tail(tmp_path / "none", 3) == []
