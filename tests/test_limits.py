"""Limits on the size of files, functions and parameter lists, on meaningless names, and on sleeping tests."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.source_trees import ROOT, tree

MOST_PARAMETERS = 6
MOST_LINES_OF_A_FUNCTION = 80
MOST_LINES_OF_A_FILE = 500
EMPTY_NAMES = frozenset({"found", "told", "said", "heard", "given"})
"""Variables so called do not say what they hold."""

MOST_LINES_WITH_ANY = 149
"""In tokenswarm/ and analysis/, with the imports of it. `object`, a record or a Protocol says more: bring this down."""

LARGER: dict[str, str] = {}
"""`file` or `file:function` that may be larger, and why."""


@cache
def sources() -> dict[str, ast.Module]:
    """Python files of ours that are no tests; not what an engine's own environment imports (data/)."""
    paths = [
        path
        for folder in ("tokenswarm", "analysis", "locustfiles", "docs", "bench")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "data" not in path.parts
    ]
    return {str(path.relative_to(ROOT)): tree(path) for path in paths}


@cache
def nodes(module: ast.Module) -> tuple[ast.AST, ...]:
    """All nodes of a file: it is walked through once, whoever looks at it."""
    return tuple(ast.walk(module))


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many a caller can give: `self` is none, `*args` is one."""
    its = function.args
    named = [each for each in (*its.posonlyargs, *its.args, *its.kwonlyargs) if each.arg not in ("self", "cls")]
    return len(named) + (its.vararg is not None) + (its.kwarg is not None)


def too_large(module: ast.Module, name: str) -> Iterator[str]:
    """What of a file is beyond the limits."""
    if module.body and (lines := module.body[-1].end_lineno or 0) > MOST_LINES_OF_A_FILE and name not in LARGER:
        yield f"{name} has {lines} lines"
    for node in nodes(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and f"{name}:{node.name}" not in LARGER:
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MOST_LINES_OF_A_FUNCTION:
                yield f"{name}:{node.name} has {lines} lines"
            if (number := parameters(node)) > MOST_PARAMETERS:
                yield f"{name}:{node.name} has {number} parameters"


def empty_names(module: ast.Module) -> Iterator[str]:
    """Variables, parameters and fields of a file whose names say nothing."""
    for node in nodes(module):
        name = node.arg if isinstance(node, ast.arg) else None
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name = node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            name = node.attr
        if name in EMPTY_NAMES:
            yield name


def public_classes(module: ast.Module) -> Iterator[str]:
    """Names of the classes of a file that others may use: one that begins with `_` is known in its file alone."""
    for node in nodes(module):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name


def test_each_name_of_a_class_is_given_once() -> None:
    places: dict[str, list[str]] = {}
    for path, module in sources().items():
        for name in public_classes(module):
            places.setdefault(name, []).append(path)
    assert len(places) > 500
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}, "call each what it is"


def test_classes_inside_classes_are_seen_and_private_ones_are_not() -> None:
    module = ast.parse("class A:\n    class B: pass\ndef f():\n    class C: pass\nclass _D: pass")
    assert sorted(public_classes(module)) == ["A", "B", "C"]


def test_no_file_and_no_function_is_larger_than_can_be_read_at_once() -> None:
    assert len(sources()) > 200
    large = [each for name, module in sources().items() for each in too_large(module, name)]
    assert large == [], "split it, or give it a record of parameters"


def lines_with_any(module: ast.Module) -> set[int]:
    """The lines of a file on which a type is left open."""
    named = {node.lineno for node in nodes(module) if isinstance(node, ast.Name) and node.id == "Any"}
    imported = {
        node.lineno
        for node in nodes(module)
        if isinstance(node, ast.ImportFrom) and "Any" in [alias.name for alias in node.names]
    }
    return named | imported


def test_no_more_types_are_left_open_than_there_were() -> None:
    numbers = {
        path: len(lines_with_any(module))
        for path, module in sources().items()
        if path.startswith(("tokenswarm/", "analysis/"))
    }
    assert 0 < sum(numbers.values()) <= MOST_LINES_WITH_ANY, sorted(numbers.items(), key=lambda each: -each[1])[:10]


def test_an_open_type_is_seen() -> None:
    text = "from typing import Any\n\ndef f(x: Any, y: int) -> dict[str, Any]: ...\nz: Any = 1\nAnyone = 1"
    assert lines_with_any(ast.parse(text)) == {1, 3, 4}


def test_no_variable_is_called_after_where_it_comes_from() -> None:
    nameless = [f"{path}: {name}" for path, module in sources().items() for name in empty_names(module)]
    assert nameless == [], "call it what it holds"


@pytest.mark.parametrize(
    ("text", "beyond"),
    [
        ("def f(a, b, c, d, e, f): pass", []),
        ("class C:\n    def f(self, a, b, c, d, e, *f): pass", []),
        ("def f(a, b, c, d, *, e, f, g): pass", ["x:f has 7 parameters"]),
        ("async def f(a, b, c, d, e, *f, **g): pass", ["x:f has 7 parameters"]),
        ("def f():\n" + "    pass\n" * 79, []),
        ("def f():\n" + "    pass\n" * 80, ["x:f has 81 lines"]),
        ("pass\n" * 501, ["x has 501 lines"]),
    ],
)
def test_the_limits_are_seen(text: str, beyond: list[str]) -> None:
    assert list(too_large(ast.parse(text), "x")) == beyond


@pytest.mark.parametrize(
    "text",
    [
        "found = 1",
        "for said in x: pass",
        "def f(told): pass",
        "self.heard = 1",
        "x: int; found: int = 1",
        "[found for found in x]",
        "with a as found: pass",
    ],
)
def test_empty_names_are_seen(text: str) -> None:
    assert list(empty_names(ast.parse(text)))


# ---- Default tests wait for what happens (`tests.waiting`) or move a clock. Where real time passes, REASONS says why.

_SLEEP = re.compile(r"\b(?:time|gevent|asyncio)\.sleep\(\s*([^()]*)\)")
NEVER_WAITED_FOR_S = 30.0
"""A peer or a child that sleeps so long is ended by its test, which does not wait for it."""
OTHER_SUITES = {"browser", "compose", "e2e", "observe", "package", "real_engines", "statistics"}

REASONS = {
    "waiting.py": (1, "the one place that looks again and again"),
    "client/servers.py": (1, "pieces that a client must read one by one"),
    "client/test_connections.py": (6, "the thread is held for real; a server closes while the client does something"),
    "client/test_odd_answers.py": (2, "a body that stays open for a while behind its [DONE]"),
    "client/test_timeouts.py": (5, "limits of the client, which are of real time, and what must not come before them"),
    "client/test_truth.py": (1, "requests that begin one after the other"),
    "generator/test_plugin.py": (1, "the event loop is held for real"),
    "live/test_exporter.py": (3, "a timer of the event loop beside a page that is made"),
    "run/test_locust_process.py": (1, "a child that ignores SIGTERM until it is killed"),
    "run/test_soak_run.py": (1, "a child that waits until it has the lowest priority"),
}
"""File -> how many sleeps it has at the most, and what they are for."""


def real_sleeps(text: str) -> int:
    """Sleeps that let time pass while somebody may wait; sleep(0) only lets others run."""
    return sum(argument != "0" and not _is_long(argument) for argument in _SLEEP.findall(text))


def _is_long(argument: str) -> bool:
    try:
        return float(argument) >= NEVER_WAITED_FOR_S
    except ValueError:
        return False


def test_no_default_test_lets_real_time_pass_without_a_reason() -> None:
    tests = ROOT / "tests"
    sleeps = Counter(
        {
            str(path.relative_to(tests)): real_sleeps(path.read_text("utf-8"))
            for path in tests.rglob("*.py")
            if path.relative_to(tests).parts[0] not in OTHER_SUITES and path != Path(__file__)
        }
    )
    allowed = Counter({path: number for path, (number, _) in REASONS.items()})
    assert sleeps - allowed == Counter(), "wait for what happens with tests.waiting.until, or hand in a clock"
    assert allowed - sleeps == Counter(), "fewer than that: bring the number down"


def test_a_sleep_is_seen() -> None:
    text = "time.sleep(0.1); gevent.sleep(pause_s)\nsleep(1)\n gevent.sleep(0)\n'time.sleep(600)'; clock.sleep(5)"
    assert real_sleeps(text) == 2
