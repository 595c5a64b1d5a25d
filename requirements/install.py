"""Installs requirement files with pip and shows how far it is, where pip alone is silent for a minute or prints a page.

python requirements/install.py requirements/build.txt requirements/run.txt
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

_SEEN = re.compile(r"(?:Collecting|Requirement already satisfied:) ([A-Za-z0-9._-]+)")
_EVERY = 10
"""Without a terminal, a line for so many packages."""


def count(files: Iterable[str]) -> int:
    """Packages that the files name, each with its version."""
    return len(
        {
            line.partition("==")[0]
            for file in files
            for line in Path(file).read_text("utf-8").splitlines()
            if re.match(r"[A-Za-z0-9]", line) and "==" in line
        }
    )


def show(lines: Iterable[str], total: int, out: TextIO) -> None:
    """Follow pip's output: on a terminal in one line that changes, else in a line now and then."""
    seen: set[str] = set()
    terminal = out.isatty()
    for line in lines:
        if package := _SEEN.match(line):
            seen.add(package[1].lower())
            text = f"  {len(seen)} of {total} packages: {package[1]}"
            if terminal:
                out.write(f"\r{text:<70.70}")
            elif len(seen) % _EVERY == 0:
                out.write(f"{text}\n")
        elif line.startswith("Installing collected packages"):
            text = "  all are here; unpacking them ..."
            out.write(f"\r{text:<70}\n" if terminal else f"{text}\n")
        out.flush()


def main(files: list[str], pip: tuple[str, ...] = (sys.executable, "-m", "pip")) -> int:
    """pip's exit code. What it has to say of a failure goes to standard error as it is."""
    options = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off", "--require-hashes"]
    requirements = [word for file in files for word in ("--requirement", file)]
    with subprocess.Popen([*pip, "install", *options, *requirements], stdout=subprocess.PIPE, text=True) as process:
        show(process.stdout or (), count(files), sys.stdout)
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
