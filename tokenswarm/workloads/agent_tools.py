"""The tools of agents: definitions for the chat API, scripted calls, and the check of a call. Written for this project,
modeled on the tools of coding agents. Strings in arguments have a maximum length, so that a constrained answer ends
even if the model's weights are random.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from random import Random
from typing import Any

from tokenswarm.base.tool_call import ToolCall
from tokenswarm.workloads.answer_checks import Explained, fits_schema, why_not

Schema = dict[str, Any]

_FOLDERS = ("src", "src/core", "src/api", "src/storage", "tests", "docs", "tools")
_FILES = ("scheduler", "cache", "parser", "client", "session", "router", "config", "errors", "metrics", "queue")


def _text(longest: int, what: str) -> Schema:
    return {"type": "string", "maxLength": longest, "description": what}


def _number(low: int, high: int, what: str) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high, "description": what}


_PATH = _text(60, "Path from the root of the repository, with / between folders.")
_DEFINED: tuple[tuple[str, str, Schema], ...] = (
    (
        "read_file",
        "Read lines of a file of the repository. Lines are numbered from 1; at most 400 come at once.",
        {
            "path": _PATH,
            "first_line": _number(1, 4000, "First line that is read."),
            "last_line": _number(1, 4000, "Last line that is read."),
        },
    ),
    (
        "search_text",
        "Search all files of the repository for a text, and give each place with a line before and after.",
        {
            "pattern": _text(40, "What is searched for: a plain text, no regular expression."),
            "folder": _PATH,
            "limit": _number(1, 50, "How many places are given at most."),
        },
    ),
    (
        "list_folder",
        "List what is in a folder: files with their sizes in lines, and folders.",
        {"folder": _PATH, "depth": _number(1, 3, "How many folders deep the listing goes.")},
    ),
    (
        "edit_file",
        "Replace a text of a file by another one. The old text has to stand there exactly once.",
        {"path": _PATH, "old_text": _text(80, "What is replaced."), "new_text": _text(80, "What takes its place.")},
    ),
    (
        "run_tests",
        "Run a part of the test suite and give the report, with the trace of each failure.",
        {
            "target": {"enum": ["all", "unit", "integration", "changed"], "description": "Which tests are run."},
            "stop_at_first": {"type": "boolean", "description": "Whether the first failure ends the run."},
        },
    ),
    (
        "find_symbol",
        "Find where a function, class or variable is defined, and where it is used.",
        {
            "name": _text(40, "Name of the symbol."),
            "kind": {"enum": ["function", "class", "variable", "any"], "description": "Kind of symbol."},
        },
    ),
    (
        "delegate",
        "Give a part of the work to a helper with a context of its own. Its report is the result.",
        {
            "assignment": _text(120, "What the helper should find out or do."),
            "kind": {"enum": ["explore", "review", "write_tests"], "description": "What kind of work it is."},
        },
    ),
    (
        "report",
        "End the task and report to the human what was done.",
        {
            "summary": _text(120, "What was done, in one or two sentences."),
            "state": {"enum": ["done", "blocked", "partly_done"], "description": "How the task ended."},
        },
    ),
)
MOST_TOOLS = len(_DEFINED)
DELEGATE, REPORT = "delegate", "report"


def definitions(count: int, stamp: str = "") -> list[dict[str, Any]]:
    """The first `count` tools as `tools` of a request; the last two of the list are always included. `stamp` is put at
    the start of the first description: chat templates place tools before the system prompt, so a salt in the system
    prompt would come too late. The tools are `strict`: otherwise vLLM constrains arguments to JSON but not to their
    schema.
    """
    kept = (*_DEFINED[: count - 2], *_DEFINED[-2:])
    return [
        {
            "type": "function",
            "function": {
                "name": name,
                "description": what if place else stamp + what,
                "strict": True,
                "parameters": {
                    "type": "object",
                    "properties": properties,
                    "required": list(properties),
                    "additionalProperties": False,
                },
            },
        }
        for place, (name, what, properties) in enumerate(kept)
    ]


@cache
def calls_fit(count: int) -> Callable[[Sequence[ToolCall]], bool]:
    """A check that there is a call and that each call's arguments match its tool's schema, by jsonschema."""
    checks = {tool["function"]["name"]: fits_schema(tool["function"]["parameters"]) for tool in definitions(count)}

    def why(calls: Sequence[ToolCall]) -> str | None:
        for call in calls:
            if call.name not in checks:
                return f"no tool is called {call.name!r}"
            if not checks[call.name](call.arguments):
                return f"{call.name}: {why_not(checks[call.name], call.arguments)}"
        return None if calls else "no tool is called"

    return Explained(why)


def scripted_call(rng: Random, count: int, call_id: str, name: str | None = None) -> ToolCall:
    """A valid call as a model might write it, of the named tool or of any tool that does not end a task."""
    tools = {tool["function"]["name"]: tool["function"]["parameters"] for tool in definitions(count)}
    chosen = name or rng.choice([each for each in tools if each not in (DELEGATE, REPORT)] or [REPORT])
    arguments = {key: _value(key, schema, rng) for key, schema in tools[chosen]["properties"].items()}
    return ToolCall(chosen, json.dumps(arguments), call_id)


def _value(key: str, schema: Schema, rng: Random) -> object:
    if "enum" in schema:
        return rng.choice(schema["enum"])
    if schema["type"] == "boolean":
        return rng.random() < 0.5
    if schema["type"] == "integer":
        return rng.randint(schema["minimum"], schema["maximum"])
    return file_path(rng) if key in ("path", "folder") else f"{rng.choice(_FILES)} {rng.choice(_FILES)}"


def file_path(rng: Random) -> str:
    """A typical path in a repository."""
    return f"{rng.choice(_FOLDERS)}/{rng.choice(_FILES)}_{rng.randrange(100)}.py"
