"""A run folder, however its files were changed, gives a page or one sentence: never a traceback, never a number that is
not one."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenswarm.analysis.compare.report import compare_runs
from tokenswarm.analysis.compare_files import write_comparison
from tokenswarm.analysis.report import report
from tokenswarm.analysis.verdict.outcome import BY_NAME

from tests.analysis.test_report import render
from tests.examples import examples
from tokenswarm.base.errors import UserError
from tokenswarm.contract.summary.summary_file import read_summary

KEPT = Path(__file__).parent / "data" / "run_format_1"
FILES = ("run.json", "requests.csv", "engine_metrics.csv", "host_metrics.csv", "prompts.csv", "summary.json")
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


def _places(tree: Any, path: tuple = ()) -> list[tuple]:
    """The path of every value in decoded JSON."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, value in inner for place in _places(value, (*path, key)))]


def _mutate_json(text: str, draw: Any) -> str:
    try:
        tree = json.loads(text)
    except ValueError:
        return text
    places = [place for place in _places(tree) if place]
    for _ in range(draw(st.integers(1, 4))):
        *path, last = draw(st.sampled_from(places)) if places else ((),)
        table = tree
        try:
            for key in path:
                table = table[key]
            if draw(st.booleans()):
                table[last] = draw(st.sampled_from(ODD_VALUES))
            else:
                del table[last]
        except (KeyError, IndexError, TypeError):
            continue  # changed away before
    return json.dumps(tree)


def _mutate_csv(text: str, draw: Any) -> str:
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
def mutations(draw: Any) -> dict[str, bytes | None]:
    """File name -> its new content, None where the file is taken away."""
    changed: dict[str, bytes | None] = {}
    for name in draw(st.lists(st.sampled_from(FILES), min_size=1, max_size=3, unique=True)):
        content = (KEPT / name).read_bytes()
        way = draw(st.sampled_from(["values", "values", "values", "cut", "bytes", "gone", "empty"]))
        if way == "values":
            mutate = _mutate_json if name.endswith(".json") else _mutate_csv
            content = mutate(content.decode(), draw).encode()
        elif way == "cut":
            content = content[: draw(st.integers(0, len(content)))]
        elif way == "bytes":
            at = draw(st.integers(0, len(content)))
            content = content[:at] + draw(st.binary(max_size=6)) + content[at + draw(st.integers(0, 6)) :]
        elif way == "empty":
            content = b""
        changed[name] = None if way == "gone" else content
    return changed


def _folder(under: Path, changed: dict[str, bytes | None]) -> Path:
    folder = under / "changed"
    shutil.copytree(KEPT, folder)
    for name, content in changed.items():
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content)
    return folder


@settings(max_examples=examples(30), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(mutations())
def test_a_report_of_any_folder_is_a_page_or_a_sentence(changed: dict[str, bytes | None]) -> None:
    with tempfile.TemporaryDirectory() as under:
        folder = _folder(Path(under), changed)
        try:
            summary = report(folder)
        except UserError as error:
            assert "\n" not in str(error)
            return
        assert read_summary(folder) == summary  # no figure is infinite: it could not have been written
        assert summary.outcome.name in BY_NAME
        if any(not changed.get(name, b"whole") for name in ("run.json", "requests.csv")):  # gone, or empty
            assert summary.outcome.code != 0
        render(summary, 80)
        assert "<h1>" in (folder / "dashboard.html").read_text()


@settings(max_examples=examples(15), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(mutations())
def test_a_comparison_with_any_folder_is_a_page_or_a_sentence(changed: dict[str, bytes | None]) -> None:
    with tempfile.TemporaryDirectory() as under:
        folder = _folder(Path(under), changed)
        other = Path(under) / "other"
        shutil.copytree(KEPT, other)
        manifest = json.loads((other / "run.json").read_text())
        (other / "run.json").write_text(json.dumps(manifest | {"run_id": "other"}))
        try:
            write_comparison(compare_runs(a=[folder], b=[other]), Path(under) / "comparison")
        except UserError as error:
            assert "\n" not in str(error)
