"""The first `make` shows how far the installation is."""

from __future__ import annotations

import importlib.util
import io
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_SPEC = importlib.util.spec_from_file_location("install", ROOT / "requirements" / "install.py")
assert _SPEC is not None and _SPEC.loader is not None
install = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(install)
PIP = [
    "Collecting locust==2.47.0 (from -r run.txt (line 3))\n",
    "  Downloading locust.whl (1.2 MB)\n",
    "Requirement already satisfied: numpy==2.4 in /x\n",
    "Collecting locust==2.47.0 (from -r dev.txt)\n",
    "Installing collected packages: locust\n",
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_each_package_once_in_one_line() -> None:
    out = Terminal()
    install.show(PIP, 61, out)
    shown = [part.strip() for part in out.getvalue().split("\r") if part]
    assert shown == [
        "1 of 61 packages: locust",
        "2 of 61 packages: numpy",
        "2 of 61 packages: locust",
        "all are here; unpacking them ...",
    ]


def test_a_log_gets_a_line_for_ten_packages() -> None:
    out = io.StringIO()
    install.show([f"Collecting p{number}==1\n" for number in range(25)], 25, out)
    assert out.getvalue() == "  10 of 25 packages: p9\n  20 of 25 packages: p19\n"


def test_the_packages_of_the_project_are_counted() -> None:
    files = [str(ROOT / "requirements" / name) for name in ("build.txt", "run.txt")]
    assert 40 < install.count(files) < 120
    assert install.count([*files, files[1]]) == install.count(files)


@pytest.mark.parametrize("code", [0, 1])
def test_the_exit_code_is_that_of_pip(code: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pip = tmp_path / "pip.py"
    pip.write_text(
        f"import sys\nprint('Collecting a==1')\nprint('no such package', file=sys.stderr)\nsys.exit({code})\n"
    )
    (tmp_path / "r.txt").write_text("a==1 \\\n    --hash=sha256:00\n")
    assert install.main([str(tmp_path / "r.txt")], (sys.executable, str(pip))) == code
    assert "no such package" in capfd.readouterr().err
