"""Files of a run that workers on other machines lack."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.generator import worker_files
from tokenswarm.generator.worker_files import FilesToFetch, FilesToHandOut


def _scenario(path: Path, content: bytes | None = None) -> dict:
    content = path.read_bytes() if content is None else content
    return {"name": "x", "replay": {"file": str(path), "sha256": hashlib.sha256(content).hexdigest(), "speed": 1}}


class Worker:
    """A worker beside its master: what it asks for is answered at once, and `lost` tells it of another machine."""

    def __init__(self, master: FilesToHandOut) -> None:
        self.asked: list[int] = []
        self.ready = 0
        self._master = master
        self.files = FilesToFetch(self._ask, self._is_ready)

    def _ask(self, sha256: str, offset: int) -> None:
        self.asked.append(offset)
        self.files.receive(sha256, offset, self._master.slice(sha256, offset))

    def _is_ready(self) -> None:
        self.ready += 1


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.jsonl"
    path.write_bytes(bytes(range(256)) * 10)
    return path


def _elsewhere(master: FilesToHandOut, path: Path) -> list[dict[str, str]]:
    """The master's offers, as a machine sees them where the file is not at its path."""
    return [{**offer, "path": str(path.with_name("not here"))} for offer in master.offers()]


def test_a_worker_without_the_file_gets_it_slice_by_slice(trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_files, "SLICE_BYTES", 1000)
    scenario = _scenario(trace)
    worker = Worker(master := FilesToHandOut([scenario]))
    worker.files.offered(_elsewhere(master, trace))
    assert worker.ready == 1 and worker.asked == [0, 1000, 2000, 2560]
    manifest = {"scenario": {"values": scenario}, "classes": {"Other": {"values": {"chat": {"turns": 3}}}}}
    worker.files.put_into(manifest)
    fetched = Path(scenario["replay"]["file"])
    assert fetched != trace and fetched.read_bytes() == trace.read_bytes()
    assert fetched.parent.stat().st_mode & 0o077 == 0


def test_a_worker_that_has_the_file_asks_for_nothing(trace: Path) -> None:
    scenario = _scenario(trace)
    worker = Worker(master := FilesToHandOut([scenario, scenario]))
    worker.files.offered(master.offers())
    worker.files.put_into(scenario)
    assert worker.ready == 1 and worker.asked == [] and scenario["replay"]["file"] == str(trace)


def test_a_file_is_fetched_once_for_several_runs(trace: Path) -> None:
    worker = Worker(master := FilesToHandOut([_scenario(trace)]))
    worker.files.offered(_elsewhere(master, trace))
    asked = len(worker.asked)
    worker.files.offered(_elsewhere(master, trace))
    assert worker.ready == 2 and len(worker.asked) == asked


def test_times_of_arrivals_are_a_file_too(trace: Path) -> None:
    sha256 = hashlib.sha256(trace.read_bytes()).hexdigest()
    master = FilesToHandOut([{"load": {"arrival_times_file": str(trace), "arrival_times_sha256": sha256}}])
    assert master.offers() == [{"path": str(trace), "sha256": sha256}]


def test_a_file_that_changed_on_the_master_is_refused(trace: Path) -> None:
    worker = Worker(master := FilesToHandOut([_scenario(trace, b"as it was planned")]))
    with pytest.raises(UserError, match="has changed on the master") as caught:
        worker.files.offered(_elsewhere(master, trace))
    assert caught.value.code is Exit.DATA and worker.ready == 0


@pytest.mark.parametrize(
    ("sha256", "offset"), [("0" * 64, 0), ("/etc/passwd", 0), (None, 0), ("known", -1), ("known", "0")]
)
def test_nothing_but_files_of_the_run_is_handed_out(trace: Path, sha256: object, offset: object) -> None:
    master = FilesToHandOut([_scenario(trace)])
    known = master.offers()[0]["sha256"]
    with pytest.raises(UserError, match="does not have"):
        master.slice(known if sha256 == "known" else sha256, offset)
