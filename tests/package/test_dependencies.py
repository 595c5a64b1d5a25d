"""What is imported is declared, what is declared is locked by version and hash, and the version stands in one place."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import tokenswarm
from tests.source_trees import ROOT, imports

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
RUN = [Requirement(line) for line in PROJECT["dependencies"]]
DEV = [Requirement(line) for line in PROJECT["optional-dependencies"]["dev"]]
EXTRAS = [
    Requirement(line) for group, lines in PROJECT["optional-dependencies"].items() if group != "dev" for line in lines
]
BUILD = [Requirement(line) for line in PYPROJECT["dependency-groups"]["build"]]
OF_ENGINES = {"tiny_model.py", "tiny_gguf.py", "sgl_kernel", "llama_server", "parsers"}
"""Files and folders that the Python of an engine's own environment runs."""
OURS = {"tokenswarm", "tests", "bench", "docs"}
STDLIB = sys.stdlib_module_names | {"_typeshed"}  # which only a type checker has
LOADED_BY_NAME = {"nvidia-ml-py"}
BROUGHT_BY = packages_distributions()
"""Module -> distributions: read once, since it opens every installed distribution."""


PACKAGE = ("tokenswarm", "analysis", "locustfiles")
_IMPORTING = re.compile(r"(?:^|[;:])[ \t]*(?:import|from)[ \t]+(\w+)", re.MULTILINE)


def mentioned(text: str) -> set[str]:
    """Top-level modules that a file imports, and words of texts on lines that begin like an import. To parse all files
    takes seconds: only those are that mention what is looked for."""
    return set(_IMPORTING.findall(text))


def files(*folders: str) -> Iterator[Path]:
    """The Python files of these folders, but for those of an engine's environment."""
    for path in (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))):
        if not OF_ENGINES.intersection(path.parts):
            yield path


def foreign_imports(path: Path) -> set[str]:
    """Top-level modules of others that a file imports, also inside functions."""
    names: list[str] = []
    for node in imports(path):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif not node.level:
            names.append(node.module or "")
    return {name.partition(".")[0] for name in names} - OURS - STDLIB


def names(requirements: list[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


def distributions(module: str) -> set[str]:
    """The distributions that bring a module."""
    return {canonicalize_name(name) for name in BROUGHT_BY.get(module, [])}


@pytest.mark.parametrize(
    ("folders", "declared"),
    [
        (PACKAGE, names(RUN) | names(EXTRAS)),
        (("tests", "bench"), names(RUN) | names(DEV)),
    ],
    ids=["package", "tests"],
)
def test_what_is_imported_is_declared(folders: tuple[str, ...], declared: set[str]) -> None:
    known = {module for module in BROUGHT_BY if distributions(module) & declared}
    assert "locust" in known
    suspects = [path for path in files(*folders) if mentioned(path.read_text("utf-8")) - known - OURS - STDLIB]
    undeclared = {str(path.relative_to(ROOT)): foreign_imports(path) - known for path in suspects}
    assert {path: modules for path, modules in undeclared.items() if modules} == {}


@pytest.mark.parametrize(
    "text", ["import x.y as z", "def f():\n    from x import y", "if a: import x", "a = 1; import x"]
)
def test_an_import_is_seen(text: str) -> None:
    assert mentioned(text) == {"x"}


def test_what_is_declared_is_imported() -> None:
    missing = names(RUN) - LOADED_BY_NAME
    assert len(missing) > 15
    for path in files(*PACKAGE):
        if set().union(*map(distributions, mentioned(path.read_text("utf-8")))) & missing:
            missing -= set().union(*map(distributions, foreign_imports(path)))
    assert missing == set()


def locked(file: str) -> dict[str, tuple[str, int]]:
    """Canonical name -> version and number of hashes."""
    text = (ROOT / "requirements" / file).read_text("utf-8")
    assert "://" not in text
    entry = r"^([\w.-]+)==([^\s;\\]+)([^\n]*(?:\n {4}--hash=sha256:[0-9a-f]{64}[ \\]*)+)"
    entries = re.findall(entry, text, re.MULTILINE)
    assert len(entries) == len(re.findall(r"^\w", text, re.MULTILINE))  # no line without a hash
    return {canonicalize_name(name): (version, rest.count("--hash=")) for name, version, rest in entries}


@pytest.mark.parametrize(("file", "requirements"), [("run.txt", RUN), ("dev.txt", RUN + DEV), ("build.txt", BUILD)])
def test_the_lock_holds_what_is_declared_in_a_version_that_is_admitted(
    file: str, requirements: list[Requirement]
) -> None:
    lock = locked(file)
    for requirement in requirements:
        assert (
            requirement.specifier
            and not requirement.url
            and requirement.specifier.contains(lock[canonicalize_name(requirement.name)][0])
        ), requirement


def test_both_locks_agree() -> None:
    run, dev = locked("run.txt"), locked("dev.txt")
    assert run == {name: entry for name, entry in dev.items() if name in run}


def test_dependencies_are_ranges() -> None:
    assert [str(requirement) for requirement in RUN + DEV if "==" in str(requirement.specifier)] == []


def test_the_version_stands_in_one_place() -> None:
    assert "version" in PROJECT["dynamic"] and "version" not in PROJECT
    named = {
        version
        for path in (*(ROOT / "deploy").rglob("*.yaml"), *(ROOT / "docs").glob("*.md"))
        for version in re.findall(r"tokenswarm:(\d+\.\d+\.\d+)", path.read_text("utf-8"))
    }
    assert named <= {tokenswarm.__version__}
