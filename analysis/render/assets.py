"""What all pages are made with: templates, style and scripts, and what may stand in them."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader
from markupsafe import Markup


@cache
def environment() -> Environment:
    return Environment(
        loader=PackageLoader("tokenswarm.analysis.render"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        auto_reload=False,
    )


@cache
def asset(name: str) -> str:
    return (files("tokenswarm.analysis.render") / "templates" / name).read_text(encoding="utf-8")


def script_hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def safe_json(value: object) -> Markup:
    """JSON that can stand inside a script element: no character of it can end that element."""
    dumped = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for char in "<>&\u2028\u2029":
        dumped = dumped.replace(char, f"\\u{ord(char):04x}")
    return Markup(dumped)
