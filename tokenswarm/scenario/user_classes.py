"""The Locust user classes of a locustfile, read without running it, so that planning a run does not import Locust."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

from tokenswarm.base.errors import Exit, UserError


class UserClass(NamedTuple):
    """A class of users, and its weight among those of its file."""

    name: str
    weight: float


def user_classes_in(path: Path) -> list[UserClass]:
    """The user classes that Locust would find in the file: those with tasks, or derived from one that has, unless
    abstract. Raises UserError (USAGE) if it cannot be read, or none is found."""
    try:
        tree = ast.parse(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, SyntaxError) as error:
        raise UserError(Exit.USAGE, f"the locustfile {path} cannot be read: {error}") from None
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    classes_seen = [
        UserClass(name, _weight(node))
        for name, node in classes.items()
        if _asks(node, classes) and _constant(node, "abstract") is not True
    ]
    if not classes_seen:
        raise UserError(
            Exit.USAGE,
            f"no user class was seen in the locustfile {path}: in a mix it should be a class "
            "at the top of the file, with a method under @task",
        )
    return classes_seen


def _asks(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> bool:
    bases = [_last_name(base) for base in node.bases]
    if not bases or any(name.endswith("TaskSet") for name in bases):
        return False
    return (
        any(
            isinstance(each, ast.FunctionDef) and any(_last_name(d) == "task" for d in each.decorator_list)
            for each in node.body
        )
        or any(name in ("tasks", "scenario") for name in _assigned(node))
        or any(name in classes and _asks(classes[name], classes) for name in bases if name != node.name)
    )


def _last_name(node: ast.expr) -> str:
    """`task` of task, locust.task and task(3)."""
    if isinstance(node, ast.Call):
        return _last_name(node.func)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _assigned(node: ast.ClassDef) -> dict[str, ast.expr | None]:
    values: dict[str, ast.expr | None] = {}
    for each in node.body:
        if isinstance(each, ast.Assign):
            values |= {target.id: each.value for target in each.targets if isinstance(target, ast.Name)}
        elif isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            values[each.target.id] = each.value
    return values


def _constant(node: ast.ClassDef, name: str) -> object:
    value = _assigned(node).get(name)
    return value.value if isinstance(value, ast.Constant) else None


def _weight(node: ast.ClassDef) -> float:
    weight = _constant(node, "weight")
    return float(weight) if isinstance(weight, int | float) and not isinstance(weight, bool) and weight > 0 else 1.0
