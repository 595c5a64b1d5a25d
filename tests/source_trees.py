"""The repository's Python files as syntax trees. Each is parsed once in a process, whoever looks at it."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text("utf-8"))


@cache
def imports(path: Path) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """All imports of a file, wherever they stand: in functions and for types alone too. An import is a statement, so
    expressions, which are most of a tree, are not looked into."""
    found: list[ast.Import | ast.ImportFrom] = []
    blocks: list[ast.AST] = [tree(path)]
    while blocks:
        for node in ast.iter_child_nodes(blocks.pop()):
            if isinstance(node, ast.Import | ast.ImportFrom):
                found.append(node)
            elif isinstance(node, ast.stmt | ast.excepthandler | ast.match_case):
                blocks.append(node)
    return tuple(found)
