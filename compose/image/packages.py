"""The packages of tokenswarm's image.

`python3 packages.py download FOLDER`: fetch them as wheels, with a Python of the version that the image has.
`python3 packages.py install FOLDER TARGET`: make the image's virtual environment. Runs inside the build with nothing
but the standard library, in images without pip too: pip is one of the wheels. Without wheels in FOLDER they come from
the package index. Either way they are those of requirements/run.txt, by version and hash; the build puts it in FOLDER.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

_STAMP = "downloaded-for.txt"
_LOCK = "run.txt"
"""What the project needs to run, in requirements/."""


def download(folder: Path) -> None:
    """All of them, with all that they need, as wheels; nothing where they lie there already."""
    requirements = Path(__file__).resolve().parents[2] / "requirements"
    locks = [requirements / _LOCK, requirements / "build.txt"]  # the latter for pip itself
    stamp = folder / _STAMP
    wanted = "\n".join([sys.version, *(lock.read_text(encoding="utf-8") for lock in locks)])
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-qq",
            "--disable-pip-version-check",
            "--only-binary=:all:",
            "--require-hashes",
            "--dest",
            str(folder),
            *(part for lock in locks for part in ("--requirement", str(lock))),
        ],
        check=True,
    )
    stamp.write_text(wanted, encoding="utf-8")


def install(folder: Path, target: Path) -> None:
    """Make the environment."""
    own_pip = sorted(folder.glob("pip-*.whl"))
    venv.create(target, with_pip=not own_pip, symlinks=True)
    command = [
        str(target / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-cache-dir",
        "--disable-pip-version-check",
        "--root-user-action=ignore",
    ]
    environment = dict(os.environ)
    if own_pip:
        environment["PYTHONPATH"] = str(own_pip[-1])  # a wheel is a zip file, and Python imports from those
        command += ["--no-index", "--find-links", str(folder)]
    subprocess.run([*command, "--require-hashes", "--requirement", str(folder / _LOCK)], env=environment, check=True)
    for tests in [path for path in target.glob("lib/python*/site-packages/**/tests") if path.is_dir()]:
        shutil.rmtree(tests, ignore_errors=True)  # the packages' own: a fifth of the image, and nothing imports them


def main() -> int:
    """Do what the command line says; a step that fails has said why."""
    what, *folders = sys.argv[1:]
    try:
        {"download": download, "install": install}[what](*map(Path, folders))
    except subprocess.CalledProcessError as error:
        return error.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
