"""What is imported is declared, what is declared is locked by version and hash, and the version stands in one place."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

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
LOADED_BY_NAME = {"nvidia-ml-py"}
BROUGHT_BY = packages_distributions()
"""Module -> distributions: read once, since it opens every installed distribution."""


def foreign_imports(*folders: str) -> dict[str, set[str]]:
    """Top-level modules of others that these folders import, also inside functions: module -> files."""
    modules: dict[str, set[str]] = {}
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        if OF_ENGINES.intersection(path.parts):
            continue
        for node in imports(path):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else []
                if node.level
                else [node.module or ""]
            )
            for top in {name.partition(".")[0] for name in names} - OURS - sys.stdlib_module_names:
                modules.setdefault(top, set()).add(str(path.relative_to(ROOT)))
    return modules


def names(requirements: list[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


def distributions(module: str) -> set[str]:
    """The distributions that bring a module."""
    return {canonicalize_name(name) for name in BROUGHT_BY.get(module, [])}


@pytest.mark.parametrize(
    ("folders", "declared"),
    [
        (("tokenswarm", "analysis", "locustfiles"), names(RUN) | names(EXTRAS)),
        (("tests", "bench"), names(RUN) | names(DEV)),
    ],
    ids=["package", "tests"],
)
def test_what_is_imported_is_declared(folders: tuple[str, ...], declared: set[str]) -> None:
    imported = foreign_imports(*folders)
    assert len(imported) > 5
    assert {module: files for module, files in imported.items() if not distributions(module) & declared} == {}


def test_what_is_declared_is_imported() -> None:
    imported = foreign_imports("tokenswarm", "analysis", "locustfiles")
    brought = set().union(*map(distributions, imported))
    assert names(RUN) - brought - LOADED_BY_NAME == set()


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
