"""User errors: one sentence, a named exit code, nothing left behind."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tokenswarm.base.errors import Exit
from tokenswarm.cli import main

from .conftest import SECRET
from .support import CLI, Finished, load, simulator, started


def _check(run: Finished, code: Exit, *words: str) -> None:
    """One sentence on stderr that holds the words (usage lines of a wrong flag aside), and nothing left."""
    assert run.code == code, (run.code, run.err)
    assert "Traceback" not in run.out + run.err
    message = run.err[run.err.index("error: ") :] if run.err.startswith("usage: ") else run.err
    assert len(message.strip().splitlines()) == 1, run.err
    for word in words:
        assert word in message
    assert run.folder is None
    assert run.left == []


def _run(command: list[str], results: Path, **extra: str) -> Finished:
    with started(command, results, **extra) as process:
        return process.finish()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--engine", "vlm"], ["vlm", "vllm"]),
        (["--scenario", "ragg"], ["ragg", "rag", "chat"]),
        (["--scenario", "no/such/file.toml"], ["no/such/file.toml"]),
        (["--set", "load.user=3"], ["load", "user", "users"]),
        (["--set", "load.users=many"], ["load.users", "many", "whole number"]),
        (["--set", "load.users"], ["load.users", "KEY=VALUE"]),
        (["--set", "slo.ttft_p95=3"], ["ttft_p95"]),
        (["--users", "0"], ["--users", "0", "at least 1"]),
        (["--users", "few"], ["--users", "few"]),
        (["--rate", "0"], ["--rate", "above 0"]),
        (["--rate", "nan"], ["--rate"]),
        (["--duration", "abc"], ["--duration", "abc", "30s"]),
        (["--duration", "-3s"], ["duration"]),
        (["--workers", "0"], ["--workers", "1"]),
        (["--workers", "two"], ["--workers", "two", "whole number"]),
        (["--seed", "-1"], ["--seed", "-1"]),
        (["--engine", "external"], ["HOST"]),
        (["--engine", "external", "--host", "gpu1:8000"], ["gpu1:8000", "http://"]),
        (["--engine", "external", "--host", "http://u:hidden@h:1"], ["API_KEY"]),
    ],
    ids=lambda value: " ".join(value) if value and value[0].startswith("--") else "",
)
def test_a_wrong_option_is_refused_in_a_sentence_that_names_it(
    arguments: list[str],
    words: list[str],
    results: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # In this process, because there are many of them; nothing is started for any.
    monkeypatch.delenv("API_KEY", raising=False)
    code = main(["load", "--results", str(results), *arguments])
    out, err = capfd.readouterr()
    _check(Finished(code, out, err), Exit.USAGE, *words)
    assert "hidden" not in err
    assert list(results.iterdir()) == []


@pytest.mark.parametrize("steps", ["load.rate_steps=[2,4]", "load.users_end=64"])
def test_comparison_of_several_loads_is_refused_before_anything_is_measured(
    steps: str, results: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = main(["compare", "--scenario", "rag", "--engines", "sim", "--results", str(results), "--set", steps])
    out, err = capfd.readouterr()
    _check(
        Finished(code, out, err.removeprefix("note: both sides are the same; expect no difference\n")),
        Exit.USAGE,
        "one load",
        "load levels",
    )
    assert list(results.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["calibrate", "--seconds", "-1"], ["--seconds", "-1", "30s"]),
        (["compare", "--repeats", "0"], ["--repeats", "0", "at least 1"]),
        (["sim", "--port", "99999"], ["--port", "99999", "65535"]),
    ],
    ids=lambda value: value[0] if value[0].isalpha() else "",
)
def test_wrong_option_of_another_command(
    command: list[str], words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    code = main(command)
    out, err = capfd.readouterr()
    _check(Finished(code, out, err), Exit.USAGE, *words)


def test_a_report_of_no_run_says_what_is_missing(capfd: pytest.CaptureFixture[str]) -> None:
    code = main(["report", ""])  # `make report` without RUN
    out, err = capfd.readouterr()
    _check(Finished(code, out, err), Exit.USAGE, "RUN=")


def test_a_baseline_that_is_no_run_is_refused_before_anything_is_measured(
    results: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = main(["load", "--results", str(results), "--baseline", str(tmp_path)])
    out, err = capfd.readouterr()
    _check(Finished(code, out, err), Exit.RUN_FOLDER, str(tmp_path), "run.json")
    assert list(results.iterdir()) == []


@pytest.mark.slow
def test_wrong_option_on_the_real_command_line(results: Path) -> None:
    _check(_run(load(results, settings="load.user=3"), results), Exit.USAGE, "load", "user", "users")


@pytest.mark.slow
def test_an_unreachable_host_is_named_with_the_reason(results: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound, but nobody listens
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        _check(_run(load(results, "--engine", "external", "--host", url), results), Exit.ENDPOINT, url, "refused")


@pytest.fixture
def other_server(tmp_path: Path) -> Iterator[str]:
    """A server that speaks HTTP, but not this API."""

    class Files(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path))

        def log_message(self, *_: object) -> None:
            """Nothing on the tests' terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_host_that_speaks_another_protocol(other_server: str, results: Path) -> None:
    run = _run(load(results, "--engine", "external", "--host", other_server), results)
    _check(run, Exit.ENDPOINT, other_server, "404")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A simulator that asks for SECRET."""
    folder = tmp_path_factory.mktemp("guarded") / "sim"
    with simulator(folder, "--api-key-env", "THE_KEY", THE_KEY=SECRET) as url:
        yield url


@pytest.mark.slow
def test_a_missing_key_is_said_with_the_variable_that_gives_it(guarded: str, results: Path) -> None:
    run = _run(load(results, "--engine", "external", "--host", guarded), results)
    _check(run, Exit.AUTH, guarded, "API_KEY")


@pytest.mark.slow
def test_wrong_key_is_not_shown(guarded: str, results: Path) -> None:
    run = _run(load(results, "--engine", "external", "--host", guarded), results, API_KEY="wrong-secret")
    _check(run, Exit.AUTH, guarded, "refused")
    assert "wrong-secret" not in run.err


@pytest.mark.slow
def test_key_that_no_header_can_hold_is_not_shown(guarded: str, results: Path) -> None:
    run = _run(load(results, "--engine", "external", "--host", guarded), results, API_KEY="wrong\nsecret")
    _check(run, Exit.AUTH, "API_KEY")
    assert "secret" not in run.err


@pytest.mark.slow
def test_model_that_is_not_served(guarded: str, results: Path) -> None:
    command = load(results, "--engine", "external", "--host", guarded, "--model", "gpt-9")
    _check(_run(command, results, API_KEY=SECRET), Exit.MODEL, "gpt-9", "sim-8b")


@pytest.mark.slow
def test_engine_that_is_another_than_named(guarded: str, results: Path) -> None:
    command = load(results, "--engine", "vllm", "--host", guarded)
    _check(_run(command, results, API_KEY=SECRET), Exit.USAGE, guarded, "vllm", "external")


@pytest.mark.slow
def test_port_that_is_taken(guarded: str, results: Path) -> None:
    port = guarded.rpartition(":")[2]
    _check(_run([*CLI, "sim", "--port", port], results), Exit.PORT, port)


@pytest.mark.slow
def test_server_that_fails_the_first_request(tmp_path: Path, results: Path) -> None:
    with simulator(tmp_path / "sim", "--fault", "status:500") as url:
        _check(_run(load(results, "--engine", "external", "--host", url), results), Exit.ENDPOINT, url, "500")


@pytest.mark.slow
def test_results_folder_that_cannot_be_made(tmp_path: Path, results: Path) -> None:
    (tmp_path / "file").write_text("")
    run = _run(load(tmp_path / "file" / "below"), results)
    _check(run, Exit.RESULTS, str(tmp_path / "file" / "below"), "RESULTS=")


@pytest.mark.slow
def test_a_corpus_without_text_is_refused_by_its_folder(tmp_path: Path, results: Path) -> None:
    for name in ("empty", "tiny"):
        (tmp_path / name).mkdir()
    (tmp_path / "tiny" / "a.txt").write_text("Too little.")
    for name in ("empty", "missing", "tiny"):
        folder = str(tmp_path / name)
        _check(_run(load(results, "--corpus", folder), results), Exit.CORPUS, folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["missing", "empty"])
def test_report_without_a_run(name: str, tmp_path: Path, results: Path) -> None:
    (tmp_path / "empty").mkdir()
    _check(_run([*CLI, "report", str(tmp_path / name)], results), Exit.RUN_FOLDER, str(tmp_path / name))
