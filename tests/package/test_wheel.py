"""The wheel, installed and used from an empty folder, as somebody does who has no checkout.

Nothing is downloaded: the new environment finds the packages of others where the running one has them, by a .pth file
that lists those folders. Python does not read the .pth files *in* such folders, so what makes the checkout importable
in the running environment (an editable install) does nothing there: tokenswarm can come from the wheel alone.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest

from tests.e2e.support import PATIENCE_S, environment
from tokenswarm.base.errors import Exit

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
SOURCES = (
    "pyproject.toml",
    "setup.py",
    "README.md",
    "LICENSE",
    "tokenswarm",
    "analysis",
    "locustfiles",
    "scenarios",
    "compose",
    "claims",
)
SHORT = ("--users", "3", "--duration", "3s", "--set", "load.warmup_s=1 load.drain_s=5 rag.document_tokens=300")
VERDICTS = {Exit.PASSED, Exit.SLO_MISSED, Exit.INVALID, Exit.UNDETERMINED}
"""How a run may end on a busy machine."""


def pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments], check=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("build")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "wheels"))
        else:
            shutil.copy(ROOT / name, folder / name)
    pip(
        "wheel",
        "-qq",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--wheel-dir",
        str(folder / "dist"),
        str(folder),
    )
    [built] = (folder / "dist").glob("*.whl")
    return built


class Installed:
    """An environment with the wheel in it, and a working folder that has nothing to do with it."""

    def __init__(self, root: Path, wheel: Path) -> None:
        self.folder = root / "empty"
        self.folder.mkdir()
        self.bin = root / "env" / "bin"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root / "env")], check=True)
        pip("--python", str(self.bin / "python"), "install", "-qq", "--no-deps", "--no-index", str(wheel))
        [self.packages] = (root / "env" / "lib").glob("python3*/site-packages")
        shared = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
        (self.packages / "others.pth").write_text("\n".join(shared))
        self.environment = {
            key: value
            for key, value in environment(
                HOME=str(root),
                XDG_CONFIG_HOME=str(root / "config"),
                XDG_CACHE_HOME=str(root / "cache"),
                TOKENSWARM_ENGINES=str(root / "engines"),
            ).items()
            if key != "PYTHONPATH"
        }

    def run(self, *command: str, folder: Path | None = None, code: int = 0) -> str:
        """What it says (of what went wrong, where `code` is not 0); it ends with `code`, and without a traceback."""
        done = self.end_of(*command, folder=folder)
        assert done.returncode == code, done.stderr + done.stdout
        return done.stderr if code else done.stdout

    def end_of(self, *command: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """How it ended, without a traceback."""
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=folder or self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=4 * PATIENCE_S,
        )
        assert "Traceback" not in done.stderr + done.stdout, done.stderr + done.stdout
        return done

    def measure(self, *command: str, folder: Path | None = None) -> None:
        """A command that measures something ends with a verdict."""
        done = self.end_of(*command, folder=folder)
        assert done.returncode in VERDICTS, done.stderr + done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Installed:
    return Installed(tmp_path_factory.mktemp("installed"), wheel)


@pytest.fixture(scope="module")
def run_folders(installed: Installed) -> list[Path]:
    """Two runs, a pair of a comparison that the installed package made."""
    installed.measure("tokenswarm", "compare", "--scenario", "rag", "--engines", "sim,sim", "--repeats", "1", *SHORT)
    return sorted(path.parent for path in (installed.folder / "results").rglob("run.json"))


def test_the_wheel_holds_one_import_package_with_all_its_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"tokenswarm"}
    wanted = {
        f"tokenswarm/{'' if folder == 'tokenswarm' else folder + '/'}{path.relative_to(ROOT / folder).as_posix()}"
        for folder in SOURCES[3:]
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not {"__pycache__", "wheels"} & set(path.parts) and path.suffix != ".pyc"
    }
    assert {name for name in wanted if name not in names} == set()
    assert not [name for name in names if "__pycache__" in name or "/tests/" in name]
    assert "tokenswarm/py.typed" in names


def test_it_is_the_installed_package_that_runs(installed: Installed) -> None:
    lines = installed.run(
        "python",
        "-c",
        "import tokenswarm, tokenswarm.analysis as a, importlib.metadata as m\n"
        "print(tokenswarm.__file__, a.__file__, sep='\\n')\n"
        "assert m.version('tokenswarm') == tokenswarm.__version__",
    ).split()
    assert all(Path(line).is_relative_to(installed.packages) for line in lines)


def test_lists_name_what_comes_with_the_package(installed: Installed) -> None:
    assert {"rag", "chat", "batch", "reasoning"} <= set(installed.run("tokenswarm", "scenarios").split())
    assert all(engine in installed.run("tokenswarm", "engine", "list") for engine in ("vllm", "sglang", "sim"))
    assert "vllm" in installed.run("tokenswarm", "engine", "flags", "--engine", "vllm", "--model", "any/model")


def test_the_tiny_model_without_an_engine_is_one_clear_sentence(installed: Installed) -> None:
    said = installed.run("tokenswarm", "engine", "tiny-model", code=13)
    assert said.count("\n") == 1 and "engine install" in said


def test_compare_makes_runs_and_report_reads_them(installed: Installed, run_folders: list[Path]) -> None:
    assert len(run_folders) == 2
    for file in (installed.folder / "results").glob("*/comparison.json"):  # none where the machine spoilt a run
        comparison = json.loads(file.read_text())
        assert comparison["verdict"]["sentence"] and not comparison["verdict"]["settled"], "one pair settles nothing"
        assert comparison["a"]["runs"] and comparison["b"]["runs"] and comparison["figures"]
    first = run_folders[0]
    summary = json.loads((first / "summary.json").read_text())
    (first / "dashboard.html").unlink()
    installed.measure("tokenswarm", "report", str(first))
    assert (first / "dashboard.html").stat().st_size > 100_000
    assert json.loads((first / "summary.json").read_text()).keys() == summary.keys()


def test_compare_works_on_figures_that_there_are(installed: Installed) -> None:
    """Of other tools, which no noise of this machine can make invalid."""
    files = [str(ROOT / f"tests/imports/data/vllm-bench-{name}.json") for name in ("completions", "openai-chat")]
    installed.run("tokenswarm", "compare", *files, "--output", "compared")
    comparison = json.loads((installed.folder / "compared" / "comparison.json").read_text())
    assert comparison["a"]["runs"] and comparison["b"]["runs"] and comparison["figures"]
    assert (installed.folder / "compared" / "comparison.html").is_file()


def test_the_ui_answers_until_ctrl_c(installed: Installed) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(installed.bin / "tokenswarm"), "ui", "--web-port", str(port)]
    with (
        open(installed.folder / "ui.txt", "w+b") as out,
        subprocess.Popen(command, cwd=installed.folder, env=installed.environment, stdout=out, stderr=out) as ui,
    ):
        try:
            page, end = "", time.monotonic() + PATIENCE_S
            while "llm" not in page.lower():
                assert ui.poll() is None and time.monotonic() < end, (installed.folder / "ui.txt").read_text()
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                        page = answer.read().decode()
                except OSError:
                    time.sleep(0.2)
            ui.send_signal(signal.SIGINT)
            assert ui.wait(PATIENCE_S) in (0, 130)
        finally:
            ui.kill()
    assert "Traceback" not in (installed.folder / "ui.txt").read_text()


def test_calibrate_tells_what_a_worker_can_time_or_that_the_machine_is_noisy(installed: Installed) -> None:
    done = installed.end_of("tokenswarm", "calibrate", "--seconds", "3", "--up-to", "40", "--json")
    if done.returncode == Exit.INVALID:
        assert "this machine is noisy" in done.stderr and "nothing was stored" in done.stderr
    else:
        assert done.returncode == 0 and json.loads(done.stdout)


def test_a_users_own_folder_analysis_neither_hides_ours_nor_is_hidden(installed: Installed, tmp_path: Path) -> None:
    own = tmp_path / "analysis"
    own.mkdir()
    (own / "__init__.py").write_text("MINE = True\n")
    installed.run("python", "-c", "import analysis; assert analysis.MINE", folder=tmp_path)
    installed.measure("python", "-m", "tokenswarm", "load", *SHORT, folder=tmp_path)
    [folder] = (path.parent for path in (tmp_path / "results").glob("*/run.json"))
    assert (folder / "dashboard.html").is_file()
