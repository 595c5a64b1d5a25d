"""Imports follow docs/architecture.md: one way and without cycles, types included."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

from tests.source_trees import ROOT, imports

FOLDERS = {"tokenswarm": "tokenswarm", "tokenswarm.analysis": "analysis", "locustfiles": "locustfiles"}
"""Import package -> folder of the repository."""
PAGE = ROOT / "docs" / "architecture.md"


@cache
def modules() -> dict[str, Path]:
    """Every module of ours by its full name; not what an engine's own environment imports (data/)."""
    named = {}
    for package, folder in FOLDERS.items():
        for path in (ROOT / folder).rglob("*.py"):
            if "data" not in path.parts:
                parts = [package, *path.relative_to(ROOT / folder).with_suffix("").parts]
                named[".".join(parts).removesuffix(".__init__")] = path
    return named


def targets(name: str, path: Path, ours: dict[str, Path]) -> set[str]:
    """All that a module imports, wherever it stands: in functions and for types alone too.

    `from package import name` is the module of that name, where there is one, else the package itself.
    """
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    imported: set[str] = set()
    for node in imports(path):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        else:
            base = ".".join(package.split(".")[: len(package.split(".")) + 1 - node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            names = [f"{module}.{alias.name}" for alias in node.names]
            imported |= {full if full in ours else module for full in names}
    return imported


@cache
def module_graph() -> dict[str, set[str]]:
    """Module -> modules of ours that it imports."""
    ours = modules()
    return {name: targets(name, path, ours) & ours.keys() - {name} for name, path in ours.items()}


def room(module: str) -> str:
    """The room of a module: its folder; a module beside the rooms is one of its own."""
    package, *rest = module.split(".")
    if package == "locustfiles":
        return package
    folder, prefix = ("tokenswarm", "")
    if rest[:1] == ["analysis"]:
        folder, prefix, rest = "analysis", "analysis.", rest[1:]
    if not rest:
        return folder
    return f"{prefix}{rest[0]}" if prefix or (ROOT / folder / rest[0]).is_dir() else f"{folder}.{rest[0]}"


def room_graph() -> dict[str, set[str]]:
    """Room -> rooms that its modules import."""
    graph: dict[str, set[str]] = {}
    for name, imported in module_graph().items():
        graph.setdefault(room(name), set()).update(room(target) for target in imported)
    return {name: others - {name} for name, others in graph.items()}


# ---- tests


def table(marker: str) -> list[list[str]]:
    """The cells of the table between two markers of the page."""
    text = PAGE.read_text("utf-8").partition(f"<!-- {marker} -->")[2].partition(f"<!-- /{marker} -->")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def allowed() -> dict[str, set[str]]:
    """Room -> rooms that it may import."""
    return {name: set() if others == "(nothing)" else set(others.split(", ")) for name, _, others in table("walls")}


def test_no_import_goes_through_a_wall() -> None:
    walls = allowed()
    assert len(walls) > 20
    through = [
        f"{name} imports {target}"
        for name, imported in module_graph().items()
        for target in imported
        if room(target) != room(name) and room(target) not in walls.get(room(name), set())
    ]
    assert through == [], "mend the import, or change the table in docs/architecture.md where the wall was wrong"


def test_the_table_names_all_rooms_and_allows_nothing_that_nobody_needs() -> None:
    assert allowed() == room_graph()


def test_the_walls_leave_no_way_round_in_a_circle() -> None:
    TopologicalSorter(allowed()).prepare()  # raises CycleError, which names the circle


def test_no_modules_import_each_other_in_a_circle_not_even_for_their_types() -> None:
    graph = module_graph()
    assert len(graph) > 150 and sum(map(len, graph.values())) > 400
    TopologicalSorter(graph).prepare()


def test_each_folder_keeps_out_what_belongs_to_others() -> None:
    kept_out = {cell.strip("`/"): set(re.findall(r"\w+", names)) for cell, names in table("foreign")}
    assert kept_out.keys() >= {"analysis", "tokenswarm"}
    for folder, names in kept_out.items():
        package = next(package for package, place in FOLDERS.items() if place == folder)
        ours = modules()
        for module, path in ours.items():
            if path.is_relative_to(ROOT / folder):
                imported = {target.partition(".")[0] for target in targets(module, path, ours)}
                assert not imported & names, f"{module} of {package}"


def test_each_file_name_says_which_file_it_is() -> None:
    """Whoever looks for `capacity_record` finds one file, in whatever room."""
    named = Counter(path.stem for path in modules().values() if path.is_relative_to(ROOT / "tokenswarm"))
    named += Counter(path.stem for path in modules().values() if path.is_relative_to(ROOT / "analysis"))
    assert len(named) > 400
    assert [name for name, times in named.items() if times > 1 and not name.startswith("__")] == []
