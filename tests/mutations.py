"""Corrupted files: values of another type, missing values, truncation, foreign bytes."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

ODD_VALUES: list[Any] = [
    None,
    True,
    "",
    "x",
    "NaN",
    [],
    {},
    [None],
    {"x": 1},
    -1,
    0,
    1e308,
    -1e308,
    10**30,
    2.5,
    1e12,
    float("inf"),
    float("-inf"),
    float("nan"),
    [1, "a", None],
    "\x00<b>",
]
ODD_CELLS = [
    "",
    "nan",
    "inf",
    "-inf",
    "-1",
    "0",
    "1e400",
    "1e308",
    "1e15",
    "1e12",
    "x",
    "true",
    "ok",
    "failed",
    "cancelled",
    "measure",
    "warmup",
    "\x00",
    "é",
    "1,2",
    '"',
    "-0.0",
    "9" * 40,
    "1e-320",
    "usage",
]


def places_of(tree: Any, path: tuple = ()) -> list[tuple]:
    """The path of every value in decoded JSON."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, value in inner for place in places_of(value, (*path, key)))]


def mutate_json(text: str, draw: Any) -> str:
    try:
        tree = json.loads(text)
    except ValueError:
        return text
    places = [place for place in places_of(tree) if place]
    if not places:
        return text
    for _ in range(draw(st.integers(1, 4))):
        *path, last = draw(st.sampled_from(places))
        table = tree
        try:
            for key in path:
                table = table[key]
            if draw(st.booleans()):
                table[last] = deepcopy(draw(st.sampled_from(ODD_VALUES)))
            else:
                del table[last]
        except (KeyError, IndexError, TypeError):
            continue  # changed away before
    return json.dumps(tree)


def mutate_csv(text: str, draw: Any) -> str:
    lines = [line.split(",") for line in text.splitlines()]
    for _ in range(draw(st.integers(1, 6))):
        if not lines:
            break
        kind, row = (
            draw(st.sampled_from(["cell", "cell", "column", "drop", "twice", "swap"])),
            draw(st.integers(0, len(lines) - 1)),
        )
        column = draw(st.integers(0, max(0, len(lines[0]) - 1)))
        value = draw(st.sampled_from(ODD_CELLS))
        if kind == "cell" and column < len(lines[row]):
            lines[row][column] = value
        elif kind == "column":
            for line in lines[1:]:
                line[column : column + 1] = [value] if column < len(line) else []
        elif kind == "drop":
            del lines[row]
        elif kind == "twice":
            lines.insert(row, list(lines[row]))
        elif kind == "swap":
            lines[row], lines[-1] = lines[-1], lines[row]
    return "\n".join(",".join(line) for line in lines) + "\n"


@st.composite
def changed(draw: Any, content: bytes, mutate: Any) -> bytes | None:
    """The content otherwise, None where the file is gone. `mutate(text, draw)`: with other values in its form."""
    way = draw(st.sampled_from(["values", "values", "values", "cut", "bytes", "gone", "empty"]))
    if way == "values":
        return mutate(content.decode(), draw).encode("utf-8", "surrogatepass")
    if way == "cut":
        return content[: draw(st.integers(0, len(content)))]
    if way == "bytes":
        at = draw(st.integers(0, len(content)))
        return content[:at] + draw(st.binary(max_size=6)) + content[at + draw(st.integers(0, 6)) :]
    return b"" if way == "empty" else None
